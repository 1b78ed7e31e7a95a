"""Sources of containers of records: TFRecord, ArrayRecord, LMDB, other datasets."""
