"""Two datasets of one kind of record, as tools take them: several segments, deleted records, keys that differ."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from splitdata import RecordDeletedError, SampleDataset, SplitDataLoader, delete, encode_sample
from tests.dataset.record_kinds import KINDS, RecordKind

_SMALL = tuple(b"small record %d" % number for number in range(100))

TOOL_KINDS = (
    *KINDS,
    RecordKind("grouped", _SMALL, options={"group": 16}),
    RecordKind("grouped_keyed_zstd", _SMALL, has_keys=True, options={"group": 32, "compression": "zstd"}),
)
SMALL_TOOL_KINDS = tuple(kind for kind in TOOL_KINDS if kind.name != "large")

Content = tuple[bytes, str | None] | None
"""A record and its key; None if it was deleted."""


@dataclass(frozen=True)
class TwoDatasets:
    """Two datasets of one kind.

    Attributes:
        first: The first two thirds of the records, in two segments, with two deleted.
        second: The rest, in one.
    """

    kind: RecordKind
    first: Path
    second: Path

    @classmethod
    def written(cls, kind: RecordKind, folder: Path) -> TwoDatasets:
        """Write both."""
        count = len(kind.records)
        bounds = (0, count // 3, 2 * count // 3, count)
        for name, start, stop in zip("aab", bounds[:-1], bounds[1:], strict=True):
            with kind.writer(folder / name) as writer:
                kind.write(writer, start, stop)
        delete(folder / "a", positions=[1, count // 3])
        return cls(kind, folder / "a", folder / "b")


def contents_of(path: Path) -> list[Content]:
    """Return all records, samples with their schemas, and keys of a dataset in order."""
    found: list[Content] = []
    with SplitDataLoader(path) as loader:
        is_typed = loader.record_codec == "sample"
        for position in range(len(loader)):
            try:
                record = loader[position]
            except RecordDeletedError:
                found.append(None)
                continue
            key = loader.key(position)
            if key is not None:
                # Of several records with one key it is the last.
                assert loader.find(key) >= position
            found.append((record, key))
    if is_typed:
        with SampleDataset(path) as dataset:
            found = [one and (dataset.encoded(number), one[1]) for number, one in enumerate(found)]
    return found


def samples_of(kind: RecordKind) -> list[bytes]:
    """Return the records of a kind as `contents_of` does."""
    return list(map(encode_sample, kind.samples)) if kind.samples else list(kind.records)
