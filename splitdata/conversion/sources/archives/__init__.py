"""Sources of what archives hold: zip, tar and WebDataset."""
