"""Sources of records in the layouts that people have."""
