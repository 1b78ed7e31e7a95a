"""The messages of a consumer and its worker, and how they travel."""
