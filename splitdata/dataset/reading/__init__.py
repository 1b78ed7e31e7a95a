"""A snapshot of a dataset, and the ways to go through it."""
