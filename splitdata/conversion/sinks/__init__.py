"""Layouts that records are written to."""
