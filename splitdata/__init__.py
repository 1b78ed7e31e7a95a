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

Importing this package loads little: each public name is loaded when it is first used, so that a program that only
reads, and above all a worker process, does not wait for what it does not need.
"""

from typing import TYPE_CHECKING

from splitdata._version import __version__
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
    RecordDeletedError,
    RecordTooLargeError,
    SchemaError,
    SourceError,
    SplitDataError,
    StateMismatchError,
    StoreError,
    TooManySkippedError,
    TruncatedFileError,
    UnfinishedError,
    UnsupportedVersionError,
    WorkerCrashedError,
    WorkerError,
    WorkerTimeoutError,
)

if TYPE_CHECKING:
    from splitdata._compiled import compiled_path
    from splitdata.conversion.convert import convert
    from splitdata.conversion.derive import filter_records, rebin, sample
    from splitdata.conversion.dry_run import FirstRecord
    from splitdata.conversion.export import ExportReport, export, extract
    from splitdata.conversion.shards import ShardReport, commit_shards, write_shard
    from splitdata.conversion.sources.choose import open_source
    from splitdata.conversion.sources.kinds import source_kinds
    from splitdata.conversion.sources.source import RecordSource
    from splitdata.conversion.split import SplitPart, SplitReport, split
    from splitdata.conversion.watch import ConversionProgress, ConversionReport
    from splitdata.dataset.comparison.diff import DiffReport, RecordDifference, diff
    from splitdata.dataset.deletion.compact import CompactReport, compact
    from splitdata.dataset.deletion.delete import DeleteReport, delete
    from splitdata.dataset.describe import DatasetDescription, SegmentDescription, describe
    from splitdata.dataset.merging.merge import MergeReport, append
    from splitdata.dataset.part_writer import PartWriter, open_part
    from splitdata.dataset.parts.commit_parts import PartsReport, commit_parts, waiting_parts
    from splitdata.dataset.reader import SplitDataLoader
    from splitdata.dataset.repair.repair import RepairReport, repair
    from splitdata.dataset.sample_dataset import SampleDataset
    from splitdata.dataset.segments.finding import Finding
    from splitdata.dataset.sha256_digest import digest
    from splitdata.dataset.split_data import write_split_data
    from splitdata.dataset.stores.copy_dataset import CopyReport, copy
    from splitdata.dataset.stores.merge_to_store import merge
    from splitdata.dataset.verify.verify import VerifyReport, verify
    from splitdata.dataset.writer import SplitWriter
    from splitdata.format.spec import FORMAT_VERSION
    from splitdata.interop.decoding import Fields, decode_audio, decode_image
    from splitdata.interop.ray_conversion import convert_on_ray
    from splitdata.loader.benchmark import DatasetBenchmark, Measurement, measure_dataset
    from splitdata.loader.cache.cache_description import CacheDescription, GenerationDescription, describe_cache
    from splitdata.loader.cache.cache_options import Cache
    from splitdata.loader.distributed_loader import DistributedLoader
    from splitdata.loader.forecast import BatchForecast, EpochForecast, ReadForecast, forecast_epoch
    from splitdata.loader.option_groups import OrderOptions, RecordOptions, WorkerOptions
    from splitdata.loader.plan.steps import CacheStats, WorkerStats
    from splitdata.loader.rotation.rotation_options import Rotation
    from splitdata.loader.samples.mixture import Mixture
    from splitdata.loader.samples.packed_collate import PackedCollate
    from splitdata.loader.samples.skips import Skip
    from splitdata.loader.stats.figures import RotationStats
    from splitdata.loader.stats.stats import LoaderStats
    from splitdata.order.batching import Buckets, TokenBudget
    from splitdata.order.hash_split import HashSplit
    from splitdata.order.packs import Packed
    from splitdata.order.window import Window
    from splitdata.process.mpqitr import MpQItr
    from splitdata.samples.decode import SampleDecoder, decode_sample
    from splitdata.samples.encode import encode_sample
    from splitdata.samples.sample_schema import SampleSchema
    from splitdata.storage.remote.block_cache import BlockCache
    from splitdata.storage.remote.default_options import default_storage_options

__all__ = [
    "BadMagicError",
    "BatchForecast",
    "BlockCache",
    "Buckets",
    "Cache",
    "CacheDescription",
    "CacheError",
    "CacheStats",
    "ClosedError",
    "CompactReport",
    "ConversionProgress",
    "ConversionReport",
    "CopyReport",
    "CorruptRecordError",
    "DatasetBenchmark",
    "DatasetDescription",
    "DatasetExistsError",
    "DatasetNotFoundError",
    "DeleteReport",
    "DiffReport",
    "DistributedLoader",
    "DuplicateKeyError",
    "EpochForecast",
    "ExportReport",
    "FORMAT_VERSION",
    "Fields",
    "Finding",
    "FirstRecord",
    "FormatError",
    "GenerationDescription",
    "HashSplit",
    "LoaderStats",
    "ManifestError",
    "Measurement",
    "MergeReport",
    "MissingBinError",
    "Mixture",
    "MpQItr",
    "OrderOptions",
    "Packed",
    "PackedCollate",
    "PartWriter",
    "PartsReport",
    "ReadForecast",
    "RecordDeletedError",
    "RecordDifference",
    "RecordOptions",
    "RecordSource",
    "RecordTooLargeError",
    "RepairReport",
    "Rotation",
    "RotationStats",
    "SampleDataset",
    "SampleDecoder",
    "SampleSchema",
    "SchemaError",
    "SegmentDescription",
    "ShardReport",
    "Skip",
    "SourceError",
    "SplitDataError",
    "SplitDataLoader",
    "SplitPart",
    "SplitReport",
    "SplitWriter",
    "StateMismatchError",
    "StoreError",
    "TokenBudget",
    "TooManySkippedError",
    "TruncatedFileError",
    "UnfinishedError",
    "UnsupportedVersionError",
    "VerifyReport",
    "Window",
    "WorkerCrashedError",
    "WorkerError",
    "WorkerOptions",
    "WorkerStats",
    "WorkerTimeoutError",
    "__version__",
    "append",
    "commit_parts",
    "commit_shards",
    "compact",
    "compiled_path",
    "convert",
    "convert_on_ray",
    "copy",
    "decode_audio",
    "decode_image",
    "decode_sample",
    "default_storage_options",
    "delete",
    "describe",
    "describe_cache",
    "diff",
    "digest",
    "encode_sample",
    "export",
    "extract",
    "filter_records",
    "forecast_epoch",
    "measure_dataset",
    "merge",
    "open_part",
    "open_source",
    "rebin",
    "repair",
    "sample",
    "source_kinds",
    "split",
    "verify",
    "waiting_parts",
    "write_shard",
    "write_split_data",
]

# Where the names lie that are loaded when they are first used.
_HOMES = {
    "BatchForecast": "splitdata.loader.forecast",
    "BlockCache": "splitdata.storage.remote.block_cache",
    "Buckets": "splitdata.order.batching",
    "Cache": "splitdata.loader.cache.cache_options",
    "CacheDescription": "splitdata.loader.cache.cache_description",
    "CacheStats": "splitdata.loader.plan.steps",
    "CompactReport": "splitdata.dataset.deletion.compact",
    "ConversionProgress": "splitdata.conversion.watch",
    "ConversionReport": "splitdata.conversion.watch",
    "CopyReport": "splitdata.dataset.stores.copy_dataset",
    "DatasetBenchmark": "splitdata.loader.benchmark",
    "DatasetDescription": "splitdata.dataset.describe",
    "DeleteReport": "splitdata.dataset.deletion.delete",
    "DiffReport": "splitdata.dataset.comparison.diff",
    "DistributedLoader": "splitdata.loader.distributed_loader",
    "FORMAT_VERSION": "splitdata.format.spec",
    "Fields": "splitdata.interop.decoding",
    "Finding": "splitdata.dataset.segments.finding",
    "EpochForecast": "splitdata.loader.forecast",
    "ExportReport": "splitdata.conversion.export",
    "FirstRecord": "splitdata.conversion.dry_run",
    "GenerationDescription": "splitdata.loader.cache.cache_description",
    "HashSplit": "splitdata.order.hash_split",
    "LoaderStats": "splitdata.loader.stats.stats",
    "Measurement": "splitdata.loader.benchmark",
    "MergeReport": "splitdata.dataset.merging.merge",
    "Mixture": "splitdata.loader.samples.mixture",
    "MpQItr": "splitdata.process.mpqitr",
    "OrderOptions": "splitdata.loader.option_groups",
    "Packed": "splitdata.order.packs",
    "PartWriter": "splitdata.dataset.part_writer",
    "PartsReport": "splitdata.dataset.parts.commit_parts",
    "PackedCollate": "splitdata.loader.samples.packed_collate",
    "ReadForecast": "splitdata.loader.forecast",
    "RecordDifference": "splitdata.dataset.comparison.diff",
    "RecordOptions": "splitdata.loader.option_groups",
    "RecordSource": "splitdata.conversion.sources.source",
    "RepairReport": "splitdata.dataset.repair.repair",
    "Rotation": "splitdata.loader.rotation.rotation_options",
    "RotationStats": "splitdata.loader.stats.figures",
    "SampleDataset": "splitdata.dataset.sample_dataset",
    "SampleDecoder": "splitdata.samples.decode",
    "SampleSchema": "splitdata.samples.sample_schema",
    "SegmentDescription": "splitdata.dataset.describe",
    "ShardReport": "splitdata.conversion.shards",
    "Skip": "splitdata.loader.samples.skips",
    "SplitDataLoader": "splitdata.dataset.reader",
    "SplitPart": "splitdata.conversion.split",
    "SplitReport": "splitdata.conversion.split",
    "SplitWriter": "splitdata.dataset.writer",
    "TokenBudget": "splitdata.order.batching",
    "VerifyReport": "splitdata.dataset.verify.verify",
    "Window": "splitdata.order.window",
    "WorkerOptions": "splitdata.loader.option_groups",
    "WorkerStats": "splitdata.loader.plan.steps",
    "append": "splitdata.dataset.merging.merge",
    "commit_parts": "splitdata.dataset.parts.commit_parts",
    "commit_shards": "splitdata.conversion.shards",
    "compact": "splitdata.dataset.deletion.compact",
    "compiled_path": "splitdata._compiled",
    "convert": "splitdata.conversion.convert",
    "convert_on_ray": "splitdata.interop.ray_conversion",
    "copy": "splitdata.dataset.stores.copy_dataset",
    "decode_audio": "splitdata.interop.decoding",
    "decode_image": "splitdata.interop.decoding",
    "decode_sample": "splitdata.samples.decode",
    "default_storage_options": "splitdata.storage.remote.default_options",
    "delete": "splitdata.dataset.deletion.delete",
    "describe": "splitdata.dataset.describe",
    "describe_cache": "splitdata.loader.cache.cache_description",
    "diff": "splitdata.dataset.comparison.diff",
    "digest": "splitdata.dataset.sha256_digest",
    "encode_sample": "splitdata.samples.encode",
    "forecast_epoch": "splitdata.loader.forecast",
    "export": "splitdata.conversion.export",
    "extract": "splitdata.conversion.export",
    "filter_records": "splitdata.conversion.derive",
    "measure_dataset": "splitdata.loader.benchmark",
    "merge": "splitdata.dataset.stores.merge_to_store",
    "open_part": "splitdata.dataset.part_writer",
    "open_source": "splitdata.conversion.sources.choose",
    "rebin": "splitdata.conversion.derive",
    "repair": "splitdata.dataset.repair.repair",
    "sample": "splitdata.conversion.derive",
    "source_kinds": "splitdata.conversion.sources.kinds",
    "split": "splitdata.conversion.split",
    "verify": "splitdata.dataset.verify.verify",
    "waiting_parts": "splitdata.dataset.parts.commit_parts",
    "write_shard": "splitdata.conversion.shards",
    "write_split_data": "splitdata.dataset.split_data",
}

if not TYPE_CHECKING:
    # For a type checker this would make every name a public one.

    def __getattr__(name: str) -> object:
        """Load a public name; from then on it is an attribute like every other."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import importlib

        value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*__all__, *(name for name in globals() if name.startswith("_"))})
