"""Workers that serve requests: processes or threads."""
