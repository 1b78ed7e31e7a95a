"""Sources of the rows of Arrow: Parquet, IPC, Feather, and folders of Hugging Face."""
