"""The options of sources, and which kinds each of them is for.

An option that is given for a kind which does not have it is an error: it would be without effect.

    open_source(..., validate=True)  ──>  SourceOptions(validate=True)  ──of kind "csv"──>  ValueError: is for JSONL
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SourceOptions"]

_ROWS: Final = frozenset({"csv", "tsv"})
_FILES: Final = frozenset({"folder", "imagefolder", "files"})
_TABLES: Final = frozenset({"arrow", "hdf5", "huggingface", "lmdb", "npz", "parquet", "zarr"})
_CSV: Final = ("options of CSV and TSV are for these", _ROWS)

# What is said of an option where it is not for the kind, and the kinds that it is for.
_FOR: Final[dict[str, tuple[str, frozenset[str]]]] = {
    "validate": ("validate=True is for JSONL", frozenset({"jsonl"})),
    "column": (
        "column=NAME is for CSV, TSV and tables",
        _ROWS | _TABLES,
    ),
    "delimiter": _CSV,
    "header": _CSV,
    "quotes": _CSV,
    "encoding": _CSV,
    "from_bins": ("from_bins=True is for directories of splitdataloader", frozenset({"splitdataloader"})),
    "typed": ("typed=True is for JSONL, CSV, TSV and TFRecord", _ROWS | {"jsonl", "tfrecord"}),
    "types": ("types={'NAME': 'TYPE'} is for JSONL, CSV and TSV", _ROWS | {"jsonl"}),
    "dtype": ("dtype=TYPE is for flat files of tokens", frozenset({"tokens"})),
    "block": ("block=N is for flat files of tokens", frozenset({"tokens"})),
    "prefix_keys": ("prefix_keys=True is for files with their paths as keys", _FILES),
    "follow_links": ("follow_links=True is for folders", _FILES),
}


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """How a source is read; see `open_source`."""

    validate: bool = False
    column: str | None = None
    delimiter: str | None = None
    header: bool = True
    quotes: bool = True
    encoding: str = "utf-8"
    from_bins: bool = False
    typed: bool = False
    types: Mapping[str, str] | None = None
    dtype: str | None = None
    block: int | None = None
    prefix_keys: bool = False
    follow_links: bool = False

    @property
    def given(self) -> Mapping[str, object]:
        """Those that differ from their defaults."""
        values = {field.name: (getattr(self, field.name), field.default) for field in fields(self)}
        return {name: value for name, (value, default) in values.items() if value != default}

    def check_for(self, kind: str, name: str) -> None:
        """Raise ValueError if an option is given that is not for a kind; `name` is that of the source."""
        for option in self.given:
            what, kinds = _FOR[option]
            if kind not in kinds:
                raise ValueError(f"{what}, and {name} is read as {kind}")
