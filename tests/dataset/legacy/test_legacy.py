"""Directories of splitdataloader 0.0.1, written by that very package: read, walked, described, verified, converted."""

from __future__ import annotations

import contextlib
import os
import pickle
import random
import socket
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import splitdata
from splitdata import (
    CorruptRecordError,
    DatasetExistsError,
    FormatError,
    ManifestError,
    MissingBinError,
    SourceError,
    SplitDataLoader,
    SplitWriter,
    TruncatedFileError,
    convert,
    describe,
    open_source,
    verify,
)
from tests.command import ROOT

old = pytest.importorskip("splitdataloader", reason="the package whose layout is read")

MODES = ("mmap", "pread")
each_mode = pytest.mark.parametrize("io", MODES)


def records_of(count: int, seed: int = 0) -> list[bytes]:
    generator = random.Random(seed)
    return [generator.randbytes(generator.choice([0, 1, 5, 300])) for _ in range(count)]


def written(path: Path, records: list[bytes], *, splits: int = 7, shuffle: bool = False) -> Path:
    old.write_split_data(str(path), records, splits=splits, shuffle=shuffle)
    return path


def problems(path: Path) -> list[str]:
    return [finding.problem for finding in verify(path).findings]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """100 records in 7 bins."""
    return written(tmp_path / "old", records_of(100))


# -- reading ---------------------------------------------------------------------------------


@each_mode
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("splits", [1, 7, 300])
def test_records_are_those_that_the_package_reads_itself(tmp_path: Path, io: str, splits: int, shuffle: bool) -> None:
    records = records_of(200)
    path = written(tmp_path / "old", records, splits=splits, shuffle=shuffle)
    theirs = old.SplitDataLoader(str(path))

    with SplitDataLoader(path, io=io) as loader:  # type: ignore[arg-type]  # one of the two
        assert len(loader) == len(theirs) == 200
        assert [loader[i] for i in range(200)] == [theirs[i] for i in range(200)] == records
        assert list(loader) == records
        assert loader[-1] == records[-1]
        assert loader[5:50:3] == records[5:50:3]
        assert loader[[7, 3, 7, -2]] == [records[7], records[3], records[7], records[-2]]
        assert loader.sizes[9] == len(records[9])
        assert np.asarray(loader.sizes).tolist() == list(map(len, records))
        assert [bytes(loader.view(i)) for i in range(200)] == records
        assert loader.views([7, 3, 7, -2]) == [records[7], records[3], records[7], records[-2]]
        assert [loader.read_range(i, 1, 4) for i in range(200)] == [record[1:4] for record in records]
        assert list(loader.iterate_binwise()) == list(theirs.iterate_binwise())
        loader.prefetch(range(200))
        loader.read_ahead(range(200))


@each_mode
@given(
    sizes=st.lists(st.integers(0, 40), max_size=60),
    splits=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    picks=st.lists(st.integers(0, 10_000), max_size=20),
)
@settings(max_examples=25)
def test_any_appends_give_all_records_in_their_order(
    tmp_path_factory: pytest.TempPathFactory, io: str, sizes: list[int], splits: list[int], picks: list[int]
) -> None:
    records = [b"%d:" % number + bytes(size) for number, size in enumerate(sizes)]
    path = tmp_path_factory.mktemp("old") / "data"
    for part, number in enumerate(splits):
        written(path, records[part :: len(splits)], splits=number, shuffle=bool(part))
    expected = [record for part in range(len(splits)) for record in records[part :: len(splits)]]

    with SplitDataLoader(path, io=io) as loader:  # type: ignore[arg-type]  # one of the two
        assert list(loader) == expected
        assert loader[:] == expected
        wanted = [pick % len(expected) for pick in picks] if expected else []
        assert loader[wanted] == [expected[pick] for pick in wanted]
        for shuffle in (False, True):
            pairs = list(loader.iterate_binwise(shuffle, seed=1, with_positions=True))
            assert sorted(position for position, _ in pairs) == list(range(len(expected)))
            assert all(record == expected[position] for position, record in pairs)
    assert verify(path).is_intact


@each_mode
def test_shuffled_walks_are_repeatable_and_differ_by_seed_and_epoch(directory: Path, io: str) -> None:
    loader = SplitDataLoader(directory, io=io)  # type: ignore[arg-type]  # one of the two

    def positions(seed: int, epoch: int) -> list[int]:
        walk = loader.iterate_binwise(True, seed=seed, epoch=epoch, with_positions=True, interleave=2)
        return [position for position, _ in walk]

    assert positions(1, 0) == positions(1, 0)
    assert len({tuple(positions(seed, epoch)) for seed in (1, 2) for epoch in (0, 1)}) == 4
    assert sorted(positions(1, 0)) == list(range(100))


def test_views_of_a_walk_are_the_records(directory: Path) -> None:
    with SplitDataLoader(directory) as loader:
        assert [bytes(view) for view in loader.iterate_binwise(as_views=True)] == list(loader.iterate_binwise())


def test_rows_of_one_size_are_gathered(tmp_path: Path) -> None:
    path = written(tmp_path / "old", [bytes([number]) * 4 for number in range(10)])

    assert SplitDataLoader(path).gather([9, 0]).tolist() == [[9] * 4, [0] * 4]


def test_several_directories_and_datasets_are_read_as_one(tmp_path: Path, directory: Path) -> None:
    with SplitWriter(tmp_path / "new", bins=3) as writer:
        writer.write_many(records_of(50, seed=1))
    other = written(tmp_path / "other", records_of(20, seed=2), splits=3)
    expected = records_of(100) + records_of(50, seed=1) + records_of(20, seed=2)

    loader = SplitDataLoader([directory, tmp_path / "new", other])

    assert list(loader) == expected
    assert loader[[160, 3, 120]] == [expected[160], expected[3], expected[120]]
    for shuffle in (False, True):
        pairs = list(loader.iterate_binwise(shuffle, seed=1, with_positions=True))
        assert sorted(position for position, _ in pairs) == list(range(170))
        assert all(record == expected[position] for position, record in pairs)


def test_empty_directory_has_no_records(tmp_path: Path) -> None:
    path = written(tmp_path / "old", [])

    loader = SplitDataLoader(path)
    assert (len(loader), list(loader), list(loader.iterate_binwise(True, seed=0))) == (0, [], [])
    assert verify(path).is_intact
    with pytest.raises(IndexError):
        loader[0]


def test_pickled_reader_shows_the_same_records_and_notices_a_replacement(tmp_path: Path, directory: Path) -> None:
    pickled = pickle.dumps(SplitDataLoader(directory))
    assert len(pickled) < 1000
    written(directory, [b"more"])

    assert list(pickle.loads(pickled)) == records_of(100)
    for file in directory.iterdir():
        file.unlink()
    written(directory, records_of(200, seed=3))
    with pytest.raises(ManifestError, match="other records"):
        pickle.loads(pickled)
    (directory / "index.dat").write_bytes(b"")
    with pytest.raises(ManifestError, match="100 records less"):
        pickle.loads(pickled)


def test_refresh_shows_what_the_package_has_appended(directory: Path) -> None:
    loader = SplitDataLoader(directory)
    assert not loader.refresh()
    written(directory, [b"more"])

    assert len(loader) == 100
    assert loader.refresh()
    assert loader[100] == b"more"
    assert (loader.generation, loader.metadata) == (0, {})


def test_fingerprint_follows_from_the_lengths_in_their_order_alone(tmp_path: Path) -> None:
    records = [b"a", b"bb", b"ccc"]
    one = SplitDataLoader(written(tmp_path / "one", records, splits=1)).fingerprint
    assert SplitDataLoader(written(tmp_path / "two", records, splits=2)).fingerprint == one
    assert SplitDataLoader(written(tmp_path / "three", records[::-1])).fingerprint != one
    assert one.startswith("3-")


def test_many_bins_are_read_with_few_descriptors(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="sets a limit that only POSIX has")
    path = written(tmp_path / "old", records_of(1000), splits=500)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    try:
        for io in MODES:
            loader = SplitDataLoader(path, io=io)  # type: ignore[arg-type]  # one of the two
            assert list(loader) == records_of(1000)
            assert len(list(loader.iterate_binwise(True, seed=0))) == 1000
            loader.close()
        assert verify(path).is_intact
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_generations_are_refused_and_sub_directories_not_looked_at(directory: Path) -> None:
    written(directory / "more", records_of(5, seed=9))

    assert len(list(SplitDataLoader(directory).iterate_binwise())) == 100
    with pytest.raises(ManifestError, match="no generations"):
        SplitDataLoader(directory, generation=3)


@pytest.mark.parametrize("mode", ["create", "append", "overwrite"])
def test_writing_into_it_is_refused_with_advice(directory: Path, mode: str) -> None:
    before = {path.name: path.read_bytes() for path in directory.iterdir()}

    with pytest.raises(DatasetExistsError, match=r"read but never written; `splitdata write .* DEST` converts it"):
        SplitWriter(directory, mode=mode)  # type: ignore[arg-type]  # one of the three
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before


# -- damage ----------------------------------------------------------------------------------


def entry(path: Path, number: int) -> tuple[int, int, int]:
    found: tuple[int, int, int] = struct.unpack_from("<III", (path / "index.dat").read_bytes(), 12 * number)
    return found


def bin_of(path: Path, number: int) -> Path:
    return path / f"bin{number:08d}.dat"


@each_mode
@pytest.mark.parametrize("tail", range(1, 12))
def test_index_cut_off_within_an_entry_keeps_all_before(tmp_path: Path, tail: int, io: str) -> None:
    path = written(tmp_path / "old", records_of(20))
    with (path / "index.dat").open("r+b") as file:
        file.truncate(12 * 15 + tail)

    loader = SplitDataLoader(path, io=io)  # type: ignore[arg-type]  # one of the two
    assert list(loader) == records_of(20)[:15]
    found = verify(path)
    assert f"its last {tail} bytes are no entry" in " ".join(problems(path))
    assert found.num_damaged_records == 0
    assert sum("holds 1 records that the index does not list" in problem for problem in problems(path)) == 5
    assert any(f"its last {tail} bytes" in problem for problem in describe(path).problems)


@each_mode
@pytest.mark.parametrize("cut", [1, 2, 5, 6, 30])
def test_short_bin_costs_the_records_beyond_its_end_and_never_gives_a_short_one(
    tmp_path: Path, cut: int, io: str
) -> None:
    records = [b"%06d" % number for number in range(30)]
    path = written(tmp_path / "old", records, splits=3)
    victim = bin_of(path, 1)
    os.truncate(victim, victim.stat().st_size - cut)
    lost = {28 - 3 * number for number in range(-(-cut // 10))}

    loader = SplitDataLoader(path, io=io)  # type: ignore[arg-type]  # one of the two
    for number in range(30):
        if number in lost:
            with pytest.raises(CorruptRecordError, match="the file ends at") as caught:
                loader[number]
            assert (caught.value.position, caught.value.bin_index) == (number, 1)
            with pytest.raises(CorruptRecordError):
                loader.view(number)
            with pytest.raises(CorruptRecordError):
                loader.read_range(number, 0, 1)
        else:
            assert loader[number] == records[number]
    report = verify(path)
    assert report.num_damaged_records == len(lost)
    assert min(finding.position for finding in report.findings if finding.position is not None) == min(lost)
    with pytest.raises(CorruptRecordError):
        list(loader)


@each_mode
def test_missing_bin_costs_its_records_alone(directory: Path, io: str) -> None:
    bin_of(directory, 3).unlink()

    loader = SplitDataLoader(directory, io=io)  # type: ignore[arg-type]  # one of the two
    with pytest.raises(MissingBinError, match=r"bin00000003\.dat does not exist"):
        loader[3]
    assert loader[4] == records_of(100)[4]
    assert verify(directory).num_damaged_records == len(range(3, 100, 7))


@each_mode
def test_length_that_differs_from_the_index_is_damage(directory: Path, io: str) -> None:
    number, position, length = entry(directory, 10)
    with bin_of(directory, number).open("r+b") as file:
        file.seek(position)
        file.write(struct.pack("<I", length + 1))

    with pytest.raises(CorruptRecordError, match=rf"has {length} bytes, its bin says {length + 1}"):
        SplitDataLoader(directory, io=io)[10]  # type: ignore[arg-type]  # one of the two
    report = verify(directory)
    assert report.num_damaged_records == 1
    assert [finding.position for finding in report.findings if finding.num_records] == [10]


@each_mode
def test_entry_that_announces_gigabytes_reads_nothing(directory: Path, io: str) -> None:
    content = bytearray((directory / "index.dat").read_bytes())
    struct.pack_into("<III", content, 12 * 10, 3, 0xFFFFFFF0, 0xFFFFFFFF)
    (directory / "index.dat").write_bytes(content)

    with pytest.raises(CorruptRecordError, match="the file ends at"):
        SplitDataLoader(directory, io=io)[10]  # type: ignore[arg-type]  # one of the two
    assert verify(directory).num_damaged_records == 1


def test_position_that_wrapped_at_4_gib_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "old"
    path.mkdir()
    # Sparse: the second record begins beyond what the index can say.
    first = (1 << 32) - 2
    with bin_of(path, 0).open("wb") as file:
        file.write(struct.pack("<I", first))
        file.seek(4 + first)
        file.write(struct.pack("<I", 3) + b"abc")
    wrapped = (4 + first) % (1 << 32)
    (path / "index.dat").write_bytes(struct.pack("<III", 0, 0, first) + struct.pack("<III", 0, wrapped, 3))

    with pytest.raises(CorruptRecordError):
        SplitDataLoader(path)[1]
    report = verify(path)
    assert report.num_damaged_records == 1
    assert "they have wrapped" in " ".join(problems(path))
    assert SplitDataLoader(path).read_range(0, 0, 4) == bytes(4)
    source = open_source(path, from_bins=True)
    records = iter(source)
    large = next(records)
    assert not isinstance(large, bytes)
    assert getattr(large, "size", None) == first


def test_index_that_shrinks_under_an_open_reader_is_an_error(directory: Path) -> None:
    loader = SplitDataLoader(directory, io="pread")
    os.truncate(directory / "index.dat", 12)

    with pytest.raises(TruncatedFileError, match="1 of 100 records"):
        loader[5]


def test_writer_killed_in_the_middle_leaves_orphans_that_are_counted_and_converted(tmp_path: Path) -> None:
    path = tmp_path / "old"
    records = [b"record %d " % number * 20 for number in range(3000)]
    code = (
        "import os, sys\nfrom splitdataloader import write_split_data\n"
        "def records():\n    for number in range(3000):\n        yield b'record %d ' % number * 20\n"
        "    os._exit(9)\n"
        "write_split_data(sys.argv[1], records(), splits=16)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, check=False)
    assert ended.returncode == 9
    known = len(SplitDataLoader(path))
    # Its index was written in blocks of a few KiB, so that some of it is missing.
    assert 0 < known < 3000

    counted = Counter(problem.split(";")[0] for problem in problems(path))
    assert sum(int(text.split()[1]) * times for text, times in counted.items() if text.startswith("holds ")) == (
        3000 - known
    )
    assert convert(path, tmp_path / "listed").skipped == {"unlisted record": 3000 - known}
    assert list(SplitDataLoader(tmp_path / "listed")) == records[:known]
    convert(open_source(path, from_bins=True), tmp_path / "all")
    # One run, not shuffled: even the order is the one in which they were written.
    assert list(SplitDataLoader(tmp_path / "all")) == records


def test_lost_index_is_no_loss_of_records(directory: Path, tmp_path: Path) -> None:
    (directory / "index.dat").unlink()

    with pytest.raises(SourceError, match=r"without their index\.dat"):
        open_source(directory)
    with pytest.raises(FileNotFoundError):
        open_source(directory, kind="splitdataloader")
    convert(open_source(directory, kind="splitdataloader", from_bins=True), tmp_path / "new")
    assert list(SplitDataLoader(tmp_path / "new")) == records_of(100)


def test_index_out_of_step_is_told_and_its_records_saved_from_the_bins(tmp_path: Path) -> None:
    path = written(tmp_path / "old", records_of(30))
    # What its writer leaves at 4 GiB: a third of an entry. Then somebody appends.
    with (path / "index.dat").open("ab") as file:
        file.write(struct.pack("<I", 2))
    written(path, [b"%d" % number * 9 for number in range(20)])

    assert SplitDataLoader(path)[:30] == records_of(30)
    assert not verify(path).is_intact
    source = open_source(path, from_bins=True)
    found = [record for record in source if isinstance(record, bytes)]
    assert found[:30] == records_of(30)
    assert sorted(found[30:]) == sorted(b"%d" % number * 9 for number in range(20))


def test_damaged_records_are_left_out_from_bins_and_an_error_otherwise(directory: Path, tmp_path: Path) -> None:
    number, position, length = entry(directory, 99)
    os.truncate(bin_of(directory, number), position + 4 + length // 2 if length else position + 2)

    with pytest.raises(SourceError, match=r"record 99 .*from_bins"):
        convert(directory, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    report = convert(open_source(directory, from_bins=True), tmp_path / "new")
    assert report.skipped == {"damaged record": 1}
    assert list(SplitDataLoader(tmp_path / "new")) == records_of(100)[:99]


def test_zero_bytes_behind_the_records_are_no_records(directory: Path) -> None:
    with bin_of(directory, 0).open("ab") as file:
        file.write(bytes(4096))

    assert problems(directory) == [
        f"bytes {bin_of(directory, 0).stat().st_size - 4096} to {bin_of(directory, 0).stat().st_size} "
        "are a record that is cut off, and not in the index"
    ]


@settings(max_examples=30)
@given(data=st.data())
def test_any_cut_or_flip_gives_an_error_or_a_record_of_the_right_length(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    records = records_of(40)
    path = written(tmp_path_factory.mktemp("old") / "data", records, splits=3)
    victim = path / data.draw(st.sampled_from(["index.dat", "bin00000000.dat", "bin00000002.dat"]))
    content = bytearray(victim.read_bytes())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    else:
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] ^= data.draw(st.integers(1, 255))
    victim.write_bytes(content)

    for io in MODES:
        try:
            loader = SplitDataLoader(path, io=io)  # type: ignore[arg-type]  # one of the two
        except splitdata.DatasetNotFoundError:
            continue
        for number in range(len(loader)):
            try:
                assert len(loader[number]) == loader.sizes[number]
            except splitdata.FormatError:
                continue
    saved = [
        record for record in open_source(path, kind="splitdataloader", from_bins=True) if isinstance(record, bytes)
    ]
    assert verify(path).num_records == len(SplitDataLoader(path))
    # A length that is hit hides what is behind it in its bin, never more.
    assert len(set(saved) & set(records)) >= len(set(records)) // 2


# -- describing and converting ---------------------------------------------------------------


def test_description_has_the_figures_and_names_the_layout(directory: Path) -> None:
    described = describe(directory)

    assert described.layout == "splitdataloader 0.0.1"
    assert (described.num_records, described.num_bins, described.num_segments) == (100, 7, 0)
    assert described.raw_bytes == sum(map(len, records_of(100)))
    assert described.max_record_bytes == 300
    assert described.disk_bytes == sum(path.stat().st_size for path in directory.iterdir())
    assert described.fingerprint == SplitDataLoader(directory).fingerprint
    assert described.problems == ()


def test_conversion_keeps_records_and_order_large_ones_too(tmp_path: Path) -> None:
    records = [*records_of(50), os.urandom(3 << 20), b"", os.urandom(1 << 20), *records_of(5000, seed=4)]
    path = written(tmp_path / "old", records, splits=256, shuffle=True)

    report = convert(path, tmp_path / "new", bins=4)

    assert list(SplitDataLoader(tmp_path / "new")) == records
    assert (report.kind, report.num_records, report.skipped) == ("splitdataloader", len(records), {})
    assert report.num_bytes == sum(map(len, records))
    assert SplitDataLoader(tmp_path / "new").metadata == {"source": {"kind": "splitdataloader", "name": "old"}}


def test_from_bins_is_for_such_directories_only(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    with pytest.raises(ValueError, match="from_bins=True is for directories of splitdataloader"):
        open_source(tmp_path / "a.txt", from_bins=True)
    with pytest.raises(SourceError, match="holds no bin of splitdataloader"):
        open_source(tmp_path, kind="splitdataloader", from_bins=True)


def test_conversion_is_resumed_and_a_changed_directory_refused(directory: Path, tmp_path: Path) -> None:
    assert convert(directory, tmp_path / "new", resume=True).num_records == 100
    assert convert(directory, tmp_path / "new", resume=True).was_finished
    written(directory, [b"more"])

    with pytest.raises(splitdata.StateMismatchError):
        convert(directory, tmp_path / "new", resume=True)
    assert list(SplitDataLoader(tmp_path / "new")) == records_of(100)


# -- other things in the place of files ------------------------------------------------------


def make_socket(path: Path) -> None:
    # By a name of its own: that of a socket is short.
    with socket.socket(socket.AF_UNIX) as opened, contextlib.chdir(path.parent):
        opened.bind(path.name)


def link_to_empty(path: Path) -> None:
    (path.parent.parent / "empty").touch()
    path.symlink_to(path.parent.parent / "empty")


OTHER_THINGS: dict[str, Callable[[Path], None]] = {
    "pipe": os.mkfifo,
    "socket": make_socket,
    "folder": Path.mkdir,
    "link to an empty file": link_to_empty,
    "link to a device": lambda path: path.symlink_to(os.devnull),
    "link that leads nowhere": lambda path: path.symlink_to("nowhere"),
}
LEGACY_READERS: dict[str, Callable[[Path], object]] = {
    "open": SplitDataLoader,
    "verify": verify,
    "describe": describe,
    "convert": lambda path: convert(path, path.parent / "converted"),
    "source": lambda path: list(open_source(path, kind="splitdataloader")),
}


@pytest.mark.skipif(os.name == "nt", reason="no such things in folders there")
@pytest.mark.parametrize("thing", OTHER_THINGS)
def test_index_that_is_no_regular_file_makes_no_empty_dataset(directory: Path, thing: str) -> None:
    (directory / "index.dat").unlink()
    OTHER_THINGS[thing](directory / "index.dat")

    for reader in LEGACY_READERS.values():
        with pytest.raises(FormatError, match=r"index\.dat is no regular file"):
            reader(directory)


@pytest.mark.skipif(os.name == "nt", reason="no such things in folders there")
@pytest.mark.parametrize("thing", OTHER_THINGS)
def test_only_bin_that_is_no_regular_file_makes_no_folder_of_files(tmp_path: Path, thing: str) -> None:
    path = written(tmp_path / "old", records_of(5), splits=1)
    (path / "bin00000000.dat").unlink()
    OTHER_THINGS[thing](path / "bin00000000.dat")

    with pytest.raises((FormatError, SourceError), match=r"bin00000000\.dat is no regular file"):
        convert(path, tmp_path / "converted")
