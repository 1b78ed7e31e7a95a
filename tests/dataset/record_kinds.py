"""Every kind of record that a segment can hold, and the damage that a test does to a dataset of them.

plain  empty  zstd  dictionary  keyed  keyed zstd  keyed dictionary  large  aligned 64  typed   in groups of two
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from splitdata import FormatError, SampleDataset, SplitDataLoader, SplitWriter, encode_sample
from splitdata.dataset.manifests.directory import DatasetDirectory
from splitdata.format import spec
from splitdata.format.checksum import bin_salt, hash64
from splitdata.format.frames import FrameHeader
from splitdata.format.index import entry_offset
from splitdata.format.manifest import SegmentInfo
from splitdata.samples.schema_table import SchemaTable
from splitdata.storage.paths import SegmentPaths

_WORDS = [f"word{number * 7919 % 1000:03d}" for number in range(1000)]


def _alike(count: int, seed: int) -> list[bytes]:
    """Return small records that have much in common, as a dictionary needs them."""
    source = random.Random(seed)
    return [
        json.dumps(
            {"number": n, "tags": source.choices(_WORDS, k=5), "author": {"name": source.choice(_WORDS)}}
        ).encode()
        for n in range(count)
    ]


@dataclass(frozen=True)
class RecordKind:
    """What is written, and how.

    Attributes:
        name: For test ids.
        records: As they are stored; all different, but for those without bytes.
        has_keys: Whether each record is written with a key.
        options: Of the writer.
        samples: What these are, where they are samples that name schemas of their segment.
    """

    name: str
    records: tuple[bytes, ...]
    has_keys: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    samples: tuple[Any, ...] = ()

    def key(self, number: int) -> str | None:
        """Return the key of a record."""
        return f"key of record {number}" if self.has_keys else None

    def writer(self, path: Path, mode: str = "append") -> SplitWriter:
        """Open a writer of this kind."""
        given: dict[str, Any] = {"bins": 2, "durability": "none", "mode": mode}
        return SplitWriter(path, **(given | self.options))

    def write(self, writer: SplitWriter, start: int, stop: int) -> None:
        """Write records `start` to `stop`."""
        for number in range(start, stop):
            self.write_one(writer, number, self.key(number))

    def write_one(self, writer: SplitWriter, number: int, key: str | None = None) -> None:
        """Write one record, with this key."""
        if self.samples:
            writer.write_sample(self.samples[number], key)
        else:
            writer.write(self.records[number], key)

    def write_sealed(self, path: Path) -> None:
        """Write all records in one run."""
        with self.writer(path) as writer:
            self.write(writer, 0, len(self.records))

    def write_open(self, path: Path, *, uncommitted: int = 0) -> None:
        """Write all records in a run that is killed before the last `uncommitted` ones were committed."""
        writer = self.writer(path)
        self.write(writer, 0, len(self.records) - uncommitted)
        writer.commit()
        self.write(writer, len(self.records) - uncommitted, len(self.records))
        kill(writer)

    def check(self, path: Path, *, lost: tuple[int, ...] = (), count: int | None = None) -> None:
        """Compare every record and key with what was written; those that are lost must say so."""
        with SplitDataLoader(path) as loader:
            assert len(loader) == (len(self.records) if count is None else count)
            unreadable = []
            for number in range(len(loader)):
                try:
                    assert loader[number] == self.records[number]
                    assert loader.key(number) == self.key(number)
                except FormatError:
                    unreadable.append(number)
                    continue
                if self.has_keys:
                    assert loader.find(str(self.key(number))) == number
            assert unreadable == list(lost)
        if self.samples:
            self._check_samples(path, lost)

    def _check_samples(self, path: Path, lost: tuple[int, ...]) -> None:
        with SampleDataset(path) as dataset:
            for number in set(range(len(dataset))) - set(lost):
                assert dataset.encoded(number) == encode_sample(self.samples[number])


def kill(writer: SplitWriter) -> None:
    """Leave what a killed writer leaves: all that it was given is in the files, not all was committed."""
    if writer._pending:
        writer._flush()
    writer._release()


_MIXED = tuple(b"record %d " % n * (n % 40) + b"%d" % n for n in range(80))
_ALIKE = tuple(_alike(500, seed=1))
_LARGE = (
    bytes(spec.LARGE_RECORD_BYTES + 1000),
    random.Random(1).randbytes(spec.LARGE_RECORD_BYTES + 5),
)


def _sample(number: int) -> dict[str, Any]:
    """Return a sample: of one schema as a rule, the last few of some that none before has."""
    sample = {"image": np.full((4, 4 + number % 2), number, np.uint8), "label": number, "text": f"sample {number}"}
    return sample if number < 19 else sample | {f"more {number // 2}": 0.5}


_SAMPLES = tuple(map(_sample, range(24)))
_TYPED = tuple(map(SchemaTable().encode, _SAMPLES))

KINDS = (
    RecordKind("plain", _MIXED),
    RecordKind("empty", (b"",) * 24, has_keys=True),
    RecordKind("zstd", _MIXED, options={"compression": "zstd"}),
    RecordKind("dictionary", _ALIKE, options={"compression": "zstd", "dictionary": True}),
    RecordKind("keyed", _MIXED, has_keys=True),
    RecordKind("keyed_zstd", _MIXED, has_keys=True, options={"compression": "zstd"}),
    RecordKind(
        "keyed_dictionary",
        _ALIKE,
        has_keys=True,
        options={"compression": "zstd", "dictionary": True, "metadata": {"who": "me"}},
    ),
    RecordKind("large", (*_MIXED[:6], *_LARGE, *_MIXED[6:14]), has_keys=True, options={"compression": "zstd"}),
    RecordKind("aligned_64", _MIXED, options={"alignment": 64, "metadata": {"who": "me"}}),
    RecordKind("typed", _TYPED, options={"codec": "sample"}, samples=_SAMPLES),
)

# A damage costs two records here.
GROUPED_KINDS = (
    RecordKind("grouped", _MIXED, options={"group": 2}),
    RecordKind("keyed_grouped_zstd", _MIXED, has_keys=True, options={"group": 2, "compression": "zstd"}),
    RecordKind("grouped_typed", _TYPED, options={"group": 2, "codec": "sample"}, samples=_SAMPLES),
)


# -- damage ------------------------------------------------------------------------------------------


def segments_of(path: Path) -> list[tuple[SegmentInfo, SegmentPaths]]:
    """Return the listed segments."""
    directory = DatasetDirectory(path)
    return [(info, directory.paths.segment(info.id)) for info in directory.newest().segments]


def place_of(path: Path, number: int) -> tuple[Path, int]:
    """Return bin and offset of the frame of a record, or of its group, by the index of the first segment."""
    info, paths = segments_of(path)[0]
    frame = number // info.group
    entry = Path(paths.index).read_bytes()[entry_offset(frame, info.group) :][:8]
    place = int.from_bytes(entry, "little")
    assert place >> spec.BIN_SHIFT == frame % info.num_bins
    return Path(paths.bin(place >> spec.BIN_SHIFT)), (place & spec.PLACE_MASK) * spec.FRAME_UNIT


def set_foreign_frame(path: Path, position: int) -> bool:
    """Put a whole frame of another segment in the place of a record's: as a write that went to the wrong file does.

    Its number and lengths are those of the index entry. Returns whether its payload is another one.
    """
    info = segments_of(path)[0][0]
    file, offset = place_of(path, position)
    header = FrameHeader.unpack(file.read_bytes()[offset : offset + spec.LARGE_FRAME_HEADER_BYTES])
    start = offset + header.size
    payload = bytearray(file.read_bytes()[start : start + header.stored_length])
    fields = {name: getattr(header, name) for name in header.__slots__}
    is_other = bool(payload) and header.kind != spec.KIND_LARGE
    if is_other:
        payload[-1] ^= 1
        fields["payload_hash"] = hash64(bytes(payload))
    salt = bin_salt("0" * 32, header.sequence % info.num_bins)
    overwrite(file, offset, FrameHeader(**fields).pack(salt, offset)[: header.size] + payload)
    return is_other


def overwrite(file: Path, offset: int, data: bytes) -> None:
    """Replace some bytes of a file."""
    with file.open("r+b") as stream:
        stream.seek(offset)
        stream.write(data)


def tree_of(path: Path) -> dict[str, bytes]:
    """Return the bytes of all files of a dataset."""
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()}
