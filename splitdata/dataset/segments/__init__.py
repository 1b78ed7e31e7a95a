"""One segment: its files, its frames, how records get into it and out of it."""
