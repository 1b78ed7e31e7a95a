"""Steps are asked for ahead, computed by workers, and handed out in order."""
