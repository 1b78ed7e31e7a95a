"""What a loader counts and measures, and what follows from it."""
