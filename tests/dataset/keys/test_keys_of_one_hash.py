"""Different keys of one hash, which anybody can make: answers stay right, and no commit takes ever more of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from xxhash import xxh3_64_intdigest

from splitdata import DuplicateKeyError, SplitDataLoader, SplitWriter, repair, verify
from splitdata.dataset.manifests.directory import DatasetDirectory
from splitdata.format import spec
from tests.dataset.keys.forged_keys import keys_of_one_hash

KEYS = keys_of_one_hash(1500)


def test_keys_really_have_one_hash() -> None:
    assert len(set(KEYS)) == len(KEYS)
    assert len({xxh3_64_intdigest(key.encode()) for key in KEYS}) == 1


def write(path: Path, keys: list[str], *, mode: str = "append", commits: int = 1, text: str = "of") -> None:
    with SplitWriter(path, mode=mode, bins=2, durability="none") as writer:  # type: ignore[arg-type]
        step = -(-len(keys) // commits)
        for start in range(0, len(keys), step):
            for key in keys[start : start + step]:
                writer.write(f"record {text} {KEYS.index(key)}".encode(), key)
            writer.commit()


def check(path: Path, keys: list[str], text: str = "of") -> None:
    with SplitDataLoader(path) as loader:
        for key in keys[:: max(1, len(keys) // 40)]:
            assert loader[loader.find(key)] == f"record {text} {KEYS.index(key)}".encode()
        for key in set(KEYS) - set(keys):
            assert not loader.has_key(key)
            break


@pytest.mark.parametrize("commits", [1, 3])
def test_each_key_is_found_among_those_of_its_hash(tmp_path: Path, commits: int) -> None:
    write(tmp_path / "data", KEYS[:1000], commits=commits)

    check(tmp_path / "data", KEYS[:1000])
    assert verify(tmp_path / "data").is_intact


def test_same_key_is_still_refused_among_those_of_its_hash(tmp_path: Path) -> None:
    with pytest.raises(DuplicateKeyError, match="have the same key"):
        write(tmp_path / "data", [*KEYS[:50], KEYS[20]])
    with pytest.raises(DuplicateKeyError, match="have the same key"):
        write(tmp_path / "more", [*KEYS[:50], KEYS[20]], commits=3)


@pytest.mark.parametrize("commits", [1, 40])
def test_too_many_keys_of_one_hash_are_refused_and_what_was_committed_stays(tmp_path: Path, commits: int) -> None:
    path = tmp_path / "data"
    with pytest.raises(DuplicateKeyError, match=f"{spec.MAX_EQUAL_HASHES} others have keys with the same hash"):
        write(path, KEYS, commits=commits)

    if commits > 1:
        with SplitDataLoader(path) as loader:
            assert 900 < len(loader) <= spec.MAX_EQUAL_HASHES
            assert loader.find(KEYS[5]) == 5


def test_fold_joins_segments_with_keys_of_one_hash_and_the_newest_of_a_key_is_found(tmp_path: Path) -> None:
    path = tmp_path / "data"
    for number in range(32):
        write(path, [*KEYS[10 * number : 10 * number + 10], KEYS[-1]], text=f"{number}, of")

    assert len(DatasetDirectory(path).newest().segments) == 1
    with SplitDataLoader(path) as loader:
        assert loader[loader.find(KEYS[-1])] == b"record 31, of 1499"
        assert loader[loader.find(KEYS[57])] == b"record 5, of 57"
        assert not loader.has_key(KEYS[400])


def test_keys_of_one_hash_are_made_again_by_a_repair(tmp_path: Path) -> None:
    path = tmp_path / "data"
    write(path, KEYS[:300])
    keys = next(path.rglob("keys"))
    before = keys.read_bytes()
    keys.unlink()

    assert repair(path).is_whole

    assert keys.read_bytes() == before
    check(path, KEYS[:300])


def test_damaged_record_of_another_key_of_the_hash_stops_no_search(tmp_path: Path) -> None:
    path = tmp_path / "data"
    write(path, KEYS[:30])
    file = next(path.rglob("000001.bin"))
    file.write_bytes(file.read_bytes().replace(b"record of 29", b"record xx 29"))

    with SplitDataLoader(path) as loader:
        assert loader.find(KEYS[4]) == 4
