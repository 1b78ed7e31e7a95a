"""repair: what damage has left is found, proven and put together again."""
