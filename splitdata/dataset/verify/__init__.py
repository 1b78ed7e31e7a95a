"""verify: checks everything in a dataset that can be wrong."""
