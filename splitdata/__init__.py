"""Byte records in N bin files beside a mapped index, and the loaders that train from them.

Write records, read any of them, walk all of them::

    from splitdata import SplitDataLoader, SplitWriter

    with SplitWriter("data/train") as writer:
        writer.write_many(records)

    loader = SplitDataLoader("data/train")
    loader[2], loader[-1], loader[[7, 3]]
    for record in loader.iterate_binwise(shuffle=True, seed=0):
        ...

The on-disk format is specified in FORMAT.md. Everything public is named in `__all__`; what is
imported from deeper down may change without notice.
"""

from splitdata._version import __version__
from splitdata.conversion.convert import ConversionProgress, ConversionReport, convert
from splitdata.conversion.dry_run import FirstRecord
from splitdata.conversion.sources.choose import open_source
from splitdata.conversion.sources.source import RecordSource
from splitdata.dataset.describe import DatasetDescription, SegmentDescription, describe
from splitdata.dataset.reader import SplitDataLoader
from splitdata.dataset.repair.repair import RepairReport, repair
from splitdata.dataset.sample_dataset import SampleDataset
from splitdata.dataset.segments.finding import Finding
from splitdata.dataset.split_data import write_split_data
from splitdata.dataset.verify.verify import VerifyReport, verify
from splitdata.dataset.writer import SplitWriter
from splitdata.errors import (
    BadMagicError,
    CacheError,
    ClosedError,
    CorruptRecordError,
    DatasetExistsError,
    DatasetNotFoundError,
    DuplicateKeyError,
    FormatError,
    ManifestError,
    MissingBinError,
    RecordTooLargeError,
    SourceError,
    SplitDataError,
    StateMismatchError,
    TooManySkippedError,
    TruncatedFileError,
    UnsupportedVersionError,
    WorkerCrashedError,
    WorkerError,
    WorkerTimeoutError,
)
from splitdata.format.spec import FORMAT_VERSION
from splitdata.loader.benchmark import DatasetBenchmark, Measurement, measure_dataset
from splitdata.loader.cache.cache_description import CacheDescription, GenerationDescription, describe_cache
from splitdata.loader.cache.cache_options import Cache
from splitdata.loader.distributed_loader import DistributedLoader
from splitdata.loader.rotation.rotation_options import Rotation
from splitdata.loader.stats.figures import CacheStats, RotationStats, WorkerStats
from splitdata.loader.stats.stats import LoaderStats
from splitdata.order.hash_split import HashSplit
from splitdata.order.window import Window
from splitdata.process.mpqitr import MpQItr
from splitdata.samples.decode import SampleDecoder, decode_sample
from splitdata.samples.encode import encode_sample

__all__ = [
    "BadMagicError",
    "Cache",
    "CacheDescription",
    "CacheError",
    "CacheStats",
    "ClosedError",
    "ConversionProgress",
    "ConversionReport",
    "CorruptRecordError",
    "DatasetBenchmark",
    "DatasetDescription",
    "DatasetExistsError",
    "DatasetNotFoundError",
    "DistributedLoader",
    "DuplicateKeyError",
    "FORMAT_VERSION",
    "Finding",
    "FirstRecord",
    "FormatError",
    "GenerationDescription",
    "HashSplit",
    "LoaderStats",
    "ManifestError",
    "Measurement",
    "MissingBinError",
    "MpQItr",
    "RecordSource",
    "RecordTooLargeError",
    "RepairReport",
    "Rotation",
    "RotationStats",
    "SampleDataset",
    "SampleDecoder",
    "SegmentDescription",
    "SourceError",
    "SplitDataError",
    "SplitDataLoader",
    "SplitWriter",
    "StateMismatchError",
    "TooManySkippedError",
    "TruncatedFileError",
    "UnsupportedVersionError",
    "VerifyReport",
    "Window",
    "WorkerCrashedError",
    "WorkerError",
    "WorkerStats",
    "WorkerTimeoutError",
    "__version__",
    "convert",
    "decode_sample",
    "describe",
    "describe_cache",
    "encode_sample",
    "measure_dataset",
    "open_source",
    "repair",
    "verify",
    "write_split_data",
]
