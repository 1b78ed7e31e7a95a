"""Sources of records in the layouts that people have, and their conversion into a dataset."""
