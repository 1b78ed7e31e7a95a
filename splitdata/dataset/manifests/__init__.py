"""Which manifest is current, what it lists, and what may be removed; what a dataset says of its records."""
