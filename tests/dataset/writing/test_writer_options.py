"""Bins, alignment, compression, metadata, reproducible files, durability: what each option does to the files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitdata import SplitDataLoader, SplitWriter, verify
from splitdata.format import spec
from splitdata.storage import files
from tests.dataset.disk import bins_of, files_of, read, written
from tests.faults.file_faults import intercepted


@pytest.fixture
def small_threshold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let one bin hold 1,000 bytes before 64 are made."""
    for module in ("writing.destination", "writer"):
        monkeypatch.setattr(f"splitdata.dataset.{module}.ONE_BIN_BYTES", 1000)


@pytest.mark.usefixtures("small_threshold")
@pytest.mark.parametrize(("count", "bins"), [(1, 1), (7, 1), (8, 64), (500, 64)])
def test_number_of_bins_follows_from_the_size(tmp_path: Path, count: int, bins: int) -> None:
    records = [bytes([number % 256]) * 100 for number in range(count)]
    with SplitWriter(tmp_path / "data") as writer:
        for record in records:
            writer.write(record)

    # Each takes 132 bytes with its header. A bin without a record has no file.
    assert len(bins_of(tmp_path / "data")) == min(bins, count)
    assert read(tmp_path / "data") == records


@pytest.mark.usefixtures("small_threshold")
def test_commit_settles_the_number_of_bins(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "data") as writer:
        writer.write(b"x")
        writer.commit()
        writer.write_many([bytes(100)] * 100)

    assert len(bins_of(tmp_path / "data")) == 1


def test_more_bins_than_records_leave_the_rest_without_files(tmp_path: Path) -> None:
    path = written(tmp_path / "data", [b"a", b"b", b"c"], bins=1000)

    assert [one.name for one in bins_of(path)] == ["000000.bin", "000001.bin", "000002.bin"]
    assert read(path) == [b"a", b"b", b"c"]
    assert list(SplitDataLoader(path).iterate_binwise()) == [b"a", b"b", b"c"]


def test_record_k_is_in_bin_k_modulo_the_bins_in_any_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("splitdata.dataset.writer._MIN_CHUNK_BYTES", 500)
    monkeypatch.setattr("splitdata.dataset.writer._CHUNK_BYTES_PER_BIN", 1)
    records = [b"<%d>" % number * (number % 7) for number in range(1000)]
    path = written(tmp_path / "data", records, bins=7)

    contents = [one.read_bytes() for one in bins_of(path)]
    assert all(record in contents[number % 7] for number, record in enumerate(records))
    assert read(path) == records
    assert verify(path, num_workers=1).findings == ()


def test_ten_thousand_bins_are_written_with_few_open_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("splitdata.dataset.segments.bin_writer.descriptor_limit", lambda: 8)
    open_now, most = set[int](), 0
    create, open_existing, close = files.create, files.open_existing, files.close

    def opened(descriptor: int) -> int:
        nonlocal most
        open_now.add(descriptor)
        most = max(most, len(open_now))
        return descriptor

    monkeypatch.setattr(files, "create", lambda path, **kw: opened(create(path, **kw)))
    monkeypatch.setattr(files, "open_existing", lambda path, **kw: opened(open_existing(path, **kw)))

    def closing(descriptor: int) -> None:
        open_now.discard(descriptor)
        close(descriptor)

    monkeypatch.setattr(files, "close", closing)
    records = [b"%d" % number for number in range(2500)]
    with SplitWriter(tmp_path / "data", bins=1000) as writer:
        writer.write_many(records[:1700])
        writer.commit()
        writer.write_many(records[1700:])
    assert most <= 10
    assert open_now == set()
    monkeypatch.undo()
    assert read(tmp_path / "data") == records


@pytest.mark.parametrize("alignment", [8, 64, 4096])
@pytest.mark.parametrize("metadata", [None, {"a": 1}])
def test_payloads_are_aligned_in_files_and_memory(tmp_path: Path, alignment: int, metadata: Any) -> None:
    arrays = [np.arange(count, dtype=np.float64) for count in (1, 3, 100, 1000, 0)]
    with SplitWriter(tmp_path / "data", bins=2, alignment=alignment, metadata=metadata) as writer:
        for one in arrays:
            writer.write(one.data)
        writer.commit()
        writer.write(np.arange(spec.LARGE_RECORD_BYTES // 8, dtype=np.float64).data)
        writer.write(arrays[2].data)
    loader = SplitDataLoader(tmp_path / "data", io="mmap")
    for index, one in enumerate(arrays[:4]):
        view = np.frombuffer(loader.view(index), np.float64)
        assert view.ctypes.data % alignment == 0
        assert np.array_equal(view, one)
    for index in (5, 6):
        assert np.frombuffer(loader.view(index), np.float64).ctypes.data % alignment == 0
    assert verify(tmp_path / "data", num_workers=1).findings == ()


def test_compression_stores_only_what_gets_smaller(tmp_path: Path) -> None:
    records = [b"", b"x", b"abc" * 5000, os.urandom(5000)] * 3
    with SplitWriter(tmp_path / "data", bins=1, compression="zstd") as writer:
        writer.write_many(records)
    data = bins_of(tmp_path / "data")[0].read_bytes()

    assert read(tmp_path / "data") == records
    assert records[3] in data
    assert records[2] not in data
    assert len(data) < 18_000


def test_higher_level_compresses_more(tmp_path: Path) -> None:
    text = " ".join(str(number * number) for number in range(20_000)).encode()
    sizes = []
    for level in (-50, 3, 19):
        with SplitWriter(tmp_path / str(level), bins=1, compression="zstd", compression_level=level) as writer:
            writer.write(text)
        assert read(tmp_path / str(level)) == [text]
        sizes.append(bins_of(tmp_path / str(level))[0].stat().st_size)

    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 3


def test_metadata_are_kept_and_added_to_by_key(tmp_path: Path) -> None:
    path = tmp_path / "data"
    first = {"name": "tiny", "shape": [1, 2], "deep": {"a": None}, "text": "\u00e9\ud800"}
    with SplitWriter(path, metadata=first) as writer:
        writer.write(b"a")
    with SplitWriter(path, mode="append", metadata={"name": "small", "more": 1.5}) as writer:
        writer.write(b"b")
    with SplitWriter(path, mode="append") as writer:
        writer.write(b"c")

    assert SplitDataLoader(path).metadata == first | {"name": "small", "more": 1.5}
    with SplitWriter(path, mode="overwrite", metadata={"new": True}) as writer:
        writer.write(b"d")
    assert SplitDataLoader(path).metadata == {"new": True}


def test_metadata_can_be_added_without_a_record(tmp_path: Path) -> None:
    path = written(tmp_path / "data", [b"a"])
    SplitWriter(path, mode="append", metadata={"late": 1}).close()

    assert SplitDataLoader(path).metadata == {"late": 1}
    assert read(path) == [b"a"]


def test_metadata_changed_by_the_reader_are_not_the_datasets(tmp_path: Path) -> None:
    SplitWriter(tmp_path / "data", metadata={"a": 1}).close()
    loader = SplitDataLoader(tmp_path / "data")
    loader.metadata["a"] = 2

    assert loader.metadata == {"a": 1}


def reproducible(path: Path, **options: Any) -> dict[str, str]:
    with SplitWriter(path, **({"bins": 3, "reproducible": True} | options)) as writer:
        writer.write_many(b"%d" % number * number for number in range(50))
    return files_of(path)


def test_reproducible_runs_make_identical_files(tmp_path: Path) -> None:
    assert reproducible(tmp_path / "a") == reproducible(tmp_path / "b")
    zstd = {"compression": "zstd", "metadata": {"x": 1}, "alignment": 64}
    assert reproducible(tmp_path / "c", **zstd) == reproducible(tmp_path / "d", **zstd)


def test_reproducible_ids_depend_on_options_and_source(tmp_path: Path) -> None:
    variants: list[dict[str, Any]] = [
        {},
        {"bins": 4},
        {"compression": "zstd"},
        {"compression": "zstd", "compression_level": 9},
        {"alignment": 64},
        {"metadata": {"a": 1}},
        {"reproducible": "source a"},
        {"reproducible": "source b"},
    ]
    ids = set()
    for number, options in enumerate(variants):
        reproducible(tmp_path / str(number), **options)
        ids.add(next((tmp_path / str(number) / "segments").iterdir()).name)

    assert len(ids) == len(variants)


def test_reproducible_run_may_be_appended_to_itself(tmp_path: Path) -> None:
    reproducible(tmp_path / "a")
    reproducible(tmp_path / "b")
    again = [reproducible(tmp_path / name, mode="append") for name in ("a", "b")]

    assert again[0] == again[1]
    assert len(read(tmp_path / "a")) == 100


def test_reproducible_run_goes_around_what_a_killed_one_has_left(tmp_path: Path) -> None:
    expected = reproducible(tmp_path / "a")
    orphan = tmp_path / "b" / next(name for name in expected if name.startswith("segments/"))
    orphan.mkdir(parents=True)
    (orphan / "index").write_bytes(b"")
    reproducible(tmp_path / "b", mode="append")

    assert read(tmp_path / "b") == read(tmp_path / "a")


def test_other_runs_differ_in_their_ids_alone(tmp_path: Path) -> None:
    a, b = (reproducible(tmp_path / name, reproducible=False) for name in "ab")

    assert set(a) & set(b) == {"manifest.0000000001.json", "segments"}
    assert SplitDataLoader(tmp_path / "a").fingerprint == SplitDataLoader(tmp_path / "b").fingerprint


def recorded(path: Path, durability: Any) -> list[str]:
    """Return what a run of two commits does to the disk, in order: operation and kind of file."""
    calls: list[str] = []
    names: dict[int, str] = {}

    def handler(name: str, real: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> object:
        result = real(*arguments, **keywords)
        if name in ("create", "create_unnamed"):
            kind = Path(arguments[0]).suffix or Path(arguments[0]).name if name == "create" else "manifest"
            names[result] = kind
        target = arguments[0]
        kind = names[target] if isinstance(target, int) else Path(target).name
        calls.append(f"{name} {'folder' if len(kind) == 32 else kind}")
        return result

    with intercepted(handler), SplitWriter(path, bins=2, durability=durability) as writer:
        writer.write_many([b"a", b"b"])
        writer.commit()
        writer.write(b"c")
    return calls


def test_without_durability_nothing_waits_for_the_medium(tmp_path: Path) -> None:
    calls = recorded(tmp_path / "data", "none")

    assert not [call for call in calls if call.startswith("sync")]
    assert read(tmp_path / "data") == [b"a", b"b", b"c"]


def test_durable_commit_syncs_bins_index_and_folders_before_the_manifest(tmp_path: Path) -> None:
    calls = recorded(tmp_path / "data", "commit")

    # The new folder's own name comes first.
    assert calls[:2] == ["make_directory data", f"sync_directory {tmp_path.name}"]
    calls = calls[2:]
    published = [number for number, call in enumerate(calls) if call.startswith("link_unnamed")]
    commits = [calls[: published[0] + 2], calls[published[0] + 2 : published[1] + 2]]

    for commit, num_bins in zip(commits, (2, 1), strict=True):
        syncs = [call for call in commit if call.startswith(("sync", "link"))]
        assert syncs == [
            *["sync_data .bin"] * num_bins,
            "sync_data index",
            "sync_directory folder",
            "sync_directory segments",
            "sync_directory data",
            "sync_data manifest",
            "link_unnamed manifest",
            "sync_directory data",
        ]
        last_write = max(
            number for number, call in enumerate(commit) if call in ("write_at .bin", "write_gathered .bin")
        )
        assert last_write < commit.index("sync_data .bin")
        assert max(n for n, call in enumerate(commit) if call == "write_at index") < commit.index("sync_data index")
