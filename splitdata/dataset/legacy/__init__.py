"""Directories of the package splitdataloader 0.0.1, read-only."""
