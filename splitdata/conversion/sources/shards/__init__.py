"""Sources of the shards of other libraries: MDS and LitData."""
