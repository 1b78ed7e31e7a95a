"""verify: everything that can be wrong is looked at."""
