"""Keys: written, found, unique, of the newest segment, whatever happens to their file."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitdata import (
    CorruptRecordError,
    DuplicateKeyError,
    FormatError,
    SplitDataLoader,
    SplitWriter,
    describe,
    repair,
    verify,
)
from splitdata.dataset.keys import key_builder, sorted_keys
from splitdata.dataset.manifests.directory import DatasetDirectory
from splitdata.dataset.segments import framing, record_reader, segment_reader
from splitdata.format import spec
from splitdata.format.keys import KeyRun, key_hash
from splitdata.storage.folder import Folder
from tests.faults.file_faults import fast_folder
from tests.paths import take_path

NAMES = [f"train/n{number % 7}/größe_{number}.jpg" for number in range(300)]
RECORDS = [name.encode() * (number % 3) for number, name in enumerate(NAMES)]


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make blocks and runs that no directory lists so small that few keys fill many of them."""
    monkeypatch.setattr(spec, "KEYS_PER_BLOCK", 4)
    monkeypatch.setattr(key_builder, "_MOST_WAITING_KEYS", 20)
    monkeypatch.setattr(sorted_keys, "_BATCH_BLOCKS", 3)


def segment_folder(path: Path, number: int = 0) -> Path:
    return Path(DatasetDirectory(path).paths.segment(DatasetDirectory(path).newest().segments[number].id).folder)


def check_keys(path: Path, keys: list[str | None], io: Literal["mmap", "pread"] = "mmap") -> None:
    """Every record has its key, and every key leads to its record."""
    with SplitDataLoader(path, io=io) as loader:
        assert [loader.key(position) for position in range(len(loader))] == keys
        for position, key in enumerate(keys):
            assert key is None or loader.find(key) == position
        assert not loader.has_key("absent")
    assert verify(path).findings == ()


# -- writing and finding ---------------------------------------------------------------------------


@pytest.mark.parametrize("io", ["mmap", "pread"])
@pytest.mark.parametrize("options", [{"bins": 1}, {"bins": 5}, {"compression": "zstd"}, {"alignment": 64}], ids=str)
def test_keys_lead_to_their_records_whatever_the_options(
    tmp_path: Path, options: dict[str, Any], io: Literal["mmap", "pread"]
) -> None:
    with SplitWriter(tmp_path / "d", durability="none", **options) as writer:
        assert writer.write_many(RECORDS, keys=NAMES) == len(RECORDS)

    check_keys(tmp_path / "d", list(NAMES), io)
    with SplitDataLoader(tmp_path / "d", io=io) as loader:
        assert loader[range(len(loader))] == RECORDS == list(loader)
        assert [bytes(view) for view in loader.iterate_binwise(as_views=True)] == list(loader.iterate_binwise())
        assert [loader[position] for position in range(len(loader))] == RECORDS
        with pytest.raises(KeyError, match="absent"):
            loader.find("absent")
    with SplitDataLoader(tmp_path / "d", io=io, verify=False) as loader:
        assert loader[range(len(loader))] == RECORDS == list(loader)
        assert loader.find(NAMES[7]) == 7


def test_records_with_and_without_keys_mix_in_every_way_of_writing(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "d", bins=2, durability="none") as writer:
        writer.write(b"none")
        writer.write(b"one", key="one")
        writer.write_many([b"a", b"b"])
        writer.write_many([b"c", bytearray(b"d")], keys=["c", "d"])
        writer.write_many((record for record in (b"e", b"f")), keys=iter(["e", None]))
        writer.write_many([b"g", b"h"], keys=[None, "h"])
        writer.write(b"last")

    check_keys(tmp_path / "d", [None, "one", None, None, "c", "d", "e", None, None, "h", None])
    assert describe(tmp_path / "d").num_keys == 5


def test_records_of_one_length_with_keys_of_one_length_are_found(tmp_path: Path) -> None:
    keys: list[str | None] = [f"{number:04d}" for number in range(500)]
    with SplitWriter(tmp_path / "d", bins=3, durability="none") as writer:
        writer.write_many([b"x" * 21] * 500, keys=keys)

    check_keys(tmp_path / "d", keys)


@pytest.mark.parametrize("compression", [None, "zstd"])
def test_large_record_has_its_key(tmp_path: Path, compression: Literal["zstd"] | None) -> None:
    record = bytes(spec.LARGE_RECORD_BYTES) + b"end"
    with SplitWriter(tmp_path / "d", compression=compression, durability="none") as writer:
        writer.write(b"small", key="small")
        writer.write(record, key="film.mp4")
        writer.write_many([record], keys=["other"])

    check_keys(tmp_path / "d", ["small", "film.mp4", "other"])
    with SplitDataLoader(tmp_path / "d") as loader:
        assert loader[1] == record
        assert loader.read_range(1, len(record) - 3, len(record)) == b"end"


def test_keys_do_not_change_the_fingerprint(tmp_path: Path) -> None:
    for name, keys in (("a", None), ("b", NAMES)):
        with SplitWriter(tmp_path / name, bins=2, durability="none") as writer:
            writer.write_many(RECORDS, keys=keys)

    assert SplitDataLoader(tmp_path / "a").fingerprint == SplitDataLoader(tmp_path / "b").fingerprint


def test_longest_key_is_kept_and_what_is_no_key_is_refused(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "d", durability="none") as writer:
        for wrong in ("", "x" * 65_536, "ü" * 32_768, "half \ud800"):
            with pytest.raises(ValueError, match="key"):
                writer.write(b"", key=wrong)
            with pytest.raises(ValueError, match="key"):
                writer.write_many([b""], keys=[wrong])
        with pytest.raises(TypeError, match="bytes"):
            writer.write(b"", key=b"bytes")  # type: ignore[arg-type]
        assert writer.num_written == 0
        writer.write(b"", key="ü" * 32_767 + "x")
        writer.write(b"", key="\0")

    check_keys(tmp_path / "d", ["ü" * 32_767 + "x", "\0"])
    with SplitDataLoader(tmp_path / "d") as loader, pytest.raises(TypeError):
        loader.find(0)  # type: ignore[arg-type]


def test_lists_of_unequal_length_are_refused_before_anything_is_taken(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "d", durability="none") as writer:
        with pytest.raises(ValueError, match="2 records and 1 keys"):
            writer.write_many([b"a", b"b"], keys=["a"])
        assert writer.num_written == 0
        with pytest.raises(ValueError, match="shorter"):
            writer.write_many(iter([b"a", b"b"]), keys=iter(["a"]))
        assert writer.num_written == 1

    check_keys(tmp_path / "d", ["a"])


# -- commits, unlisted runs, merging -----------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 45), st.booleans()), min_size=1, max_size=30), st.integers(0, 9))
def test_keys_of_every_commit_are_found_at_once_and_after_sealing(groups: list[tuple[int, bool]], seed: int) -> None:
    source = random.Random(seed)
    with pytest.MonkeyPatch.context() as patch, fast_folder(Path.cwd()) as folder:
        patch.setattr(spec, "KEYS_PER_BLOCK", 4)
        patch.setattr(key_builder, "_MOST_WAITING_KEYS", 20)
        patch.setattr(sorted_keys, "_BATCH_BLOCKS", 3)
        keys: list[str | None] = []
        loader: SplitDataLoader | None = None
        with SplitWriter(folder / "d", bins=2, durability="none") as writer:
            for count, is_committed in groups:
                added = [f"{source.random()}" if source.random() < 0.9 else None for _ in range(count)]
                writer.write_many([b"r"] * count, keys=added)
                keys += added
                if is_committed and keys:
                    writer.commit()
                    check_keys(folder / "d", keys)
                    loader = loader or SplitDataLoader(folder / "d")
        if keys:
            check_keys(folder / "d", keys)
        if loader is not None:
            # Opened before the segment was sealed, used afterwards: it knows what it knew.
            shown = len(loader)
            assert all(loader.find(key) == place for place, key in enumerate(keys[:shown]) if key)
            assert not any(loader.has_key(key) for key in keys[shown:] if key)


def num_runs(loader: SplitDataLoader) -> int:
    segment = loader._snapshot.segment(0)
    assert isinstance(segment, segment_reader.SegmentReader)
    return len(segment.files.keys().runs)


def test_many_commits_leave_few_runs_to_search(small_parts: None, tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "d", bins=1, durability="none") as writer:
        for number in range(200):
            writer.write(b"r", key=f"k{number}")
            writer.commit()
        with SplitDataLoader(tmp_path / "d") as loader:
            assert num_runs(loader) <= 24
            assert [loader.find(f"k{number}") for number in range(200)] == list(range(200))
    assert not (segment_folder(tmp_path / "d") / "keys.open").exists()
    with SplitDataLoader(tmp_path / "d") as loader:
        assert num_runs(loader) == 1


def test_dataset_without_keys_has_no_file_of_keys(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "d", durability="none") as writer:
        writer.write_many(RECORDS)
        writer.commit()
        writer.write_many(RECORDS)

    assert sorted(file.name for file in segment_folder(tmp_path / "d").iterdir()) == ["000000.bin", "index"]


def test_writer_whose_pending_records_move_keeps_their_keys(tmp_path: Path) -> None:
    path = tmp_path / "d"
    with SplitWriter(path, bins=2, mode="append") as one, SplitWriter(path, bins=3, mode="append") as other:
        one.write_many([b"1", b"2"], keys=["k1", "k2"])
        one.commit()
        one.write(b"4", key="k4")
        other.write(b"3", key="k3")
        other.commit()
        one.write(b"5", key="k5")
        one.commit()

    check_keys(path, ["k1", "k2", "k3", "k4", "k5"])


def test_aborted_records_leave_no_keys(tmp_path: Path) -> None:
    path = tmp_path / "d"
    writer = SplitWriter(path, durability="none")
    writer.write(b"a", key="a")
    writer.commit()
    writer.write(b"b", key="b")
    writer.abort()

    check_keys(path, ["a"])


def test_ledger_goes_on_behind_the_last_commit(small_parts: None, tmp_path: Path) -> None:
    folder = Folder.open(str(tmp_path))
    hashes = np.random.default_rng(1).integers(0, 1 << 63, 90, np.uint64)
    ledger = key_builder.KeyBuilder(folder, "open", "sealed", "0" * 32, None)
    ledger.add(hashes[:50], np.arange(50, dtype=np.uint32))
    ledger.flush()
    committed = ledger.num_keys, ledger.keys_bytes
    ledger.add(hashes[50:75], np.arange(50, 75, dtype=np.uint32))
    ledger.flush()
    ledger.close()

    ledger = key_builder.KeyBuilder(folder, "open", "sealed", "0" * 32, None)
    ledger.take_over(*committed)
    ledger.add(hashes[75:], np.arange(75, 90, dtype=np.uint32))
    ledger.seal()
    ledger.close()
    folder.close()
    data = (tmp_path / "sealed").read_bytes()
    run = KeyRun(64, 65, int.from_bytes(data[-32:-24], "little"))
    reader = sorted_keys.SortedKeysReader(lambda offset, length: data[offset : offset + length], run)
    found = sorted((int(one), int(seq)) for part in reader.batches(2) for one, seq in zip(*part, strict=True))
    assert found == sorted((int(hashes[seq]), seq) for seq in [*range(50), *range(75, 90)])


def test_ledger_refuses_to_go_on_behind_damaged_runs(small_parts: None, tmp_path: Path) -> None:
    path = tmp_path / "open"
    folder = Folder.open(str(tmp_path))
    ledger = key_builder.KeyBuilder(folder, "open", "sealed", "0" * 32, None)
    ledger.add(np.arange(50, dtype=np.uint64), np.arange(50, dtype=np.uint32))
    ledger.flush()
    ledger.close()
    again = key_builder.KeyBuilder(folder, "open", "sealed", "0" * 32, None)
    whole = path.read_bytes()
    for content in (whole[:-1], whole[:-9] + b"x" + whole[-8:], whole[:-60] + b"\xff" + whole[-59:]):
        path.write_bytes(content)
        with pytest.raises(FormatError, match="open"):
            again.take_over(50, len(whole))
        assert path.read_bytes() == content
    path.unlink()
    with pytest.raises(FormatError, match="does not exist"):
        again.take_over(50, len(whole))


# -- uniqueness ------------------------------------------------------------------------------------


@pytest.mark.parametrize("gap", ["together", "chunks", "commit", "run"])
def test_key_given_twice_fails_the_commit_and_loses_nothing_before(tmp_path: Path, gap: str) -> None:
    path = tmp_path / "d"
    with pytest.MonkeyPatch.context() as patch:
        if gap == "run":
            patch.setattr(key_builder, "_MOST_WAITING_KEYS", 1)
        writer = SplitWriter(path, bins=1, durability="none")
        writer.write(b"safe", key="safe")
        writer.commit()
        writer.write(b"x", key="twice")
        if gap == "chunks":
            writer.write(bytes(5 << 20))
        if gap == "commit":
            writer.commit()
        writer.write(b"y", key="other")
        writer.write(b"z", key="twice")
        with pytest.raises(DuplicateKeyError, match="'twice'") as caught:
            writer.commit()
        writer.close()
    last = 4 if gap == "chunks" else 3
    assert (caught.value.key, caught.value.numbers) == ("twice", (1, last))
    assert str(last) in str(caught.value)
    check_keys(path, ["safe", "twice"] if gap == "commit" else ["safe"])


def test_key_given_twice_in_a_new_dataset_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    path = tmp_path / "d"
    for _ in range(2):
        with pytest.raises(DuplicateKeyError), SplitWriter(path, durability="none") as writer:
            writer.write_many([b"1", b"2"], keys=["k", "k"])
    with SplitWriter(path, durability="none") as writer:
        writer.write_many([b"1", b"2"], keys=["k", "l"])

    check_keys(path, ["k", "l"])


@pytest.mark.parametrize("num_hashes", [1, 3])
def test_different_keys_with_one_hash_are_told_apart(
    small_parts: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_hashes: int
) -> None:
    def weak_hash(key: bytes) -> int:
        return key[-1] % num_hashes

    # The compiled path has a hash of its own.
    take_path(monkeypatch, "python")
    for module in (framing, record_reader, segment_reader):
        monkeypatch.setattr(module, "key_hash", weak_hash)
    monkeypatch.setattr("splitdata.dataset.verify.bin_check.key_hash", weak_hash)
    keys: list[str | None] = [f"k{number}" for number in range(50)]
    with SplitWriter(tmp_path / "d", bins=2, durability="none") as writer:
        writer.write_many([b"r"] * 30, keys=keys[:30])
        writer.commit()
        writer.write_many([b"r"] * 20, keys=keys[30:])
        writer.commit()
        check_keys(tmp_path / "d", keys)

    check_keys(tmp_path / "d", keys)
    with pytest.raises(DuplicateKeyError, match="'k7'"), SplitWriter(tmp_path / "e", bins=1) as writer:
        writer.write_many([b"r"] * 51, keys=[*keys, "k7"])


def test_newest_of_several_segments_wins_also_after_folding(tmp_path: Path) -> None:
    path = tmp_path / "d"
    for number in range(40):
        with SplitWriter(path, mode="append", durability="none") as writer:
            writer.write_many([b"%d" % number, b"own"], keys=["shared", f"own {number}"])

    with SplitDataLoader(path) as loader:
        assert len(DatasetDirectory(path).newest().segments) < 40
        assert loader.find("shared") == 78
        assert loader[loader.find("shared")] == b"39"
        assert [loader.find(f"own {number}") for number in range(40)] == list(range(1, 80, 2))
        assert loader.key(0) == "shared"
    assert verify(path).is_intact


# -- damage ----------------------------------------------------------------------------------------

_FEW = [f"k{number}" for number in range(11)]


def write_few(path: Path, *, is_sealed: bool) -> Path:
    writer = SplitWriter(path, bins=2, durability="none")
    writer.write_many([b"r"] * 5, keys=_FEW[:5])
    writer.commit()
    writer.write_many([b"r"] * 6, keys=_FEW[5:])
    writer.commit()
    if is_sealed:
        writer.close()
    else:
        writer.abort()
    return segment_folder(path) / ("keys" if is_sealed else "keys.open")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with fast_folder(tmp_path) as path:
        yield path


def search_all(path: Path, io: Literal["mmap", "pread"]) -> int:
    """Look for every key; return how many searches fail, none of which may say that there is no such key."""
    failed = 0
    with SplitDataLoader(path, io=io) as loader:
        assert [loader.key(position) for position in range(len(loader))] == _FEW
        for position, key in enumerate(_FEW):
            try:
                assert loader.find(key) == position
            except FormatError as error:
                failed += f"splitdata repair {path}" in str(error)
        try:
            assert not loader.has_key("absent")
        except FormatError:
            failed += 1
    return failed


@pytest.mark.parametrize("is_sealed", [True, False], ids=["sealed", "open"])
def test_any_flipped_bit_of_the_keys_costs_no_record_and_is_reported(
    small_parts: None, folder: Path, is_sealed: bool
) -> None:
    file = write_few(folder / "d", is_sealed=is_sealed)
    whole = file.read_bytes()
    failures = 0
    for bit in range(8 * len(whole)):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        file.write_bytes(data)
        failures += search_all(folder / "d", "mmap") if bit % 3 == 0 else 0
        # Nothing is said of what the first commit has left in the open file.
        if bit % 7 == 0 and is_sealed:
            assert not verify(folder / "d", num_workers=1).is_intact, bit
    assert failures


@pytest.mark.soak
def test_verify_reports_every_flip_of_the_keys(small_parts: None, folder: Path) -> None:
    file = write_few(folder / "d", is_sealed=True)
    whole = file.read_bytes()
    for bit in range(8 * len(whole)):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        file.write_bytes(data)
        assert not verify(folder / "d", num_workers=1).is_intact, bit


@pytest.mark.parametrize("io", ["mmap", "pread"])
@pytest.mark.parametrize("is_sealed", [True, False], ids=["sealed", "open"])
def test_keys_cut_at_any_byte_or_missing_cost_no_record_and_are_made_again(
    small_parts: None, folder: Path, is_sealed: bool, io: Literal["mmap", "pread"]
) -> None:
    path = folder / "d"
    file = write_few(path, is_sealed=is_sealed)
    whole = file.read_bytes()
    for length in range(0, len(whole), 5):
        file.write_bytes(whole[:length])
        assert search_all(path, io) == len(_FEW) + 1
        assert not verify(path, num_workers=1).is_intact
    file.unlink()
    assert search_all(path, io) == len(_FEW) + 1
    report = repair(path)
    assert any("keys" in action for action in report.actions)
    assert search_all(path, io) == 0
    assert verify(path).is_intact
    if is_sealed:
        assert file.read_bytes() == whole


def test_keys_of_another_segment_are_refused(tmp_path: Path) -> None:
    one, other = write_few(tmp_path / "one", is_sealed=True), write_few(tmp_path / "two", is_sealed=True)
    one.write_bytes(other.read_bytes())

    assert search_all(tmp_path / "one", "mmap") == len(_FEW) + 1
    assert not verify(tmp_path / "one").is_intact


def write_table(path: Path, hashes: list[int], sequences: list[int]) -> None:
    """Put another table of keys, with right checksums, in the place of that of a dataset of one sealed segment."""
    folder = Folder.open(str(path))
    forged = key_builder.KeyBuilder(folder, "x", "y", segment_folder(path).name, None)
    forged.add(np.array(hashes, np.uint64), np.array(sequences, np.uint32))
    forged.seal()
    forged.close()
    folder.close()
    (path / "y").replace(segment_folder(path) / "keys")


def test_table_with_right_checksums_and_other_keys_is_a_finding(tmp_path: Path) -> None:
    path = tmp_path / "d"
    file = write_few(path, is_sealed=True)
    keys_bytes = len(file.read_bytes())
    write_table(path, list(range(11)), list(range(11)))

    assert len(file.read_bytes()) == keys_bytes
    (finding,) = verify(path).findings
    assert "other ones than" in finding.problem


def test_table_of_a_sealed_segment_that_lists_a_record_beyond_it_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "d"
    write_few(path, is_sealed=True)
    hashes = sorted((key_hash(key.encode()), number) for number, key in enumerate(_FEW))
    write_table(path, [one for one, _ in hashes], [number if number != 4 else 11 for _, number in hashes])

    with SplitDataLoader(path) as loader:
        assert loader.find("k3") == 3
        with pytest.raises(FormatError, match="record 11, which the segment lacks"):
            loader.find("k4")
    assert "record 11, which the segment lacks" in verify(path).findings[0].problem
    repair(path)
    check_keys(path, list(_FEW))


@pytest.mark.parametrize("offset", [22, 33, 35], ids=["length of the key", "key", "hash of the key"])
def test_damaged_key_is_told_of_by_every_way_to_it_and_costs_no_record(tmp_path: Path, offset: int) -> None:
    path = tmp_path / "d"
    write_few(path, is_sealed=True)
    bin_file = segment_folder(path) / "000000.bin"
    data = bytearray(bin_file.read_bytes())
    data[64 + offset] ^= 2
    bin_file.write_bytes(data)

    with SplitDataLoader(path) as loader:
        with pytest.raises(CorruptRecordError, match="record 0"):
            loader.find("k0")
        with pytest.raises(CorruptRecordError, match="record 0"):
            loader.key(0)
        assert (loader.find("k2"), loader[0]) == (2, b"r")
    report = verify(path)
    assert (report.num_damaged_records, [one.position for one in report.findings]) == (0, [0])


def test_key_of_a_damaged_record_is_found_and_the_record_tells_of_the_damage(tmp_path: Path) -> None:
    path = tmp_path / "d"
    write_few(path, is_sealed=True)
    bin_file = segment_folder(path) / "000000.bin"
    data = bytearray(bin_file.read_bytes())
    data[64 + 32] ^= 1
    bin_file.write_bytes(data)

    with SplitDataLoader(path) as loader:
        assert (loader.find("k0"), loader.key(0)) == (0, "k0")
        with pytest.raises(CorruptRecordError, match="record 0"):
            loader[0]


@pytest.mark.parametrize("bit", range(16))
def test_flipped_bit_in_the_length_of_a_key_is_flipped_back_by_repair(tmp_path: Path, bit: int) -> None:
    path = tmp_path / "d"
    write_few(path, is_sealed=True)
    bin_file = segment_folder(path) / "000000.bin"
    data = bin_file.read_bytes()
    damaged = bytearray(data)
    damaged[64 + 22 + bit // 8] ^= 1 << bit % 8
    bin_file.write_bytes(damaged)

    repair(path)

    assert bin_file.read_bytes() == data
    assert verify(path).is_intact


@pytest.mark.parametrize("alignment", [8, 64])
def test_key_whose_length_is_damaged_beyond_recognition_is_not_written_over_by_repair(
    tmp_path: Path, alignment: int
) -> None:
    path = tmp_path / "d"
    with SplitWriter(path, bins=1, alignment=alignment) as writer:
        writer.write_many([b"0123456", b"r", b"s"], keys=["abc", "k1", None])
    bin_file = segment_folder(path) / "000000.bin"
    data = bytearray(bin_file.read_bytes())
    frame = data.index(b"0123456abc") - 32
    data[frame + 22] = 0
    bin_file.write_bytes(data)

    repair(path)

    assert b"0123456abc" in bin_file.read_bytes()
    with SplitDataLoader(path) as loader:
        assert loader[0] == b"0123456"
        with pytest.raises(CorruptRecordError, match="record 0"):
            loader.key(0)


def test_repair_without_any_manifest_brings_the_keys_back(tmp_path: Path) -> None:
    path = tmp_path / "d"
    write_few(path, is_sealed=True)
    for manifest in path.glob("manifest.*"):
        manifest.unlink()

    repair(path, adopt=True)
    check_keys(path, list(_FEW))
