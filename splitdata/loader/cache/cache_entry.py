"""Encodes entries of a cache and their indexes: both by the sample codec.

    entry    (17, {"image": ..., "label": 3})                    record 17 and its sample
    index    {"records": int64[n], "replaced": int64[k]}         the n entries before it, in their order, and
                                                                 addresses of damaged ones that they replace

So an entry proves whose it is, and a damaged index costs nothing but time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from splitdata._shown import shown
from splitdata.errors import CacheError, FormatError
from splitdata.samples.decode import SampleDecoder
from splitdata.samples.encode import encode_sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from splitdata._types import BytesLike

__all__ = ["EntryCodec", "EntryIndex", "encode_index"]


# Where an entry has its sample, in the messages of the codec.
_PLACE: Final = "sample[1]"
_MAX_SCHEMAS: Final = 4096
_MAX_RECORD: Final = (1 << 63) - 1


class EntryIndex(NamedTuple):
    """The entries of one commit.

    Attributes:
        records: Of each, int64, in the order in which they were written; this index stands behind the last.
        replaced: Addresses of entries that were found damaged, int64.
    """

    records: NDArray[np.int64]
    replaced: NDArray[np.int64]


def encode_index(index: EntryIndex) -> bytes:
    """Return an index as it is written."""
    return encode_sample(index._asdict())


class EntryCodec:
    """Entries to bytes and back. Not thread-safe.

    Args:
        types: Namedtuples and dataclasses that samples may have in them.
        copy: Make writable arrays. Else they are views of the bytes, which the default collate copies.
    """

    def __init__(self, types: Sequence[type], *, copy: bool) -> None:
        self._decoder = SampleDecoder(types)
        self._copy = copy
        # The types that were found to come back as they went in.
        self._schemas: set[bytes] = set()

    def encode(self, record: int, sample: Any) -> bytes:
        """Return the entry of a sample.

        Raises:
            CacheError: It has a part that cannot be kept, or would come back as something else; names the part.
        """
        if type(sample) is memoryview:
            sample = bytes(sample)
        try:
            data = encode_sample((record, sample))
        except (TypeError, ValueError) as error:
            message = str(error).replace(_PLACE, "sample", 1)
            raise CacheError(
                f"the sample of record {record} cannot be cached: {message}. Let the transform return what "
                "encode_sample takes, or leave out the cache"
            ) from None
        schema = data[: 8 + int.from_bytes(data[4:8], "little")]
        if schema not in self._schemas:
            self._check_types(record, sample, data)
            if len(self._schemas) >= _MAX_SCHEMAS:
                self._schemas.clear()
            self._schemas.add(schema)
        return data

    def _check_types(self, record: int, sample: Any, data: bytes) -> None:
        changed = _changed(sample, self._decoder.decode(data)[1], "sample")
        if changed:
            raise CacheError(
                f"the sample of record {record} would not come back from the cache as it is: {changed}. Name the "
                "class in Cache(types=(...,)), or let the transform return a dict or tuple"
            )

    def decode(self, data: BytesLike, record: int) -> Any:
        """Return the sample of an entry.

        Raises:
            FormatError: If it is not an entry, or that of another record.
        """
        entry = self._decoder.decode(data, copy=self._copy)
        # Other types are not compared: an array, for one, is compared with a number element by element.
        if not isinstance(entry, tuple) or len(entry) != 2 or type(entry[0]) is not int or entry[0] != record:
            raise FormatError(f"this is no entry of record {record}")
        return entry[1]

    def scan(self, data: BytesLike) -> int | EntryIndex:
        """Return the record of an entry, or an index.

        Raises:
            FormatError: It is neither.
        """
        value = self._decoder.decode(data)
        if isinstance(value, tuple) and len(value) == 2 and type(value[0]) is int and 0 <= value[0] <= _MAX_RECORD:
            return value[0]
        if isinstance(value, dict) and value.keys() == set(EntryIndex._fields):
            arrays = [value[name] for name in EntryIndex._fields]
            if all(isinstance(one, np.ndarray) and one.ndim == 1 and one.dtype == np.int64 for one in arrays):
                return EntryIndex(*arrays)
        raise FormatError("this is no entry of a cache")


def _changed(before: Any, after: Any, name: str) -> str:
    """Return which part of a sample has another type than before, and what it was; empty if none has."""
    if isinstance(before, np.ndarray):
        return "" if isinstance(after, np.ndarray) else f"{name} is an array"
    if type(before) is not type(after):
        return f"{name} is of type {type(before).__qualname__}, and would be of type {type(after).__qualname__}"
    for step, one, other in _pairs(before, after):
        if found := _changed(one, other, f"{name}{step}"):
            return found
    return ""


def _pairs(before: Any, after: Any) -> list[tuple[str, Any, Any]]:
    if isinstance(before, Mapping):
        return [(f"[{shown(key)}]", before[key], after[key]) for key in before]
    if isinstance(before, (list, tuple)):
        return [(f"[{place}]", one, other) for place, (one, other) in enumerate(zip(before, after, strict=True))]
    if dataclasses.is_dataclass(before):
        names = [field.name for field in dataclasses.fields(before)]
        return [(f".{name}", getattr(before, name), getattr(after, name)) for name in names]
    return []
