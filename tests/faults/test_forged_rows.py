"""Rows of forged frames against real records, where a header is damaged: what is read afterwards was written.

record 3  [header damaged][4'][5'][6'][7'][8'][9']      more of them than real records behind it, or ending with the bin
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from splitdata import SplitDataLoader, SplitWriter, repair
from splitdata.dataset.segments.dictionary import control_frame
from splitdata.format import spec
from tests.dataset.record_kinds import RecordKind, kill, overwrite, place_of, segments_of, tree_of
from tests.faults.file_faults import fast_folder
from tests.faults.test_frames_in_records import Place, no_index

OPTIONS: dict[str, Any] = {"bins": 1, "durability": "none", "reproducible": "as foretold"}
SIZE = 2400
HASH, SEQUENCE = 8, 16


@dataclass(frozen=True)
class Row:
    """One dataset with a carrier of forged frames, and what happens to it.

    Attributes:
        count: Records, all of them committed.
        carrier: The record that holds the forged frames.
        forged: Their sequence numbers; they end with the payload, one in the place behind the other.
        flipped: Record and byte of its frame, of each flipped bit.
        lost: Records that may be lost by that, and no more are.
        is_open: Whether the run was killed behind its last commit.
        has_index: Whether the index is still there.
        has_sums: Whether the checksums of that are right.
    """

    count: int
    carrier: int
    forged: tuple[int, ...]
    flipped: tuple[tuple[int, int], ...]
    lost: tuple[int, ...]
    is_open: bool = False
    has_index: bool = False
    has_sums: bool = True


ROWS = {
    "first record, open, index there": Row(1, 0, (0, 1, 2), ((0, HASH),), (0,), is_open=True, has_index=True),
    "first record, open": Row(1, 0, (0, 1, 2), ((0, HASH),), (0,), is_open=True),
    "first record ends with its own number": Row(10, 0, (0,), ((0, HASH),), (0,)),
    "first record, word 0 only": Row(10, 0, (0,), ((0, 0),), ()),
    "last record holds all": Row(10, 9, tuple(range(10)), ((4, HASH),), (4,)),
    "before the last, and one more": Row(6, 4, (5, 6), ((4, HASH),), (4,)),
    "before the last, index without sums": Row(
        6, 4, (5, 6), ((4, HASH), (5, 40)), (4, 5), has_index=True, has_sums=False
    ),
    "longer than what is behind, open": Row(10, 3, tuple(range(3, 30)), ((3, HASH),), (3,), is_open=True),
    "first of an open one": Row(10, 0, tuple(range(30)), ((0, HASH),), (0,), is_open=True, has_index=True),
    "first of an open one, no index": Row(10, 0, tuple(range(30)), ((0, HASH),), (0,), is_open=True),
    "last committed": Row(5, 4, (4, 5, 6, 7, 8), ((4, HASH),), (4,), is_open=True, has_index=True),
    "last committed, word 0 only": Row(5, 4, (4, 5, 6, 7, 8), ((4, 0),), (), is_open=True, has_index=True),
    "last committed, no index": Row(5, 4, (4, 5, 6, 7, 8), ((4, HASH),), (4,), is_open=True),
    "payload behind": Row(6, 4, (5, 6, 7, 8), ((4, 0), (5, 40)), (5,), is_open=True, has_index=True),
    "two headers, index there": Row(9, 4, (5, 6), ((4, HASH), (5, HASH)), (4, 5), is_open=True, has_index=True),
    # What cannot be known: no header says where a record begins, and too many are lost for the digest.
    "two headers, no index": Row(9, 4, (5, 6, 7, 8), ((4, HASH), (5, HASH)), (4, 5, 6, 7, 8), is_open=True),
    "two headers apart, no index": Row(9, 8, tuple(range(9)), ((2, HASH), (5, HASH)), tuple(range(2, 9))),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with fast_folder(tmp_path_factory.mktemp("rows")) as path:
        yield path


def write(path: Path, records: list[bytes], *, is_open: bool) -> Path:
    writer = SplitWriter(path, **OPTIONS)
    writer.write_many(records)
    if is_open:
        writer.commit()
        kill(writer)
    else:
        writer.close()
    return path


def records_of(folder: Path, row: Row) -> list[bytes]:
    """Return the records, of which the carrier's end is its forged frames, made for where they will lie."""
    records = [b"written %d " % number * (number % 3 + 1) for number in range(row.count)]
    records[row.carrier] = bytes(SIZE)
    first = write(folder / "foretold", records, is_open=row.is_open)
    there = Place(segments_of(first)[0][0].id, place_of(first, row.carrier)[1] + spec.FRAME_HEADER_BYTES, b"")
    length = len(there.chain(0, list(row.forged)))
    at = (SIZE - length) // 8 * 8
    records[row.carrier] = bytes(at) + there.chain(at, list(row.forged))
    # So that they end where the bin does, as the payload.
    return records


def damage(path: Path, row: Row) -> None:
    for number, byte in row.flipped:
        file, offset = place_of(path, number)
        overwrite(file, offset + byte, bytes([file.read_bytes()[offset + byte] ^ 1]))
    index = Path(segments_of(path)[0][1].index)
    if not row.has_sums:
        overwrite(index, spec.INDEX_HEADER_BYTES + spec.INDEX_ENTRY_BYTES * row.count, b"\xa5")
    if not row.has_index:
        index.unlink()


@pytest.mark.parametrize("adopt", [False, True], ids=["as it is", "adopt"])
@pytest.mark.parametrize("name", ROWS)
def test_row_of_forged_frames_replaces_no_record_and_is_not_adopted(folder: Path, name: str, adopt: bool) -> None:
    row = ROWS[name]
    there = folder / f"{name} {adopt}"
    there.mkdir()
    records = records_of(there, row)
    path = write(there / "data", records, is_open=row.is_open)
    size = place_of(path, 0)[0].stat().st_size
    damage(path, row)

    report = repair(path, adopt=adopt)

    assert (report.num_records, report.num_adopted) == (row.count, 0)
    RecordKind("row", tuple(records)).check(path, lost=row.lost)
    assert Path(segments_of(path)[0][1].bin(0)).stat().st_size == size
    before = tree_of(path)
    again = repair(path, adopt=adopt)
    assert (again.actions, again.findings, again.num_adopted) == ((), report.findings, 0)
    assert tree_of(path) == before


def test_control_frame_in_the_first_record_is_no_dictionary(folder: Path) -> None:
    """Where header and index are gone, the alignment is not known: 64 would put a dictionary where this one lies."""
    records = [bytes(200), *(b"written %d" % number for number in range(5))]
    first = write(folder / "dictionary, foretold", records, is_open=False)
    salt = Place(segments_of(first)[0][0].id, 0, b"").salt
    records[0] = control_frame(spec.KIND_DICTIONARY, b"d" * 40, salt, 96) + b"and more"
    path = write(folder / "dictionary", records, is_open=False)
    before = tree_of(path)
    overwrite(Path(segments_of(path)[0][1].bin(0)), 50, b"\x5a")
    no_index(path)

    assert repair(path).is_whole
    assert tree_of(path) == before


@pytest.mark.parametrize("alignment", [8, 64, 128, 4096])
@pytest.mark.parametrize("bins", [1, 3])
def test_alignment_that_nothing_says_is_found_by_the_places_of_frames(folder: Path, alignment: int, bins: int) -> None:
    path = folder / f"alignment {alignment} {bins}"
    options = OPTIONS | {"bins": bins, "alignment": alignment, "metadata": {"who": "me"}}
    with SplitWriter(path, compression="zstd", dictionary=True, **options) as writer:
        writer.write_many([b'{"number": %d, "word": "%d"}' % (one, one * 7919 % 97) * 3 for one in range(1000)])
    before = tree_of(path)
    for number in range(bins):
        overwrite(Path(segments_of(path)[0][1].bin(number)), 50, b"\x5a")
    no_index(path)

    assert repair(path).is_whole
    assert tree_of(path) == before


@pytest.mark.parametrize("byte", [0, HASH, SEQUENCE, 24])
def test_damaged_dictionary_is_made_again_and_not_filled_with_zeros(folder: Path, byte: int) -> None:
    records = [b'{"number": %d, "word": "%d"}' % (number, number * 7919 % 97) * 3 for number in range(1000)]
    path = folder / f"damaged dictionary {byte}"
    with SplitWriter(path, compression="zstd", dictionary=True, **OPTIONS) as writer:
        writer.write_many(records)
    before = tree_of(path)
    file = Path(segments_of(path)[0][1].bin(0))
    content = file.read_bytes()
    overwrite(file, 64 + byte, bytes([content[64 + byte] ^ 1]))

    assert repair(path).is_whole

    assert tree_of(path) == before
    with SplitDataLoader(path) as loader:
        assert list(loader) == records


def test_damaged_metadata_in_a_bin_is_left_as_it_is(folder: Path) -> None:
    path = folder / "damaged metadata"
    with SplitWriter(path, metadata={"who": "me"}, **OPTIONS) as writer:
        writer.write_many([b"a", b"b"])
    file = Path(segments_of(path)[0][1].bin(0))
    overwrite(file, 64 + 24, b"\x01")
    before = file.read_bytes()

    repair(path)

    assert file.read_bytes() == before
