"""Which records make which step of which rank, from options alone."""
