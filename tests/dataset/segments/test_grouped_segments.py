"""Datasets whose small records lie in groups: every way of reading, every tool, and what one damage costs."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from splitdata import (
    CorruptRecordError,
    DistributedLoader,
    FormatError,
    RecordDeletedError,
    RecordTooLargeError,
    SplitDataLoader,
    SplitWriter,
    Window,
    compact,
    delete,
    describe,
    repair,
    verify,
)
from splitdata.dataset.manifests.directory import DatasetDirectory
from splitdata.dataset.segments.group_buffer import group_for
from splitdata.format.manifest import SegmentInfo
from tests.dataset.record_kinds import kill

GROUP = 16
COUNT = 500


@dataclass(frozen=True)
class Kind:
    """What is written, and how; all of it in groups of 16."""

    name: str
    has_keys: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    same_size: int = 0

    @property
    def records(self) -> list[bytes]:
        source = random.Random(self.name)
        if self.same_size:
            return [source.randbytes(self.same_size) for _ in range(COUNT)]
        return [b"%03d" % n + b"ab" * source.randrange(40) if n % 7 else b"" for n in range(COUNT)]

    def key(self, number: int) -> str | None:
        return f"key {number}" if self.has_keys and number % 3 else None

    def writer(self, path: Path, **options: Any) -> SplitWriter:
        given: dict[str, Any] = {"bins": 3, "durability": "none", "group": GROUP, "metadata": {"a": 1}}
        return SplitWriter(path, **(given | self.options | options))

    def write(self, writer: SplitWriter, start: int = 0, stop: int = COUNT) -> None:
        records = self.records
        for number in range(start, stop):
            writer.write(records[number], self.key(number))

    def sealed(self, path: Path) -> Path:
        with self.writer(path) as writer:
            self.write(writer)
        return path

    def unreadable(self, path: Path) -> list[int]:
        """Return the records that cannot be read; all others, and their keys, must be right."""
        records, lost = self.records, []
        with SplitDataLoader(path) as loader:
            assert len(loader) == COUNT
            for number in range(COUNT):
                try:
                    assert loader[number] == records[number]
                    assert loader.key(number) == self.key(number)
                except FormatError:
                    lost.append(number)
        return lost


KINDS = (
    Kind("plain"),
    Kind("equal", same_size=24),
    Kind("zstd", options={"compression": "zstd"}),
    Kind("keyed", has_keys=True),
    Kind("keyed_zstd_64", has_keys=True, options={"compression": "zstd", "alignment": 64}),
)
BY_NAME = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def infos(path: Path) -> list[SegmentInfo]:
    return list(DatasetDirectory(path).newest().segments)


def shapes(path: Path) -> list[tuple[int, int, bool]]:
    return [(info.num_records, info.group, info.is_sealed) for info in infos(path)]


def files_of(path: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in sorted((path / "segments").rglob("*")) if file.is_file()}


def restore(files: dict[Path, bytes]) -> None:
    for file, data in files.items():
        file.write_bytes(data)


# -- reading -----------------------------------------------------------------------------------------


@BY_NAME
@pytest.mark.parametrize("io", ["mmap", "pread"])
def test_every_way_of_reading_gives_what_was_written(tmp_path: Path, kind: Kind, io: Literal["mmap", "pread"]) -> None:
    loader = SplitDataLoader(kind.sealed(tmp_path / "data"), io=io)
    records = kind.records
    some = random.Random(1).sample(range(COUNT), 200)

    assert shapes(tmp_path / "data") == [(COUNT, GROUP, True)]
    assert list(loader) == loader[:] == records
    assert [loader[n] for n in some] == loader[some] == [records[n] for n in some]
    assert [bytes(view) for view in loader.views(some)] == [bytes(loader.view(n)) for n in some] == loader[some]
    assert loader[13:400:5] == records[13:400:5]
    assert list(map(bytes, loader.iterate_binwise(as_views=True))) == list(loader.iterate_binwise())
    assert sorted(loader.iterate_binwise()) == sorted(loader.iterate_binwise(shuffle=True)) == sorted(records)
    assert loader.sizes[:].tolist() == list(map(len, records))
    assert loader.sizes[some].tolist() == [len(records[n]) for n in some]
    assert [loader.read_range(n, 1, 5) for n in some] == [records[n][1:5] for n in some]
    assert loader.keys_of(some) == [kind.key(n) for n in some] == [loader.key(n) for n in some]
    loader.prefetch(some)
    loader.read_ahead(some)
    if kind.has_keys:
        assert all(loader.find(str(kind.key(n))) == n for n in range(COUNT) if kind.key(n))
        assert not loader.has_key("key 0")
    if kind.same_size:
        assert loader.gather(some).tobytes() == b"".join(loader[some])
        assert loader.gather(range(40, 300)).tobytes() == b"".join(records[40:300])


@pytest.mark.parametrize(("group", "count"), [(2, 33), (65536, 70_000)])
def test_smallest_and_largest_groups_are_read_in_every_way(tmp_path: Path, group: int, count: int) -> None:
    records = [b"%d" % number for number in range(count)]
    with SplitWriter(tmp_path / "data", group=group, bins=2, compression="zstd", durability="none") as writer:
        writer.write_many(records)
    some = [0, 1, count // 2, count - 2, count - 1]
    with SplitDataLoader(tmp_path / "data") as loader:
        assert loader[:] == records
        assert loader[some] == [loader[number] for number in some] == [records[number] for number in some]
        assert loader.sizes[:].tolist() == list(map(len, records))
        assert loader.sizes[::7].tolist() == list(map(len, records[::7]))
        assert loader.sizes[some].tolist() == [loader.sizes[number] for number in some]
        assert sorted(loader.iterate_binwise(shuffle=True)) == sorted(records)


def test_threads_share_what_is_kept_of_groups(tmp_path: Path) -> None:
    kind = KINDS[2]
    with SplitDataLoader(kind.sealed(tmp_path / "data")) as loader, ThreadPoolExecutor(4) as pool:
        orders = [random.Random(number).choices(range(COUNT), k=2000) for number in range(4)]
        found = list(pool.map(lambda order: [loader[number] for number in order], orders))
    records = kind.records
    assert found == [[records[number] for number in order] for order in orders]


@pytest.mark.parametrize("io", ["mmap", "pread"])
@BY_NAME
def test_limit_of_a_record_is_one_of_records_not_of_groups(
    tmp_path: Path, kind: Kind, io: Literal["mmap", "pread"]
) -> None:
    path, records = kind.sealed(tmp_path / "data"), kind.records
    longest = max(range(COUNT), key=lambda number: len(records[number]))
    limit = len(records[longest])
    some = [longest, *range(0, COUNT, 9)]
    with SplitDataLoader(path, io=io, max_record_bytes=limit) as loader:
        assert loader[:] == list(loader) == records
        assert loader[some] == [records[number] for number in some]
    with SplitDataLoader(path, io=io, max_record_bytes=limit - 1) as loader:
        for read in (
            lambda: loader[longest],
            lambda: loader[longest],
            lambda: loader[some],
            lambda: loader[longest : longest + 1],
            lambda: loader.view(longest),
            lambda: loader.gather([longest]),
            lambda: loader.gather(range(longest, min(longest + 12, COUNT))),
            lambda: list(loader),
        ):
            with pytest.raises(RecordTooLargeError, match=rf"record \d+ .* {limit} bytes, the limit is {limit - 1}"):
                read()


def test_damaged_group_is_named_by_its_records(tmp_path: Path) -> None:
    path = Kind("plain").sealed(tmp_path / "data")
    bins = sorted(path.rglob("*.bin"))
    data = bytearray(bins[1].read_bytes())
    data[120] ^= 1
    bins[1].write_bytes(data)
    with SplitDataLoader(path) as loader:
        for read in (lambda: loader[20], lambda: loader[[20, 3]], lambda: loader[20:24], lambda: loader.key(20)):
            with pytest.raises(
                CorruptRecordError, match=r"the group of records 16 to 31 .*these and no others"
            ) as caught:
                read()
            assert caught.value.position == 16


def test_groups_that_expand_beyond_all_that_is_there_are_refused_together(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "data", bins=1, group=2, compression="zstd", durability="none") as writer:
        writer.write_many([bytes(1 << 20)] * 100)
    with SplitDataLoader(tmp_path / "data", max_record_bytes=1 << 20) as loader:
        for read in (lambda: loader[:], lambda: loader[list(range(100))], lambda: loader.gather(range(100))):
            with pytest.raises(RecordTooLargeError, match=r"50 groups of records .* together"):
                read()
        assert sum(map(len, loader)) == 100 << 20
    with SplitDataLoader(tmp_path / "data") as loader:
        assert sum(map(len, loader[:])) == 100 << 20


@pytest.mark.parametrize("shuffle", [False, "global", "bins", Window(32)])
def test_loader_gives_each_record_once_and_resumes(tmp_path: Path, shuffle: Any) -> None:
    path = KINDS[1].sealed(tmp_path / "data")

    def loader() -> DistributedLoader:
        return DistributedLoader(path, batch_size=8, shuffle=shuffle, seed=3, tail="keep", collate_fn=list)

    with loader() as made:
        batches = [[bytes(one) for one in batch] for batch in made]
    assert sorted(one for batch in batches for one in batch) == sorted(KINDS[1].records)
    with loader() as first:
        walk = iter(first)
        begun = [[bytes(one) for one in next(walk)] for _ in range(20)]
        state = first.state_dict()
    with loader() as second:
        second.load_state_dict(state)
        assert begun + [[bytes(one) for one in batch] for batch in second] == batches


# -- damage ------------------------------------------------------------------------------------------


@BY_NAME
def test_one_damage_costs_at_most_a_group_and_repair_mends_all_that_can_be(tmp_path: Path, kind: Kind) -> None:
    path = kind.sealed(tmp_path / "data")
    source = random.Random(f"damage {kind.name}")
    whole = files_of(path)
    assert not repair(path).actions

    for file, data in whole.items():
        # What stands before the records of bin 0 costs none of them, and is not all made again.
        first_record = 200 if file.name == "000000.bin" else 0
        places = [source.randrange(first_record, len(data)) for _ in range(8)]
        for place in (*places, 40, 140, len(data) - 1):
            damaged = bytearray(data)
            damaged[place] ^= 1 << source.randrange(8)
            file.write_bytes(damaged)
            report = verify(path)
            assert not report.is_intact, (file.name, place)
            lost = kind.unreadable(path)
            assert len(lost) in (0, GROUP, COUNT % GROUP)
            assert len(lost) == report.num_damaged_records

            repair(path)
            left = kind.unreadable(path)
            assert set(left) <= set(lost)
            assert not repair(path).actions
            if not left and not 64 <= place < first_record:
                assert files_of(path) == whole, (file.name, place)
            restore(whole)


@BY_NAME
@pytest.mark.parametrize("lost", ["index", "keys", "manifests"])
def test_file_that_is_lost_is_made_again_byte_by_byte(tmp_path: Path, kind: Kind, lost: str) -> None:
    path = kind.sealed(tmp_path / "data")
    whole = files_of(path)
    for file in path.rglob("manifest.*" if lost == "manifests" else lost):
        file.unlink()

    repair(path, adopt=lost == "manifests")
    assert kind.unreadable(path) == []
    assert verify(path).is_intact
    assert files_of(path).keys() == whole.keys()
    assert shapes(path)[0][:2] == (COUNT, GROUP)


def test_group_that_claims_more_than_its_payload_is_damaged_for_every_way(tmp_path: Path) -> None:
    path = Kind("plain").sealed(tmp_path / "data")
    (index,) = path.rglob("index")
    data = bytearray(index.read_bytes())
    # The lengths in the entry of group 1: nobody needs them to read.
    start = 128 + 1 * (16 + 4 * GROUP) + 16
    data[start : start + 4] = (1 << 30).to_bytes(4, "little")
    index.write_bytes(data)

    assert Kind("plain").unreadable(path) == []
    report = verify(path)
    assert not report.is_intact
    assert report.num_damaged_records == 0
    repair(path)
    assert verify(path).is_intact


# -- writing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("group", "error"), [(3, ValueError), (0, ValueError), (1 << 17, ValueError), (8.0, TypeError)]
)
def test_number_that_no_group_can_have_is_refused(tmp_path: Path, group: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="group must be"):
        SplitWriter(tmp_path / "data", group=group)


@pytest.mark.parametrize(
    ("count", "size", "group"),
    [(5000, 100, 16), (4095, 100, 1), (5000, 512, 1), (5000, 0, 1024), (5000, 400, 8)],
)
def test_groups_are_chosen_for_many_small_records(tmp_path: Path, count: int, size: int, group: int) -> None:
    with SplitWriter(tmp_path / "data", durability="none") as writer:
        writer.write_many([bytes(size)] * count)
    assert shapes(tmp_path / "data") == [(count, group, True)]


def test_choice_does_not_depend_on_how_many_records_come_together() -> None:
    small, long = [bytes(100)] * 4096, [bytes(1000)] * 4096
    assert group_for(small + long, is_compressed=False) == group_for(small, is_compressed=False) == 16
    assert group_for(long + small, is_compressed=False) == 1


def test_payloads_that_were_asked_to_be_aligned_are_not_grouped_unasked(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "data", alignment=64, durability="none") as writer:
        writer.write_many([bytes(100)] * 5000)
    assert shapes(tmp_path / "data") == [(5000, 1, True)]


def test_small_commits_behind_chosen_groups_go_into_one_segment(tmp_path: Path) -> None:
    writer = SplitWriter(tmp_path / "data", durability="none")
    writer.write_many([bytes(100)] * 5000)
    for number in range(20):
        writer.commit()
        writer.write_many([b"%d" % number] * 10)
    kill(writer)
    assert shapes(tmp_path / "data") == [(5000, 16, True), (190, 1, False)]


def test_session_of_many_commits_ends_its_groups_before_the_manifest_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("splitdata.dataset.writing.write_session._MOST_SEALED", 3)
    writer = SplitWriter(tmp_path / "data", group=4, durability="none")
    for number in range(9):
        writer.write_many([b"%d" % number] * 10)
        writer.commit()
    kill(writer)
    assert shapes(tmp_path / "data") == [(10, 4, True)] * 3 + [(60, 1, False)]
    assert verify(tmp_path / "data").is_intact


def test_description_says_how_many_records_lie_together(tmp_path: Path) -> None:
    path = KINDS[0].sealed(tmp_path / "data")
    with SplitWriter(path, mode="append", group=1, durability="none") as writer:
        writer.write(b"alone")
    assert [segment.group for segment in describe(path).segments] == [GROUP, 1]


def test_commit_in_the_middle_of_a_group_ends_the_segment_and_positions_go_on(tmp_path: Path) -> None:
    kind = Kind("keyed", has_keys=True)
    with kind.writer(tmp_path / "data") as writer:
        kind.write(writer, 0, 64)
        assert writer.commit() == range(64)
        kind.write(writer, 64, 100)
        assert writer.commit() == range(64, 100)
        assert writer.num_written == 100
        kind.write(writer, 100, COUNT)
    assert shapes(tmp_path / "data") == [(100, GROUP, True), (COUNT - 100, GROUP, True)]
    assert kind.unreadable(tmp_path / "data") == []
    assert verify(tmp_path / "data").is_intact


@pytest.mark.parametrize("is_committed", [False, True])
@pytest.mark.parametrize("size", [1 << 20, 17 << 20])
def test_record_too_long_for_a_group_ends_grouping_and_nothing_else(
    tmp_path: Path, is_committed: bool, size: int
) -> None:
    records = [b"%05d" % n * 10 for n in range(5000)] + [bytes(size)] + [b"behind"] * 20
    with SplitWriter(tmp_path / "data", bins=2, durability="none") as writer:
        for number, record in enumerate(records):
            if number == 5000 and is_committed:
                writer.commit()
            writer.write(record)
    assert SplitDataLoader(tmp_path / "data")[:] == records
    assert verify(tmp_path / "data").is_intact
    assert shapes(tmp_path / "data")[-1][1:] == (1, True)
    assert not repair(tmp_path / "data").actions


@BY_NAME
def test_killed_session_is_resumed_or_adopted(tmp_path: Path, kind: Kind) -> None:
    path = tmp_path / "data"
    writer = kind.writer(path)
    kind.write(writer, 0, 320)
    writer.commit()
    kind.write(writer, 320, 450)
    kill(writer)
    assert shapes(path) == [(320, GROUP, False)]

    if kind.has_keys:
        report = repair(path, adopt=True)
        assert report.num_adopted == 128
        assert verify(path).is_intact
    with kind.writer(path, mode="resume") as writer:
        kind.write(writer, writer.num_written)
    assert kind.unreadable(path) == []
    assert shapes(path) == [(COUNT, GROUP, True)]
    assert verify(path).is_intact


@pytest.mark.parametrize("step", [50, 64])
def test_rivals_keep_the_positions_they_were_told(tmp_path: Path, step: int) -> None:
    path = tmp_path / "data"
    told: list[tuple[range, list[bytes]]] = []
    first = SplitWriter(path, group=16, mode="append", durability="none")
    second = SplitWriter(path, group=8, mode="append", compression="zstd", durability="none")
    for number in range(5):
        for writer in (first, second):
            records = [b"%d of %d" % (n, number) * (n % 9) for n in range(step)]
            writer.write_many(records)
            told.append((writer.commit(), records))
    first.close()
    second.close()
    with SplitDataLoader(path) as loader:
        assert len(loader) == 10 * step
        assert all(loader[places.start : places.stop] == records for places, records in told)
    assert verify(path).is_intact


@pytest.mark.parametrize("groups", [(16,), (16, 8), (16, 1)], ids=str)
def test_small_segments_are_folded_whatever_their_groups(tmp_path: Path, groups: tuple[int, ...]) -> None:
    path, records = tmp_path / "data", []
    for number in range(40):
        some = [b"%d of %d" % (n, number) * (n % 9) for n in range(37)]
        records += some
        group = groups[number % len(groups)]
        compression: Any = "zstd" if number % 2 else None
        with SplitWriter(path, group=group, mode="append", compression=compression, durability="none") as writer:
            writer.write_many(some)
    assert len(infos(path)) < 40
    assert SplitDataLoader(path)[:] == records
    assert verify(path).is_intact


def test_reproducible_files_are_equal_however_records_are_given(tmp_path: Path) -> None:
    records = [b"%05d" % n * (n % 20) for n in range(6000)]
    for name in ("one", "many"):
        with SplitWriter(tmp_path / name, reproducible=True, durability="none") as writer:
            if name == "many":
                writer.write_many(records)
            for record in records if name == "one" else ():
                writer.write(record)
    one, many = ([data for _, data in files_of(tmp_path / name).items()] for name in ("one", "many"))
    assert one == many


# -- deleting ----------------------------------------------------------------------------------------


@BY_NAME
def test_deleted_records_of_groups_are_refused_and_erased(tmp_path: Path, kind: Kind) -> None:
    path = kind.sealed(tmp_path / "data")
    records, gone = kind.records, [1, 5, 15, 16, 17, 300, COUNT - 1]
    before = SplitDataLoader(path).fingerprint
    delete(path, positions=gone)

    def check() -> None:
        with SplitDataLoader(path) as loader:
            assert loader.fingerprint == before
            assert loader.deleted.tolist() == gone
            for number in range(COUNT):
                if number in gone:
                    with pytest.raises(RecordDeletedError):
                        loader[number]
                else:
                    assert loader[number] == records[number]
            if kind.has_keys:
                assert not loader.has_key("key 5")
                assert loader.find("key 4") == 4
        assert verify(path).is_intact
        assert not repair(path).actions

    check()
    assert compact(path, erase=True).is_erased
    check()
    if not kind.options:
        stored = b"".join(files_of(path).values())
        assert not any(records[number] in stored for number in gone if len(records[number]) > 12)
    for index in path.rglob("index"):
        index.unlink()
    repair(path)
    check()
