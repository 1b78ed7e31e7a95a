"""Transformed samples that are kept and read again."""
