"""The identity of code: what it does, as a digest."""
