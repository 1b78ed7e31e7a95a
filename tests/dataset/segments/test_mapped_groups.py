"""Records of many groups at once: the same records, and the same verdict on each, as one by one."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitdata import CorruptRecordError, RecordTooLargeError, SplitDataLoader, SplitWriter
from splitdata.dataset.manifests.directory import DatasetDirectory
from splitdata.dataset.segments.group_reader import GroupReader
from splitdata.format import spec
from splitdata.format.checksum import bin_salt, hash64
from splitdata.format.frames import FrameHeader, footprint
from tests.dataset.record_kinds import overwrite

GROUP = 16
NUM_GROUPS = 40
# One of the groups, neither the first nor the last.
FORGED = 23
TABLES = 8 + 4 * GROUP

WAYS: dict[str, Callable[[SplitDataLoader, list[int]], Any]] = {
    "list": lambda reader, positions: reader[positions],
    "views": lambda reader, positions: reader.views(positions),
    "gather": lambda reader, positions: reader.gather(positions),
    "walk": lambda reader, _: list(reader),
    "walk of views": lambda reader, _: list(reader.iterate_binwise(as_views=True)),
}


def opened(path: Path, **options: Any) -> SplitDataLoader:
    """Return a reader whose bins are all mapped."""
    reader = SplitDataLoader(path, io="mmap", **options)
    for position in range(0, len(reader), GROUP):
        bytes(reader[position])
    return reader


def made(path: Path, records: list[bytes], *, keys: list[str] | None = None, **options: Any) -> None:
    with SplitWriter(path, **{"group": GROUP, "durability": "none", **options}) as writer:
        writer.write_many(records, keys=keys)


@pytest.mark.parametrize("sizes", ["one", "many"])
@pytest.mark.parametrize("options", [{"bins": 1}, {"bins": 3}, {"bins": 2, "alignment": 32}])
@pytest.mark.parametrize("has_keys", [False, True])
def test_records_of_many_groups_are_those_that_were_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sizes: str, options: dict[str, Any], has_keys: bool
) -> None:
    generator = np.random.default_rng(5)
    # The last group is not full.
    count = NUM_GROUPS * GROUP + 3
    lengths = generator.integers(0, 60, count) if sizes == "many" else np.full(count, 24)
    records = [generator.bytes(length) for length in lengths.tolist()]
    # Some groups have no key at all.
    keys = [f"k{number}" if number >= 100 else None for number in range(count)] if has_keys else None
    made(tmp_path / "d", records, keys=keys, **options)  # type: ignore[arg-type]
    orders = [range(count), generator.permutation(count), generator.integers(0, count, 90), range(5, count - 20)]

    def refuse(*_: Any) -> None:
        raise AssertionError("the groups are read one by one")

    with opened(tmp_path / "d") as reader:
        with monkeypatch.context() as patch:
            patch.setattr(GroupReader, "_group_by_group", refuse)
            for order in orders:
                positions = np.array(order)
                expected = [records[position] for position in positions.tolist()]
                assert reader[positions] == expected
                assert list(map(bytes, reader.views(positions))) == expected
                if sizes == "one":
                    assert list(map(bytes, reader.gather(positions))) == expected
        assert list(reader) == records
        walked = list(reader.iterate_binwise(as_views=True, with_positions=True))
        assert {position: bytes(record) for position, record in walked} == dict(enumerate(records))


@pytest.mark.parametrize("io", ["mmap", "pread"])
@pytest.mark.parametrize("compression", [None, "zstd"])
def test_no_record_and_few_records_of_groups_are_those_that_were_written(
    tmp_path: Path, io: Any, compression: Any
) -> None:
    records = [b"%024d" % number for number in range(NUM_GROUPS * GROUP)]
    made(tmp_path / "d", records, bins=1, compression=compression)

    with SplitDataLoader(tmp_path / "d", io=io) as reader:
        for positions in ([], [3], [40, 3, 40], [17, 16, 15], list(range(5, 40))):
            expected = [records[position] for position in positions]
            assert reader[positions] == expected
            assert list(map(bytes, reader.views(positions))) == expected
            assert list(map(bytes, reader.gather(positions))) == expected
        assert reader[9:9] == []
        assert reader.gather([]).shape[0] == 0


def head(count: int, flags: int, ends: list[int]) -> bytes:
    return struct.pack(f"<II{len(ends)}I", count, flags, *ends)


ENDS = [TABLES + 24 * number for number in range(1, GROUP + 1)]
BODY = bytes(24 * GROUP)
FORGERIES = {
    "no head": b"",
    "half a head": bytes(4),
    "tables cut off": head(GROUP, 0, ENDS)[:-4],
    "fewer records": head(GROUP - 1, 0, ENDS[1:]) + BODY,
    "more records": head(GROUP + 1, 0, [TABLES, *ENDS]) + BODY,
    "fewer records, room for all": head(GROUP - 1, 0, ENDS) + BODY,
    "more records, room for all": head(GROUP + 1, 0, [*ENDS, ENDS[-1] + 24]) + BODY + BODY,
    "unknown flag": head(GROUP, 1 << 9, ENDS) + BODY,
    "unknown alignment": head(GROUP, 7, ENDS) + BODY,
    "end within the tables": head(GROUP, 0, [TABLES - 1, *ENDS[1:]]) + BODY,
    "end before begin": head(GROUP, 0, [*ENDS[:4], ENDS[3] - 1, *ENDS[5:]]) + BODY,
    "end behind the payload": head(GROUP, 0, [*ENDS[:-1], ENDS[-1] + 1]) + BODY,
    "end of 4 GiB": head(GROUP, 0, [*ENDS[:-1], 0xFFFFFFFF]) + BODY,
}


def forge(path: Path, payload: bytes, *, hash_of: bytes | None = None) -> None:
    """Put a payload in the place of one group; its hash is right unless it is that of something else."""
    segment = DatasetDirectory(path).newest().segments[0]
    folder = path / "segments" / segment.id
    lengths = (len(payload), len(payload))
    header = FrameHeader(
        sequence=FORGED,
        stored_length=len(payload),
        raw_length=len(payload),
        payload_hash=hash64(payload if hash_of is None else hash_of),
        kind=spec.KIND_GROUP,
    )
    # Behind all others, where there is room for any length.
    offset = (folder / "000000.bin").stat().st_size
    frame = header.pack(bin_salt(segment.id, 0), offset) + payload
    with (folder / "000000.bin").open("ab") as file:
        file.write(frame + bytes(footprint(header) - len(frame)))
    entry = struct.pack("<QII", offset // spec.FRAME_UNIT, *lengths)
    overwrite(folder / "index", spec.INDEX_HEADER_BYTES + FORGED * (spec.INDEX_ENTRY_BYTES + 4 * GROUP), entry)


def verdicts(reader: SplitDataLoader, positions: list[int]) -> list[bytes | type[Exception]]:
    """Return each record as it is read alone, or the error."""
    found: list[bytes | type[Exception]] = []
    for position in positions:
        try:
            found.append(reader[position])
        except CorruptRecordError as error:
            found.append(type(error))
    return found


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", FORGERIES)
def test_forged_group_among_many_is_damage_as_it_is_alone(tmp_path: Path, name: str, way: str) -> None:
    records = [b"%024d" % number for number in range(NUM_GROUPS * GROUP)]
    made(tmp_path / "d", records, bins=1)
    forge(tmp_path / "d", FORGERIES[name])
    positions = np.random.default_rng(1).permutation(len(records)).tolist()

    with SplitDataLoader(tmp_path / "d", io="mmap") as reader:
        alone = verdicts(reader, positions)
        assert CorruptRecordError in alone
        with pytest.raises(CorruptRecordError, match="group of records 368 to 383"):
            WAYS[way](reader, positions)
        good = [position for position, one in zip(positions, alone, strict=True) if isinstance(one, bytes)]
        expected = [one for one in alone if isinstance(one, bytes)]
        assert reader[good] == expected
        for bad in sorted(set(positions) - set(good)):
            with pytest.raises(CorruptRecordError):
                reader[[*good, bad]]


@pytest.mark.parametrize("way", WAYS)
def test_group_with_a_wrong_hash_among_many_is_damage_unless_nobody_looks(tmp_path: Path, way: str) -> None:
    records = [b"%024d" % number for number in range(NUM_GROUPS * GROUP)]
    made(tmp_path / "d", records, bins=1)
    forge(tmp_path / "d", head(GROUP, 0, ENDS) + BODY, hash_of=b"another")
    positions = list(range(len(records)))

    with SplitDataLoader(tmp_path / "d", io="mmap") as reader:
        assert reader[0] == records[0]
        with pytest.raises(CorruptRecordError, match="checksum"):
            WAYS[way](reader, positions)
    with opened(tmp_path / "d", verify=False) as reader:
        assert len(list(map(bytes, WAYS[way](reader, positions)))) == len(records)


@pytest.mark.parametrize("way", WAYS)
def test_record_above_the_limit_among_many_is_refused(tmp_path: Path, way: str) -> None:
    made(tmp_path / "d", [bytes(24)] * (NUM_GROUPS * GROUP), bins=1)
    with opened(tmp_path / "d", max_record_bytes=24) as reader:
        assert len(WAYS[way](reader, list(range(len(reader))))) == len(reader)
    with SplitDataLoader(tmp_path / "d", io="mmap", max_record_bytes=23) as reader:
        for _ in range(2):
            with pytest.raises(RecordTooLargeError, match="23"):
                WAYS[way](reader, list(range(len(reader))))
