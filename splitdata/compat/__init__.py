"""The interfaces of older libraries: one module for each, under their own names."""
