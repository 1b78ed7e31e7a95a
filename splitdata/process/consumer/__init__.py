"""What the consumer has of each worker: start, wait, receive, end."""
