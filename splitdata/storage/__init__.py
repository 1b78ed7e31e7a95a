"""Files: every operation on the file system that the library makes, and the names it makes them on."""
