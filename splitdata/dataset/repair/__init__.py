"""repair: finds what damage has left, proves it, and puts it together again."""
