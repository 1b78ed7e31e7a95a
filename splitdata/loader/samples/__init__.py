"""Making samples from record numbers."""
