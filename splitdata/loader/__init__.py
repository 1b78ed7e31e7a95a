"""The loader: every rank its share of a dataset, in batches, with exact resume."""
