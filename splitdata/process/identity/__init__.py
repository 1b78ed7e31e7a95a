"""What code does, as a digest."""
