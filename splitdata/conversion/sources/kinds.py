"""The kinds of sources: what opens each, and why something is read so.

A kind that lies in one file or one folder has a line here. Those that take many paths at once are in choose.py.

    "parquet"  ──>  ParquetSource(path, column)      "by its name; each row is a sample"
"""

from __future__ import annotations

import json
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from splitdata.conversion.sources.archives.tar_files import TarSource
from splitdata.conversion.sources.archives.webdataset_shard import WebDatasetSource
from splitdata.conversion.sources.archives.zip_files import ZipSource
from splitdata.conversion.sources.arrays.hdf5_rows import Hdf5Source
from splitdata.conversion.sources.arrays.megatron import MegatronSource
from splitdata.conversion.sources.arrays.npy_rows import NpySource, NpzSource
from splitdata.conversion.sources.arrays.tokens import TokenSource
from splitdata.conversion.sources.arrays.zarr_rows import ZarrSource
from splitdata.conversion.sources.plugins import open_plugin, plugin_kinds
from splitdata.conversion.sources.records.arrayrecord_file import ArrayRecordSource
from splitdata.conversion.sources.records.binary_blob import BinaryBlobSource
from splitdata.conversion.sources.records.dataset_source import open_dataset
from splitdata.conversion.sources.records.legacy_source import LegacySource
from splitdata.conversion.sources.records.lmdb_values import LmdbSource
from splitdata.conversion.sources.records.prefixed import PrefixedSource
from splitdata.conversion.sources.records.tf_example import parse_example
from splitdata.conversion.sources.records.tfrecord import TFRecordSource
from splitdata.conversion.sources.shards.litdata_chunks import open_litdata
from splitdata.conversion.sources.shards.mds_shards import open_mds
from splitdata.conversion.sources.tables.arrow_tables import ArrowSource, ParquetSource
from splitdata.conversion.sources.tables.saved_dataset import open_huggingface
from splitdata.conversion.sources.text.csv_rows import CsvFormat, CsvSource
from splitdata.conversion.sources.text.lines import JsonLineSource, LineSource
from splitdata.conversion.sources.text.typed_source import TypedSource
from splitdata.conversion.sources.text.value_types import JsonFields, RowFields, check_types, told_types
from splitdata.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from splitdata.conversion.sources.options import SourceOptions
    from splitdata.conversion.sources.source import RecordSource

__all__ = ["SOURCE_KINDS", "csv_format", "list_kinds", "open_kind", "source_kinds", "typed_sources"]

_ROWS_LOOKED_AT: Final = 1000


class _Kind(NamedTuple):
    """One kind.

    Attributes:
        open: Opens one thing of it; None where several paths are opened together.
        reason: Why a source is read so and what its records are, for kinds that a user may not expect.
    """

    open: Callable[[str, SourceOptions], RecordSource] | None
    reason: str = ""


def _csv(kind: str) -> Callable[[str, SourceOptions], RecordSource]:
    def open_rows(path: str, options: SourceOptions) -> RecordSource:
        return CsvSource(path, csv_format(options), kind=kind)

    return open_rows


def csv_format(options: SourceOptions) -> CsvFormat:
    """Return the form of rows; ValueError if one of the options cannot be."""
    return CsvFormat(
        column=options.column,
        delimiter=options.delimiter,
        header=options.header,
        quotes=options.quotes,
        encoding=options.encoding,
    )


SOURCE_KINDS: Final[dict[str, _Kind]] = {
    "folder": _Kind(None),
    "files": _Kind(None),
    "list": _Kind(None),
    "lines": _Kind(lambda path, _: LineSource(path)),
    "jsonl": _Kind(lambda path, options: JsonLineSource(path, validate=options.validate)),
    "csv": _Kind(_csv("csv")),
    "tsv": _Kind(_csv("tsv")),
    "prefixed": _Kind(lambda path, _: PrefixedSource(path)),
    "tfrecord": _Kind(lambda path, _: TFRecordSource(path), "by its name; each payload is a record"),
    "imagefolder": _Kind(None),
    "zip": _Kind(lambda path, _: ZipSource(path), "by its name; each file in it is a record"),
    "tar": _Kind(
        lambda path, _: TarSource(path), "no two of its first members share a stem; each file in it is a record"
    ),
    "webdataset": _Kind(lambda path, _: WebDatasetSource(path), "members of it share stems; each stem is a sample"),
    "parquet": _Kind(lambda path, options: ParquetSource(path, options.column), "by its name; each row is a sample"),
    "arrow": _Kind(lambda path, options: ArrowSource(path, options.column), "by its name; each row is a sample"),
    "huggingface": _Kind(
        lambda path, options: open_huggingface(path, options.column),
        "it has the state.json of save_to_disk; each row is a sample",
    ),
    "splitdata": _Kind(lambda path, _: open_dataset(path), "it is a dataset; its records are taken with their keys"),
    "splitdataloader": _Kind(
        lambda path, options: LegacySource(path, from_bins=options.from_bins),
        "it has the index.dat of splitdataloader; each record is taken",
    ),
    "binaryblob": _Kind(
        lambda path, _: BinaryBlobSource(path), "an index of a BinaryBlob lies beside it; each value is a record"
    ),
    "npy": _Kind(lambda path, _: NpySource(path), "by its name or first bytes; each row is a sample"),
    "npz": _Kind(
        lambda path, options: NpzSource(path, options.column), "by its name; each row of all its arrays is a sample"
    ),
    "megatron": _Kind(
        lambda path, _: MegatronSource(path, kind="megatron"),
        "an index of Megatron lies beside it; each document is a sample, megatron-sequences takes each sequence",
    ),
    "megatron-sequences": _Kind(lambda path, _: MegatronSource(path, kind="megatron-sequences")),
    "tokens": _Kind(lambda path, options: TokenSource(path, dtype=options.dtype, block=options.block)),
    "mds": _Kind(
        lambda path, _: open_mds(path), "it has the index.json of MosaicML's MDSWriter; each sample keeps its columns"
    ),
    "litdata": _Kind(lambda path, _: open_litdata(path), "it has the index.json of LitData; each item is a sample"),
    "lmdb": _Kind(
        lambda path, options: LmdbSource(path, options.column), "it is a database of LMDB; each value is a record"
    ),
    "hdf5": _Kind(
        lambda path, options: Hdf5Source(path, options.column),
        "by its name or first bytes; each row of all its data sets is a sample",
    ),
    "zarr": _Kind(
        lambda path, options: ZarrSource(path, options.column),
        "it has the metadata of Zarr; each row of all its arrays is a sample",
    ),
    "arrayrecord": _Kind(lambda path, _: ArrayRecordSource(path), "by its name; each record is taken"),
    "callable": _Kind(None),
}


def source_kinds() -> Mapping[str, str]:
    """Return the kinds of sources that `open_source` takes, those that other packages bring among them.

    With each comes why something is read so and what its records are; nothing for kinds that nobody wonders about.
    """
    return {"auto": ""} | plugin_kinds() | {kind: entry.reason for kind, entry in SOURCE_KINDS.items()}


def list_kinds() -> str:
    """Return all kinds but "auto", to choose from, as an error lists them."""
    return f"kind={', '.join(repr(kind) for kind in source_kinds() if kind != 'auto')}"


def open_kind(path: str, kind: str, options: SourceOptions) -> RecordSource:
    """Return the source of a kind that reads one thing."""
    if kind not in SOURCE_KINDS:
        return open_plugin(kind, path)
    opener = SOURCE_KINDS[kind].open
    if opener is None:
        raise ValueError(f"no source reads one {kind!r} alone")
    return opener(path, options)


def typed_sources(parts: list[RecordSource], kind: str, options: SourceOptions) -> list[RecordSource]:
    """Return sources whose records are samples, of sources of one kind whose records are texts or messages.

    Raises:
        ValueError: If a type is none, or options do not go together.
        SourceError: If the types of the columns of standard input are not given.
    """
    types = dict(options.types or {})
    check_types(types)
    if options.column is not None or options.validate:
        raise ValueError("typed=True takes whole records as samples: it goes with neither column nor validate")
    parse: Callable[[bytes], Any] = parse_example
    if kind == "jsonl":
        parse = JsonFields(types)
    elif kind in ("csv", "tsv"):
        if not options.header:
            raise ValueError("typed=True names the fields by the header, and header=False says that there is none")
        if not types:
            if not parts[0].inputs:
                raise SourceError("standard input is read once: say the types of its columns, types={'id': 'int'}")
            with closing(iter(parts[0])) as rows:
                types = told_types(json.loads(cast("bytes", row)) for row in islice(rows, _ROWS_LOOKED_AT))
        parse = RowFields(types)
    shown = json.dumps(types, sort_keys=True)
    return [cast("RecordSource", TypedSource(part, parse, types=shown)) for part in parts]
