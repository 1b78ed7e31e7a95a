"""The plan of an epoch: which records make which step of which rank, from options alone."""
