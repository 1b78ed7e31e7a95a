"""What is done to each record on its way from a source to a dataset."""
