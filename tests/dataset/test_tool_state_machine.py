"""All tools on one dataset, in any order, held against a Python list: the long life of a dataset.

list of (record, key), None where one was deleted
dataset ── write, delete, compact, merge, append, rebin, filter, sample, split, repair, damage, kill ... ──> the same
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from splitdata import (
    SplitDataLoader,
    SplitWriter,
    append,
    compact,
    delete,
    describe,
    diff,
    filter_records,
    merge,
    rebin,
    repair,
    sample,
    split,
    verify,
)
from tests.dataset.merging.two_datasets import Content, contents_of

RECORDS = st.lists(
    st.binary(max_size=30) | st.integers(0, 900).map(lambda size: b"%d " % size * (size // 4)), max_size=9
)
OPTIONS = st.fixed_dictionaries(
    {
        "bins": st.integers(1, 4),
        "compression": st.sampled_from([None, "zstd"]),
        "alignment": st.sampled_from([8, 64]),
        "group": st.sampled_from([1, 1, 4]),
        "durability": st.just("none"),
    }
)
# So many records a dataset may have before merging it with itself would take too long.
MOST_RECORDS = 200


class Life(RuleBasedStateMachine):
    """A dataset, and what it should hold; what a tool makes anew takes its place."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "0"
        self.held: list[Content] = []
        self.num_made = 0
        self.num_keys = 0
        self.readers: list[tuple[SplitDataLoader, list[Content]]] = []
        self.patch = pytest.MonkeyPatch()
        # Folds, several blocks and several commits of a conversion come often this way.
        self.patch.setattr("splitdata.dataset.writing.fold._FANOUT", 3)
        self.patch.setattr("splitdata.dataset.writer._MIN_CHUNK_BYTES", 200)
        self.patch.setattr("splitdata.dataset.writer._CHUNK_BYTES_PER_BIN", 1)
        self.patch.setattr("splitdata.conversion.conversion_log._COMMIT_BYTES", 500)

    # -- parts -------------------------------------------------------------------------------

    @property
    def live(self) -> list[tuple[bytes, str | None]]:
        return [one for one in self.held if one is not None]

    def with_keys(self, records: list[bytes]) -> list[tuple[bytes, str | None]]:
        """Give every other record a key that none has had."""
        found: list[tuple[bytes, str | None]] = []
        for number, record in enumerate(records):
            self.num_keys += 1
            found.append((record, f"key {self.num_keys}" if number % 2 else None))
        return found

    def new_path(self) -> Path:
        self.num_made += 1
        return self.folder / str(self.num_made)

    def take(self, path: Path, held: list[Content]) -> None:
        """Go on with another dataset, and remove the one before half of the time, which is to change nothing."""
        if self.num_made % 2 and not self.readers:
            shutil.rmtree(self.path)
        self.path, self.held = path, held

    def newest_segment(self) -> Path:
        return self.path / "segments" / describe(self.path).segments[-1].id

    # -- writing -----------------------------------------------------------------------------

    @initialize(options=OPTIONS, records=RECORDS)
    def create(self, options: dict[str, Any], records: list[bytes]) -> None:
        self.written = self.with_keys(records)
        self.held = list(self.written)
        with SplitWriter(self.path, **options) as writer:
            writer.write_many(records, keys=[key for _, key in self.written])

    @rule(
        options=OPTIONS,
        records=RECORDS,
        ends=st.sampled_from(["closes", "gives up", "is killed", "commits, is killed"]),
    )
    def write(self, options: dict[str, Any], records: list[bytes], ends: str) -> None:
        pairs = self.with_keys(records)
        writer = SplitWriter(self.path, mode="append", **options)
        writer.write_many(records, keys=[key for _, key in pairs])
        if ends == "gives up":
            writer.abort()
            return
        if ends.startswith("commits") or ends == "closes":
            writer.commit()
            self.held += pairs
        if ends == "closes":
            writer.close()
            return
        writer.write_many([b"never committed", b"nor this"])
        writer._guarded(writer._flush)
        writer._release()

    # -- tools -------------------------------------------------------------------------------

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def delete_some(self, data: st.DataObject) -> None:
        positions = data.draw(st.lists(st.integers(0, len(self.held) - 1), max_size=4))
        keys = [key for _, key in self.live if key is not None]
        chosen = data.draw(st.lists(st.sampled_from(keys), max_size=2)) if keys else []
        report = delete(self.path, positions=positions, keys=chosen)
        gone = {place for place, one in enumerate(self.held) if one is not None and one[1] in chosen} | set(positions)
        assert set(report.positions) == {place for place in gone if self.held[place] is not None}
        for place in gone:
            self.held[place] = None

    @rule(erase=st.booleans(), dry=st.booleans())
    def compact(self, erase: bool, dry: bool) -> None:
        if dry:
            compact(self.path, dry_run=True)
            return
        if erase:
            self.close_readers()
        report = compact(self.path, erase=erase)
        assert report.num_deleted == self.held.count(None)
        assert not erase or report.is_erased

    @precondition(lambda self: len(self.held) < MOST_RECORDS)
    @rule(options=OPTIONS, records=RECORDS, twice=st.booleans())
    def merge(self, options: dict[str, Any], records: list[bytes], twice: bool) -> None:
        other, pairs = self.new_path(), self.with_keys(records)
        with SplitWriter(other, **options) as writer:
            writer.write_many(records, keys=[key for _, key in pairs])
        made = self.new_path()
        again = [self.path] * twice
        merge([self.path, other, *again], made, allow_duplicate_keys=True)
        held = [*self.held, *pairs, *self.held * twice]
        self.take(made, held)

    @precondition(lambda self: len(self.held) < MOST_RECORDS)
    @rule(options=OPTIONS, records=RECORDS, again=st.booleans())
    def append(self, options: dict[str, Any], records: list[bytes], again: bool) -> None:
        other, pairs = self.new_path(), self.with_keys(records)
        with SplitWriter(other, **options) as writer:
            writer.write_many(records, keys=[key for _, key in pairs])
        append([other], self.path)
        self.held += pairs
        if again:
            assert append([other], self.path).num_linked == 0

    def renewed(self, make: Callable[[Path], object], held: list[Content]) -> None:
        """Let a tool make another dataset, which goes on with these records; a key is that of its last record."""
        made = self.new_path()
        make(made)
        make(made)
        self.take(made, held)

    @property
    def has_unique_keys(self) -> bool:
        keys = [key for _, key in self.live if key is not None]
        return len(set(keys)) == len(keys)

    @precondition(lambda self: self.has_unique_keys)
    @rule(bins=st.integers(1, 4), group=st.sampled_from([None, 1, 4]), codec=st.sampled_from([None, "zstd", "none"]))
    def rebin(self, bins: int, group: int | None, codec: Any) -> None:
        source = self.path
        self.renewed(lambda path: rebin(source, path, bins=bins, group=group, compression=codec), [*self.live])

    @precondition(lambda self: self.has_unique_keys)
    @rule(parity=st.integers(0, 1))
    def filter(self, parity: int) -> None:
        source = self.path

        def is_wanted(record: bytes) -> bool:
            return len(record) % 2 == parity

        held: list[Content] = [one for one in self.live if is_wanted(one[0])]
        self.renewed(lambda path: filter_records(source, path, is_wanted), held)

    @precondition(lambda self: self.has_unique_keys)
    @rule(count=st.integers(0, 30), seed=st.integers(0, 3))
    def sample(self, count: int, seed: int) -> None:
        made = self.new_path()
        sample(self.path, made, count, seed=seed)
        found = contents_of(made)
        assert len(found) == min(count, len(self.live))
        rest: Iterator[Content] = iter(self.live)
        assert all(one in rest for one in found)

    @precondition(lambda self: self.has_unique_keys)
    @rule(views=st.booleans(), share=st.sampled_from([0.2, 0.5, 1.0]))
    def split(self, views: bool, share: float) -> None:
        folder = self.new_path()
        split(self.path, folder, {"one": share} | ({"two": 1 - share} if share < 1 else {}), views=views)
        parts = [contents_of(path) for path in sorted(folder.iterdir())]
        taken = sorted((one for part in parts for one in part if one is not None), key=str)
        assert taken == sorted(self.live, key=str)

    # -- damage and repair -------------------------------------------------------------------

    @rule(adopt=st.booleans())
    def repair(self, adopt: bool) -> None:
        before = len(self.held)
        report = repair(self.path, adopt=adopt)
        found = contents_of(self.path)
        # What a killed writer had in its files is whole, and comes behind all that was committed.
        assert found[:before] == self.held
        assert len(found) == before + (report.num_adopted if adopt else 0)
        self.held = found

    @precondition(lambda self: self.held)
    @rule(what=st.sampled_from(["index", "header", "manifest"]))
    def damage_and_repair(self, what: str) -> None:
        self.close_readers()
        file = self.newest_segment() / "index"
        if what == "manifest":
            file = sorted(self.path.glob("manifest.*.json"))[-1]
        data = bytearray(file.read_bytes())
        data[{"index": -1, "header": 30, "manifest": 40}[what]] ^= 4
        # Other datasets may have the same file, by another name.
        file.unlink()
        file.write_bytes(data)
        repair(self.path)
        assert contents_of(self.path) == self.held

    # -- readers -----------------------------------------------------------------------------

    @rule(io=st.sampled_from(["mmap", "pread"]))
    def open_reader(self, io: Any) -> None:
        if len(self.readers) < 3:
            self.readers.append((SplitDataLoader(self.path, io=io), list(self.held)))

    @rule()
    def close_readers(self) -> None:
        for reader, held in self.readers:
            live = [place for place, one in enumerate(held) if one is not None]
            assert reader[live] == [held[place][0] for place in live]  # type: ignore[index]  # none is None
            reader.close()
        self.readers.clear()

    @rule()
    def compare(self) -> None:
        if self.has_unique_keys:
            assert diff(self.path, self.path).num_same == len(self.live)

    @invariant()
    def all_records_are_there(self) -> None:
        if self.path.exists():
            assert contents_of(self.path) == self.held

    def teardown(self) -> None:
        try:
            self.close_readers()
            if self.path.exists():
                assert verify(self.path, num_workers=1).findings == ()
                assert describe(self.path).num_records == len(self.held)
        finally:
            for reader, _ in self.readers:
                reader.close()
            self.patch.undo()
            shutil.rmtree(self.folder)


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=5, stateful_step_count=15, deadline=None)


@pytest.mark.soak
@pytest.mark.time_limit(3000)
@pytest.mark.parametrize("part", range(20))
def test_long_life_of_a_dataset_is_that_of_a_list(part: int) -> None:
    # Together 2,000 lives of 50 steps, each part of them others.
    often = settings(max_examples=100, stateful_step_count=50, deadline=None, derandomize=False)
    run_state_machine_as_test(Life, settings=often)
