"""Workers that serve requests: processes, threads or actors of Ray."""
