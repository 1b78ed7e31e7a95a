"""Caches that someone else may have filled: nothing of them is trained on, and what they claim bounds no time.

planted samples in a folder of another user, or open to others ──> CacheError when the loader is made
made so while a loader lives                                   ──> its workers go on without the cache
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitdata import Cache, CacheError, DistributedLoader, SplitDataLoader, SplitWriter
from splitdata.dataset.cache.cache_folder import CacheFolder
from splitdata.dataset.cache.cache_generation import CacheGeneration, Claim
from splitdata.dataset.cache.cache_key import CacheKey
from splitdata.loader.cache.cache_entry import EntryCodec, EntryIndex, encode_index
from splitdata.loader.cache.cache_reader import CacheReader
from splitdata.samples.encode import encode_sample
from tests.loader.counting import write_numbers

NUM_RECORDS = 16
KEY = CacheKey(dataset="d", num_records=40, transform="", code="", version="v", seed=0, codec=1, epoch=0)

if sys.platform == "win32":
    pytest.skip("folders have no such owners and modes there", allow_module_level=True)


def read_number(record: bytes, *, is_wrong: bool) -> int:
    return -1 if is_wrong else int.from_bytes(record[:8], "little")


def loader_of(folder: Path, *, is_wrong: bool, num_workers: int = 0) -> DistributedLoader:
    # Both by one name and version, so that each takes the samples of the other for its own.
    transform = functools.partial(read_number, is_wrong=is_wrong)
    cache = Cache(folder / "cache", version="read")
    return DistributedLoader(
        folder / "data", batch_size=4, transform=transform, cache=cache, num_workers=num_workers, rank=0, world_size=1
    )


def numbers_of(batches: Iterable[Any]) -> list[int]:
    return [number for batch in batches for number in batch.tolist()]


def give_away(folder: Path) -> None:
    if os.geteuid():
        pytest.skip("only root gives folders away")
    for path in (folder, *folder.rglob("*")):
        os.chown(path, 12345, 12345)


OPENED: dict[str, Callable[[Path], None]] = {
    "open to all": lambda folder: folder.chmod(0o777),
    "of another user": give_away,
    "open generation": lambda folder: next(folder.iterdir()).chmod(0o777),
    "generation that others may enter": lambda folder: next(folder.iterdir()).chmod(0o755),
}


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """A dataset, and a cache with a wrong sample for each of its records."""
    write_numbers(tmp_path / "data", NUM_RECORDS)
    with loader_of(tmp_path, is_wrong=True) as loader:
        assert numbers_of(loader) == [-1] * NUM_RECORDS
    with loader_of(tmp_path, is_wrong=False) as loader:
        assert numbers_of(loader) == [-1] * NUM_RECORDS
    return tmp_path


@pytest.mark.parametrize("how", ["open to all", "of another user"])
def test_loader_is_not_made_with_a_cache_that_others_could_have_filled(planted: Path, how: str) -> None:
    OPENED[how](planted / "cache")

    with pytest.raises(CacheError, match="samples that others may have put there are not read"):
        loader_of(planted, is_wrong=False)


@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize("how", OPENED)
def test_loader_goes_on_without_a_cache_that_is_opened_to_others_later(
    planted: Path, how: str, num_workers: int
) -> None:
    with loader_of(planted, is_wrong=False, num_workers=num_workers) as loader:
        OPENED[how](planted / "cache")

        assert numbers_of(loader) == list(range(NUM_RECORDS))
        cache = loader.stats().cache

    assert cache is not None
    assert cache.num_hits == 0
    assert "samples that others may have put there are not read" in str(cache.problem)


class _NeverListed(set[int]):
    """What is asked for single values only: to list it for each commit would cost the square of what is there."""

    def __iter__(self) -> Any:  # never returns
        raise AssertionError("listed")


def test_replaced_entries_cost_no_more_for_each_commit(tmp_path: Path) -> None:
    generation = CacheFolder(tmp_path / "cache").open(KEY)
    claim = generation.claim()
    with SplitWriter(claim.folder.path, alignment=64, durability="none") as writer:
        for record in range(KEY.num_records):
            writer.write(encode_sample((record, record)))
            # The entry of record 7 is the 15th that is written, of this writer.
            replaced = np.arange(10**9, 10**9 + 5000, dtype=np.int64)
            replaced[0] = 15
            writer.write(encode_index(EntryIndex(np.array([record], np.int64), replaced)))
            writer.commit()
    reader = CacheReader(generation, EntryCodec((), copy=False), KEY.num_records)
    reader._dead = _NeverListed()

    reader.refresh()

    assert reader.num_known == KEY.num_records - 1
    assert reader.read(np.array([7]))[0] is None
    assert all(data is not None for data in reader.read(np.array([0, 6, 8, 39])))
    reader.close()
    claim.release()
    generation.close()


@pytest.mark.parametrize("place", ["generation", "writer"])
def test_what_is_written_stays_in_the_folder_that_was_claimed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    write_numbers(tmp_path / "data", NUM_RECORDS)
    claimed: list[Path] = []

    def claim_and_replace(generation: CacheGeneration, first: int = 0) -> Claim:
        found = claim(generation, first)
        folder = Path(found.folder.path)
        path = folder if place == "writer" else folder.parent
        claimed.append(path.rename(tmp_path / f"claimed {len(claimed)}"))
        path.symlink_to(outside)
        return found

    claim = CacheGeneration.claim
    monkeypatch.setattr(CacheGeneration, "claim", claim_and_replace)
    with loader_of(tmp_path, is_wrong=False) as loader:
        assert numbers_of(loader) == list(range(NUM_RECORDS))

    assert not list(outside.iterdir())
    (path,) = claimed
    assert len(SplitDataLoader(path if place == "writer" else path / "writer.0000")) > NUM_RECORDS
