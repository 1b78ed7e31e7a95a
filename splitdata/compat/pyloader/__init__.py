"""The interface of PyLoader: its seven names, with files read ahead by processes that cannot hang and cannot lie.

A script needs another import and nothing else.

    files of root_dir ─> DataReader.load ─> Dataset.batch_encode ─> DataCollator.collate_batch ─> batch
                         chunk_readers.py   batch_encoders.py      batch_collators.py
                         `─ in processes, ahead: chunk_stream.py ─'  here, unless it says otherwise: chunk_loader.py
"""

from splitdata.compat.pyloader.batch_collators import DataCollator, NumpyDataCollator
from splitdata.compat.pyloader.batch_encoders import Dataset, TextDataset
from splitdata.compat.pyloader.chunk_loader import DataLoader
from splitdata.compat.pyloader.chunk_readers import DataReader, JsonLineDataReader

__all__ = [
    "DataCollator",
    "DataLoader",
    "DataReader",
    "Dataset",
    "JsonLineDataReader",
    "NumpyDataCollator",
    "TextDataset",
]
