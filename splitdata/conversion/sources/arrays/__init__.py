"""Sources of the rows of arrays: npy, HDF5, Zarr, tokens."""
