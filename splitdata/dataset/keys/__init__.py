"""The keys of one segment: collected, sorted, looked up."""
