"""DistributedLoader: a dataset's records, transformed and collated by workers, as batches on this rank's device."""
