"""Statistics: the figures that a loader counts and measures, and what follows from them."""
