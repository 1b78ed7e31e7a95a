"""Writing, committing, closing, appending and reading in any order, held against a Python list."""

from __future__ import annotations

import pickle
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from splitdata import SplitDataLoader, SplitWriter, verify
from splitdata.format import spec

RECORD = st.binary(max_size=40) | st.integers(0, 1500).map(lambda size: (b"%d " % size * size)[:size])
OPTIONS = st.fixed_dictionaries(
    {
        "bins": st.none() | st.integers(1, 5),
        "compression": st.sampled_from([None, "zstd"]),
        "alignment": st.sampled_from([8, 64]),
        "group": st.sampled_from([1, 4, 32]),
        "durability": st.just("none"),
    }
)


class Dataset(RuleBasedStateMachine):
    """Two writers at most, one reader, and what they should show."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "data"
        self.committed: list[bytes] = []
        self.writers: dict[int, SplitWriter] = {}
        self.pending: dict[int, list[bytes]] = {}
        self.patch = pytest.MonkeyPatch()
        # Large records, several blocks and several chunks come often this way.
        self.patch.setattr(spec, "LARGE_RECORD_BYTES", 1000)
        self.patch.setattr(spec, "BLOCK_BYTES", 128)
        self.patch.setattr("splitdata.format.compression._WORTHWHILE", 64)
        self.patch.setattr("splitdata.dataset.writer._MIN_CHUNK_BYTES", 200)
        self.patch.setattr("splitdata.dataset.writer._CHUNK_BYTES_PER_BIN", 1)

    @initialize(options=OPTIONS, records=st.lists(RECORD, max_size=5))
    def create(self, options: dict[str, Any], records: list[bytes]) -> None:
        with SplitWriter(self.path, **options) as writer:
            writer.write_many(records)
        self.committed += records
        self.loader = SplitDataLoader(self.path)
        self.shown = list(self.committed)

    @rule(which=st.integers(0, 1), options=OPTIONS)
    def open_writer(self, which: int, options: dict[str, Any]) -> None:
        if which not in self.writers:
            self.writers[which] = SplitWriter(self.path, mode="append", **options)
            self.pending[which] = []

    @precondition(lambda self: self.writers)
    @rule(data=st.data(), record=RECORD)
    def write(self, data: st.DataObject, record: bytes) -> None:
        which = data.draw(st.sampled_from(sorted(self.writers)))
        self.writers[which].write(record)
        self.pending[which].append(record)

    @precondition(lambda self: self.writers)
    @rule(data=st.data(), records=st.lists(RECORD, max_size=12))
    def write_many(self, data: st.DataObject, records: list[bytes]) -> None:
        which = data.draw(st.sampled_from(sorted(self.writers)))
        assert self.writers[which].write_many(iter(records)) == len(records)
        self.pending[which] += records

    @precondition(lambda self: self.writers)
    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        which = data.draw(st.sampled_from(sorted(self.writers)))
        positions = self.writers[which].commit()
        if self.pending[which]:
            assert positions == range(len(self.committed), len(self.committed) + len(self.pending[which]))
        else:
            assert len(positions) == 0
        self.committed += self.pending[which]
        self.pending[which] = []

    @precondition(lambda self: self.writers)
    @rule(data=st.data(), drop=st.booleans())
    def close_writer(self, data: st.DataObject, drop: bool) -> None:
        which = data.draw(st.sampled_from(sorted(self.writers)))
        writer, pending = self.writers.pop(which), self.pending.pop(which)
        if drop:
            writer.abort()
        else:
            writer.close()
            self.committed += pending

    @rule()
    def refresh(self) -> None:
        changed = self.loader.refresh()
        assert changed or self.shown == self.committed
        self.shown = list(self.committed)

    @rule(io=st.sampled_from(["auto", "mmap", "pread"]))
    def reopen(self, io: Any) -> None:
        self.loader.close()
        self.loader = SplitDataLoader(self.path, io=io)
        self.shown = list(self.committed)

    @rule()
    def pickle(self) -> None:
        self.loader = pickle.loads(pickle.dumps(self.loader))

    @rule(seed=st.integers(0, 100), interleave=st.integers(1, 5))
    def walk(self, seed: int, interleave: int) -> None:
        assert list(self.loader) == self.shown
        assert sorted(self.loader.iterate_binwise(with_positions=True)) == list(enumerate(self.shown))
        shuffled = self.loader.iterate_binwise(True, seed, interleave=interleave, with_positions=True)
        assert sorted(shuffled) == list(enumerate(self.shown))

    @rule(data=st.data())
    def read(self, data: st.DataObject) -> None:
        count = len(self.shown)
        where = data.draw(st.slices(count) if count else st.just(slice(None)))
        assert self.loader[where] == self.shown[where]
        if count:
            positions = data.draw(st.lists(st.integers(-count, count - 1), max_size=10))
            assert self.loader[np.array(positions, np.int64)] == [self.shown[position] for position in positions]
            index = data.draw(st.integers(-count, count - 1))
            assert self.loader[index] == self.shown[index] == self.loader.view(index)
            assert self.loader.sizes[index] == len(self.shown[index])
            assert self.loader.read_range(index, 100, 700) == self.shown[index][100:700]

    @invariant()
    def lengths_agree(self) -> None:
        if hasattr(self, "loader"):
            assert len(self.loader) == len(self.shown)

    def teardown(self) -> None:
        try:
            for writer in self.writers.values():
                writer.abort()
            if self.path.exists():
                loader = SplitDataLoader(self.path)
                assert list(loader) == self.committed
                with SplitWriter(self.folder / "other", bins=1, durability="none") as other:
                    other.write_many(self.committed)
                assert loader.fingerprint == SplitDataLoader(self.folder / "other").fingerprint
                assert verify(self.path, num_workers=1).findings == ()
        finally:
            self.patch.undo()
            shutil.rmtree(self.folder)


TestDataset = Dataset.TestCase
TestDataset.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
