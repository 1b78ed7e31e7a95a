"""`delete`: what it marks, what every way of reading says of it then, and whom it leaves alone."""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitdata import (
    FormatError,
    RecordDeletedError,
    SampleDataset,
    SplitDataLoader,
    SplitWriter,
    UnsupportedVersionError,
    compact,
    delete,
    describe,
    verify,
)
from splitdata.dataset.manifests.directory import DatasetDirectory
from splitdata.format import spec, version
from splitdata.format.deleted import deleted_bytes
from splitdata.format.manifest import Manifest
from tests.dataset.deletion.kinds import SMALL_KINDS
from tests.dataset.record_kinds import RecordKind

OLD = Path(__file__).resolve().parents[2] / "golden" / "v0.1" / "rich"
RECORDS = [b"record number %d" % number for number in range(200)]
GONE = (0, 3, 4, 120, 199)


def written(path: Path, *, bins: int = 4) -> Path:
    with SplitWriter(path, bins=bins, durability="none") as writer:
        writer.write_many(RECORDS, keys=[f"key {number}" for number in range(len(RECORDS))])
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return written(tmp_path / "data")


def live(records: list[bytes], gone: tuple[int, ...] = GONE) -> list[tuple[int, bytes]]:
    return [(number, record) for number, record in enumerate(records) if number not in gone]


def test_positions_and_digest_stay_and_the_report_says_what_was_done(data: Path) -> None:
    before = SplitDataLoader(data)
    report = delete(data, positions=[3, 0, 3, -1, 199], keys=["key 4", "key 120", "none"])

    assert (report.positions, report.num_deleted, report.missing_keys) == (GONE, 5, ("none",))
    with SplitDataLoader(data) as loader:
        assert (len(loader), loader.fingerprint) == (len(before), before.fingerprint)
        assert loader.deleted.tolist() == list(GONE)
        assert loader.num_deleted == describe(data).num_deleted == 5
        assert loader.generation == report.generation == before.generation + 1
    assert verify(data).is_intact

    again = delete(data, positions=[0, 5], keys=["key 4"])
    assert (again.positions, again.num_deleted_before) == ((5,), 2)


@pytest.mark.parametrize("io", ["mmap", "pread"])
@pytest.mark.parametrize("kind", SMALL_KINDS, ids=lambda kind: kind.name)
def test_every_way_of_reading_refuses_a_deleted_record_and_gives_all_others(
    tmp_path: Path, kind: RecordKind, io: Any
) -> None:
    path = tmp_path / "data"
    kind.write_sealed(path)
    records, gone = list(kind.records), (1, 3)
    delete(path, positions=gone)
    ways: dict[str, Callable[[SplitDataLoader, int], object]] = {
        "[i]": lambda loader, i: loader[i],
        "[numpy]": lambda loader, i: loader[np.int64(i)],
        "[-i]": lambda loader, i: loader[i - len(loader)],
        "[[i]]": lambda loader, i: loader[[2, i] * 40],
        "[mask]": lambda loader, i: loader[np.arange(len(loader)) == i],
        "[a:b]": lambda loader, i: loader[i : i + 1],
        "__getitems__": lambda loader, i: loader.__getitems__([i]),
        "view": lambda loader, i: loader.view(i),
        "views": lambda loader, i: loader.views([i, 2]),
        "gather": lambda loader, i: loader.gather([i] * 20),
        "read_range": lambda loader, i: loader.read_range(i, 0, 1),
        "key": lambda loader, i: loader.key(i),
        "keys_of": lambda loader, i: loader.keys_of([2, i]),
    }
    for loader in (SplitDataLoader(path, io=io), pickle.loads(pickle.dumps(SplitDataLoader(path, io=io)))):
        for _ in range(2):
            for name, way in ways.items():
                for number in gone:
                    with pytest.raises(RecordDeletedError, match=f"record {number} of .* was deleted") as told:
                        way(loader, number)
                    assert told.value.position == number, name
                way(loader, 2)
        assert loader[2] == records[2]
        sizes = [0 if number in gone else len(record) for number, record in enumerate(records)]
        assert list(loader.sizes) == np.asarray(loader.sizes).tolist() == sizes
        assert [loader.sizes[number] for number in range(len(records))] == sizes
        assert loader.sizes[[1, 2]].tolist() == sizes[1:3]
        loader.prefetch(range(len(records)))
        if kind.has_keys:
            assert not loader.has_key(str(kind.key(3)))
            assert loader.find(str(kind.key(2))) == 2


def test_walks_raise_in_the_place_of_a_deleted_record_or_leave_it_out(data: Path) -> None:
    delete(data, positions=GONE)
    loader = SplitDataLoader(data)

    walks = {
        "iter": (iter(loader), list(loader.iterate(skip_deleted=True))),
        "binwise": (loader.iterate_binwise(), list(loader.iterate_binwise(skip_deleted=True))),
        "views": (
            map(bytes, loader.iterate_binwise(as_views=True)),
            list(map(bytes, loader.iterate_binwise(as_views=True, skip_deleted=True))),
        ),
        "shuffled": (
            loader.iterate_binwise(True, 5),
            list(loader.iterate_binwise(True, 5, skip_deleted=True)),
        ),
    }
    for name, (walk, left) in walks.items():
        found: list[bytes] = []
        refused = 0
        while True:
            try:
                found.append(next(walk))
            except RecordDeletedError:
                refused += 1
            except StopIteration:
                break
        # The order of the others is the same either way.
        assert (found, refused) == (left, len(GONE)), name
        assert sorted(found) == sorted(record for _, record in live(RECORDS)), name
    assert list(loader.iterate(skip_deleted=True, with_positions=True)) == live(RECORDS)
    assert [one for one, _ in loader.iterate_binwise(with_positions=True, skip_deleted=True)] == [
        number for first in range(4) for number in range(first, 200, 4) if number not in GONE
    ]


def test_walks_without_a_record_left_are_empty(data: Path) -> None:
    delete(data, positions=slice(None))
    loader = SplitDataLoader(data)

    assert list(loader.iterate(skip_deleted=True)) == []
    assert list(loader.iterate_binwise(True, 1, skip_deleted=True)) == []
    assert loader.num_deleted == len(loader) == 200


def test_all_records_of_a_key_are_deleted_and_none_is_found_again(tmp_path: Path) -> None:
    path = tmp_path / "data"
    for number in range(3):
        with SplitWriter(path, mode="append", durability="none") as writer:
            writer.write(b"version %d" % number, key="patient 7")
            writer.write(b"other %d" % number, key=f"patient {number + 10}")

    assert delete(path, keys=["patient 7"]).positions == (0, 2, 4)
    with SplitDataLoader(path) as loader:
        assert not loader.has_key("patient 7")
        assert loader.find("patient 12") == 5
    assert delete(path, keys=["patient 7"]).num_deleted_before == 3


def test_all_records_of_a_key_are_deleted_also_when_they_are_folded_into_one_segment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("splitdata.dataset.writing.fold._FANOUT", 3)
    for number in range(3):
        with SplitWriter(tmp_path / "data", mode="append", durability="none") as writer:
            writer.write_many([b"%d" % number, b"other"], keys=["the key", f"other {number}"])
    assert len(describe(tmp_path / "data").segments) == 1

    report = delete(tmp_path / "data", keys=["the key"])

    assert report.positions == (0, 2, 4)


def test_older_record_of_a_key_is_found_when_the_newest_was_deleted_by_position(tmp_path: Path) -> None:
    path = tmp_path / "data"
    for number in range(2):
        with SplitWriter(path, mode="append", durability="none") as writer:
            writer.write(b"version %d" % number, key="k")
    delete(path, positions=[1])

    assert SplitDataLoader(path).find("k") == 0


def test_dry_run_changes_nothing(data: Path) -> None:
    before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    report = delete(data, positions=[1], keys=["key 2"], dry_run=True)

    assert (report.positions, report.is_dry_run) == ((1, 2), True)
    assert {path: path.read_bytes() for path in data.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("positions", [[200], [-201], [0, 1000]])
def test_position_out_of_range_deletes_nothing(data: Path, positions: list[int]) -> None:
    with pytest.raises(IndexError, match="200 records"):
        delete(data, positions=positions)

    assert SplitDataLoader(data).num_deleted == 0


def test_one_text_is_refused_as_keys(data: Path) -> None:
    with pytest.raises(TypeError, match="as a list"):
        delete(data, keys="key 2")


def test_open_reader_shows_its_state_until_it_refreshes(data: Path) -> None:
    loader = SplitDataLoader(data)
    delete(data, positions=[3])

    assert loader[3] == RECORDS[3]
    assert loader.refresh()
    with pytest.raises(RecordDeletedError):
        loader[3]


def test_several_datasets_end_to_end_keep_their_own(data: Path, tmp_path: Path) -> None:
    other = written(tmp_path / "other")
    delete(other, positions=[0])
    loader = SplitDataLoader([data, other])

    assert loader.deleted.tolist() == [200]
    assert len(list(loader.iterate(skip_deleted=True))) == 399


def test_samples_say_so_or_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "data"
    with SplitWriter(path, durability="none") as writer:
        writer.write_samples({"x": np.arange(4), "label": number} for number in range(9))
    delete(path, positions=[1, 8])
    dataset = SampleDataset(path)

    assert [sample["label"] for sample in dataset.iterate(skip_deleted=True)] == [0, 2, 3, 4, 5, 6, 7]
    for way in (lambda: dataset[1], lambda: dataset.gather([1, 2]), lambda: dataset[[0, 8]], lambda: list(dataset)):
        with pytest.raises(RecordDeletedError):
            way()
    assert dataset.deleted.tolist() == [1, 8]


# -- rivals, and writers at work -----------------------------------------------------------------------


def test_record_of_an_open_segment_stays_deleted_when_its_writer_commits_seals_and_is_resumed(tmp_path: Path) -> None:
    path = tmp_path / "data"
    writer = SplitWriter(path, bins=2, durability="none")
    writer.write_many(RECORDS[:10])
    writer.commit()
    delete(path, positions=[3])
    writer.write_many(RECORDS[10:20])
    writer.commit()
    delete(path, positions=[15])
    writer.close()

    assert SplitDataLoader(path).deleted.tolist() == [3, 15]
    with SplitWriter(path, bins=2, mode="append", durability="none") as more:
        more.write_many(RECORDS[20:30])
    loader = SplitDataLoader(path)
    assert list(loader.iterate(skip_deleted=True, with_positions=True)) == live(RECORDS[:30], (3, 15))
    assert verify(path).is_intact


def test_many_who_delete_and_append_at_once_lose_nothing(tmp_path: Path) -> None:
    path = written(tmp_path / "data")
    failed: list[BaseException] = []

    def run(work: Callable[[], object]) -> threading.Thread:
        def guarded() -> None:
            try:
                work()
            except BaseException as error:  # told below
                failed.append(error)

        thread = threading.Thread(target=guarded)
        thread.start()
        return thread

    def delete_some(first: int) -> None:
        for number in range(first, 200, 8):
            delete(path, positions=[number])

    def append_some() -> None:
        for number in range(12):
            with SplitWriter(path, mode="append", durability="none") as writer:
                writer.write(b"more %d" % number)

    threads = [run(partial(delete_some, first)) for first in (0, 1, 2)] + [run(append_some)]
    for thread in threads:
        thread.join(120)

    assert failed == []
    loader = SplitDataLoader(path)
    assert loader.deleted.tolist() == [number for number in range(200) if number % 8 < 3]
    assert len(loader) == 212
    assert verify(path).is_intact


def test_fold_carries_what_was_deleted_and_leaves_its_bytes_out(tmp_path: Path) -> None:
    path = tmp_path / "data"
    for number in range(45):
        with SplitWriter(path, mode="append", durability="none", keep_seconds=0) as writer:
            writer.write(b"secret number %d." % number, key=f"k{number}")
        if number in (3, 30):
            delete(path, positions=[number])
    with SplitDataLoader(path) as loader:
        fingerprint = loader.fingerprint
        assert describe(path).num_segments < 32
        assert loader.deleted.tolist() == [3, 30]
        assert list(loader.iterate(skip_deleted=True, with_positions=True)) == [
            (number, b"secret number %d." % number) for number in range(45) if number not in (3, 30)
        ]
        assert not loader.has_key("k3")
        assert loader.find("k4") == 4
    with SplitWriter(tmp_path / "one") as writer:
        writer.write_many(b"secret number %d." % number for number in range(45))
    assert fingerprint == SplitDataLoader(tmp_path / "one").fingerprint
    assert verify(path).is_intact
    newest = {info.id for info in DatasetDirectory(path).newest().segments}
    kept = [one for one in path.rglob("*.bin") if one.parent.name in newest]
    assert all(b"secret number 3." not in one.read_bytes() for one in kept)


# -- the list itself -------------------------------------------------------------------------------------


def list_of(path: Path) -> Path:
    (found,) = path.rglob("deleted.*")
    return found


@pytest.mark.parametrize("half", [0, 1])
def test_damage_to_one_half_of_the_list_costs_nothing_and_is_told(data: Path, half: int) -> None:
    delete(data, positions=GONE)
    content = bytearray(list_of(data).read_bytes())
    content[len(content) // 2 * half + 70] ^= 4
    list_of(data).write_bytes(content)

    assert SplitDataLoader(data).deleted.tolist() == list(GONE)
    (finding,) = verify(data).findings
    assert finding.num_records == 0
    assert "one of the two lists" in finding.problem


@pytest.mark.parametrize("damage", ["both", "missing", "cut", "other", "link"])
def test_without_the_list_no_record_of_its_segment_is_read(data: Path, damage: str, tmp_path: Path) -> None:
    delete(data, positions=GONE)
    with SplitWriter(data, mode="append", durability="none") as writer:
        writer.write(b"another segment")
    file = list_of(data)
    content = bytearray(file.read_bytes())
    if damage == "both":
        content[70] ^= 4
        content[len(content) // 2 + 70] ^= 4
        file.write_bytes(content)
    elif damage == "cut":
        file.write_bytes(content[:60])
    elif damage == "other":
        other = written(tmp_path / "other")
        delete(other, positions=GONE)
        file.write_bytes(list_of(other).read_bytes())
    else:
        file.unlink()
        if damage == "link":
            (tmp_path / "elsewhere").write_bytes(content)
            file.symlink_to(tmp_path / "elsewhere")
    loader = SplitDataLoader(data)

    for number in (0, 1):
        with pytest.raises(FormatError):
            loader[number]
    with pytest.raises(FormatError):
        loader.find("key 1")
    with pytest.raises(FormatError):
        list(loader.iterate(skip_deleted=True))
    assert loader[200] == b"another segment"
    assert verify(data).num_damaged_records == 200


def test_reader_that_does_not_know_deletion_refuses_the_segment_alone(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    delete(data, positions=GONE)
    (info,) = DatasetDirectory(data).newest().segments

    assert info.to_json()["must_understand"] == ["deleted"]
    assert "deleted" not in version.FEATURES
    # As such a reader sees it.
    named = {name.replace("deleted", "not known"): value for name, value in info.to_json().items()}
    unknown = type(info).from_json(named | {"must_understand": ["not known"]})
    with pytest.raises(UnsupportedVersionError, match="not known"):
        unknown.check_features()


def test_dataset_of_format_0_1_is_refused_with_what_to_do() -> None:
    for work in (lambda: delete(OLD, positions=[0]), lambda: compact(OLD)):
        with pytest.raises(UnsupportedVersionError, match="splitdata write OLD NEW"):
            work()


def test_list_that_is_one_hole_is_refused_before_it_is_read(data: Path) -> None:
    delete(data, positions=[3])
    newest = max(data.glob("manifest.*.json"))
    manifest = Manifest.decode(newest.read_bytes())
    count = 1 << 26
    claimed = replace(manifest.segments[0], num_records=count, num_deleted=count)
    newest.write_bytes(replace(manifest, segments=(claimed,)).encode())
    (listed,) = data.glob("segments/*/deleted.*")
    os.truncate(listed, 0)
    os.truncate(listed, deleted_bytes(count))

    with SplitDataLoader(data, io="pread") as loader, pytest.raises(FormatError, match="neither half begins as a list"):
        loader[0]


def test_verify_reports_a_flip_in_the_entry_of_a_record_that_was_deleted_and_erased(tmp_path: Path) -> None:
    path = tmp_path / "data"
    with SplitWriter(path, bins=1, durability="none") as writer:
        writer.write_many([b"one", b"two", b"three"])
    delete(path, positions=[1])
    compact(path, erase=True)
    assert verify(path, num_workers=1).is_intact
    (index,) = path.glob("segments/*/index")
    entry = spec.INDEX_HEADER_BYTES + spec.INDEX_ENTRY_BYTES
    for place in (entry, entry + 8, entry + 15):
        data = bytearray(index.read_bytes())
        data[place] ^= 1
        index.write_bytes(data)

        # No record is looked up by it, so that nothing but the sum of the entries shows it.
        assert not verify(path, num_workers=1).is_intact, place
        data[place] ^= 1
        index.write_bytes(data)
