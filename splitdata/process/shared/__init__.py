"""Bytes by number in memory that processes share."""
