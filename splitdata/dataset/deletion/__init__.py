"""Deletion: records are marked as deleted, and their bytes erased."""
