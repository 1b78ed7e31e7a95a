"""The folder in which a loader keeps transformed samples, as far as it is datasets and files."""
