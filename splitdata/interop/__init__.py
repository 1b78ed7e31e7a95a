"""The interfaces of training frameworks: one module for each, which loads it, on what is below."""
