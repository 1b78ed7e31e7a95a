"""Files, plain and compressed: how they are found, opened and read, and sources of which each is a record."""
