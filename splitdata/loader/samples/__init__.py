"""From record numbers to samples."""
