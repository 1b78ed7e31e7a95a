"""Manifests: which is current, what it lists, what may be removed, and what it says of the records."""
