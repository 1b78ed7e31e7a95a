"""The consumer's side of each worker: start, wait, receive, end."""
