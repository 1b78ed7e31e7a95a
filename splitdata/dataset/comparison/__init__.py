"""What one dataset has that another has not."""
