"""Structs to bytes and back: the on-disk format as pure functions that open no file."""
