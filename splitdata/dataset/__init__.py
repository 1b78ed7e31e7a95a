"""One dataset directory: writing, reading, walking, verifying and repairing it."""
