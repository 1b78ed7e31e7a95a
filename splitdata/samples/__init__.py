"""The sample codec: nested samples to bytes and back, without pickle and without a copy of what is read."""
