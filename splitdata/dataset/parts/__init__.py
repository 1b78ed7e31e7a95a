"""Parts: segments that several writers make, and one commit lists, each once."""
