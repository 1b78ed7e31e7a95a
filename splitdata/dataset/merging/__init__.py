"""Datasets joined end to end by links to their files: no record is read."""
