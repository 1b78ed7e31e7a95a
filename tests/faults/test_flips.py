"""Every bit flipped, every file cut at every byte: right records or a clear error, and never more than one record.

flip one bit ── open, read in every way ── restore
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from splitdata import ManifestError, SplitDataLoader, TruncatedFileError, verify
from splitdata.dataset.segments.segment_reader import SegmentReader
from splitdata.format import spec
from splitdata.format.frames import footprint
from tests.faults.file_faults import fast_folder
from tests.faults.small_dataset import FIRST_SEGMENT, RECORDS, Io, read_everything, segment_folders, write_small


@pytest.fixture
def dataset(tmp_path: Path) -> Iterator[Path]:
    with fast_folder(tmp_path) as folder:
        write_small(folder / "data")
        yield folder / "data"


def files_of(path: Path, pattern: str) -> list[Path]:
    """Return the files of a dataset whose path within it matches."""
    found = sorted(path.glob(pattern))
    assert found
    return found


@contextmanager
def flipped(file: Path, bit: int) -> Iterator[None]:
    """Flip one bit of a file in place, and flip it back."""
    descriptor = os.open(file, os.O_RDWR)
    try:
        byte = os.pread(descriptor, 1, bit // 8)
        os.pwrite(descriptor, bytes([byte[0] ^ 1 << bit % 8]), bit // 8)
        try:
            yield
        finally:
            os.pwrite(descriptor, byte, bit // 8)
    finally:
        os.close(descriptor)


def bits_of(file: Path, parity: int | None = None) -> range:
    """Return every bit of a file, or the even or the odd ones."""
    return range(parity or 0, 8 * file.stat().st_size, 1 if parity is None else 2)


def test_undamaged_dataset_reads_whole(dataset: Path) -> None:
    for io in ("mmap", "pread"):
        for checked in (True, False):
            reading = read_everything(dataset, io=io, verify=checked)
            assert (reading.refused, reading.errors) == (None, {})
    assert verify(dataset).is_intact


@pytest.mark.parametrize("io", ["mmap", "pread"])
def test_any_flipped_bit_of_the_manifest_refuses_the_dataset(dataset: Path, io: Io) -> None:
    (manifest,) = files_of(dataset, "manifest.*.json")
    for bit in bits_of(manifest):
        with flipped(manifest, bit):
            assert isinstance(read_everything(dataset, io=io).refused, ManifestError), bit


# Every bit is flipped in a normal run, for one of the two ways to read; for both of them in soak.
@pytest.mark.parametrize(
    ("io", "parity"),
    [
        pytest.param("mmap", 0, id="mmap"),
        pytest.param("pread", 1, id="pread"),
        pytest.param("mmap", None, id="mmap-all", marks=pytest.mark.soak),
        pytest.param("pread", None, id="pread-all", marks=pytest.mark.soak),
    ],
)
def test_any_flipped_bit_of_a_bin_costs_at_most_one_record(dataset: Path, io: Io, parity: int | None) -> None:
    costs = {0: 0, 1: 0}
    for file in files_of(dataset, "segments/*/*.bin"):
        for bit in bits_of(file, parity):
            with flipped(file, bit):
                reading = read_everything(dataset, io=io, more_ways=bit % 27 == 0)
            assert reading.refused is None
            assert len(reading.errors) <= 1, (file, bit, reading)
            costs[len(reading.errors)] += 1
    # Every bit of payload, hash, sequence number and lengths must be noticed.
    bits_of_a_byte = 8 if parity is None else 4
    assert costs[1] >= bits_of_a_byte * (sum(map(len, RECORDS[:FIRST_SEGMENT])) + 24 * len(RECORDS))


# What one of them reads by map the other reads by pread: the other two pairs take as long, and are for soak.
@pytest.mark.parametrize(
    ("io", "checked"),
    [
        pytest.param(io, checked, id=f"{io}-{word}", marks=[pytest.mark.soak] * ((io == "mmap") != checked))
        for io in ("mmap", "pread")
        for checked, word in ((True, "verify"), (False, "no-verify"))
    ],
)
def test_any_flipped_bit_of_an_index_costs_at_most_one_record(dataset: Path, io: Io, checked: bool) -> None:
    noticed = 0
    for file in files_of(dataset, "segments/*/index"):
        # Even bits by one way of reading, odd ones by the other.
        for bit in bits_of(file, int(io == "pread")):
            with flipped(file, bit):
                reading = read_everything(dataset, io=io, verify=checked, more_ways=bit % 27 == 0)
            assert reading.refused is None
            assert len(reading.errors) <= 1, (file, bit, reading)
            noticed += len(reading.errors)
    # All of them in all entries: without the payload hash too, for the frame must agree.
    assert noticed == 4 * 16 * len(RECORDS)


def checked_length(dataset: Path, file: Path) -> int:
    """Return up to which byte anything is said of a file: in an open segment, to the end of its last record.

    Behind that a writer may be at work; so nothing covers the up to 7 zeros that pad the last record there.
    """
    if file.parent != segment_folders(dataset)[1]:
        return file.stat().st_size
    if file.name == "index":
        return spec.INDEX_HEADER_BYTES + spec.INDEX_ENTRY_BYTES * (len(RECORDS) - FIRST_SEGMENT)
    with SplitDataLoader(dataset) as loader:
        segment = loader._snapshot.segment(1)
        assert isinstance(segment, SegmentReader)
        places = [segment.records.locate(sequence) for sequence in range(len(RECORDS) - FIRST_SEGMENT)]
    bin_index = int(file.stem)
    return max(place.offset + footprint(place.header) for place in places if place.bin_index == bin_index)


def check_verify_finds_flips(dataset: Path, step: int) -> list[tuple[str, int]]:
    """Return each flip that verify does not report, as file and bit."""
    missed = []
    for file in files_of(dataset, "segments/*/*"):
        for bit in range(0, 8 * checked_length(dataset, file), step):
            with flipped(file, bit):
                if verify(dataset, num_workers=1).is_intact:
                    missed.append((file.name, bit))
    return missed


def test_verify_reports_a_flip_in_each_byte(dataset: Path) -> None:
    assert check_verify_finds_flips(dataset, 9) == []


@pytest.mark.soak
def test_verify_reports_every_flip(dataset: Path) -> None:
    assert check_verify_finds_flips(dataset, 1) == []


@pytest.mark.parametrize("io", ["mmap", "pread"])
def test_bin_cut_at_any_byte_keeps_the_records_before_the_cut(dataset: Path, io: Io) -> None:
    for file in files_of(dataset, "segments/*/*.bin"):
        whole = file.read_bytes()
        lost_before: set[int] = set()
        for length in range(len(whole) - 1, -1, -1):
            file.write_bytes(whole[:length])
            reading = read_everything(dataset, io=io, more_ways=length % 16 == 0)
            assert reading.refused is None
            assert all(isinstance(error, TruncatedFileError) for error in reading.errors.values())
            lost = set(reading.errors)
            assert lost >= lost_before
            assert len({(position < FIRST_SEGMENT, position % 2) for position in lost}) <= 1
            lost_before = lost
        assert lost_before
        file.write_bytes(whole)
    assert read_everything(dataset, io=io).errors == {}


@pytest.mark.parametrize("io", ["mmap", "pread"])
def test_index_cut_at_any_byte_keeps_the_entries_before_the_cut(dataset: Path, io: Io) -> None:
    for number, folder in enumerate(segment_folders(dataset)):
        file = folder / "index"
        whole = file.read_bytes()
        first = number * FIRST_SEGMENT
        for length in range(len(whole)):
            file.write_bytes(whole[:length])
            reading = read_everything(dataset, io=io, more_ways=length % 16 == 0)
            assert reading.refused is None
            kept = max(0, min(FIRST_SEGMENT, (length - 128) // 16))
            assert list(reading.errors) == list(range(first + kept, first + FIRST_SEGMENT)), length
        file.write_bytes(whole)


def test_manifest_cut_at_any_byte_refuses_the_dataset(dataset: Path) -> None:
    (manifest,) = files_of(dataset, "manifest.*.json")
    whole = manifest.read_bytes()
    for length in range(len(whole)):
        manifest.write_bytes(whole[:length])
        assert isinstance(read_everything(dataset, io="pread").refused, ManifestError)


def test_verify_reports_every_cut(dataset: Path) -> None:
    for file in files_of(dataset, "segments/*/*"):
        whole = file.read_bytes()
        for length in range(checked_length(dataset, file)):
            file.write_bytes(whole[:length])
            report = verify(dataset, num_workers=1)
            assert not report.is_intact, (file, length)
            assert report.num_damaged_records == len(read_everything(dataset, io="pread", more_ways=False).errors)
        file.write_bytes(whole)
