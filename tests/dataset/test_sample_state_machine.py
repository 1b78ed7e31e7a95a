"""Samples written, committed, appended, converted and read in any order, held against a Python list."""

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
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from splitdata import SampleDataset, SplitWriter, convert, encode_sample, repair, verify
from tests.samples.drawn import same

# Of few structures and more shapes than have schemas of their own, and some that hardly come twice.
SAMPLES = st.one_of(
    st.integers(0, 12).map(lambda size: {"array": np.arange(size, dtype=np.uint8), "label": size}),
    st.text(max_size=4).map(lambda text: {"text": text, "none": None}),
    st.integers().map(lambda number: [number, 0.5]),
    st.sampled_from("abcdefgh").map(lambda key: {key: b"bytes"}),
)
OPTIONS = st.fixed_dictionaries(
    {
        "bins": st.integers(1, 3),
        "compression": st.sampled_from([None, "zstd"]),
        "group": st.sampled_from([1, 1, 2]),
        "durability": st.just("none"),
    }
)


class Samples(RuleBasedStateMachine):
    """Two writers at most, one reader, and what they should show."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "data"
        self.committed: list[Any] = []
        self.writers: dict[int, SplitWriter] = {}
        self.pending: dict[int, list[Any]] = {}
        self.patch = pytest.MonkeyPatch()
        # So that samples lie in files before they are committed, and folds come often.
        self.patch.setattr("splitdata.dataset.writer._MIN_CHUNK_BYTES", 200)
        self.patch.setattr("splitdata.dataset.writer._CHUNK_BYTES_PER_BIN", 1)
        self.patch.setattr("splitdata.dataset.writing.fold._FANOUT", 3)

    @initialize(options=OPTIONS, samples=st.lists(SAMPLES, max_size=3))
    def create(self, options: dict[str, Any], samples: list[Any]) -> None:
        with SplitWriter(self.path, codec="sample", **options) as writer:
            writer.write_samples(samples)
        self.committed += samples
        self.dataset = SampleDataset(self.path)
        self.shown = list(self.committed)

    @rule(options=OPTIONS)
    def open_writers(self, options: dict[str, Any]) -> None:
        for which in {0, 1} - set(self.writers):
            self.writers[which] = SplitWriter(self.path, mode="append", **options)
            self.pending[which] = []

    @precondition(lambda self: self.writers)
    @rule(data=st.data(), samples=st.lists(SAMPLES, max_size=5), way=st.integers(0, 2))
    def write(self, data: st.DataObject, samples: list[Any], way: int) -> None:
        which = data.draw(st.sampled_from(sorted(self.writers)))
        writer = self.writers[which]
        if way == 0:
            writer.write_samples(samples)
        else:
            (writer.write_encoded if way == 1 else writer.write_many)(map(encode_sample, samples))
        self.pending[which] += samples

    @precondition(lambda self: self.writers)
    @rule(sample=SAMPLES)
    def close_all(self, sample: Any) -> None:
        for which, writer in self.writers.items():
            self.committed += [*self.pending.pop(which), sample]
            writer.write_sample(sample)
            writer.close()
        self.writers.clear()

    @precondition(lambda self: self.writers)
    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        which = data.draw(st.sampled_from(sorted(self.writers)))
        self.writers[which].commit()
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

    @rule(pickled=st.booleans())
    def refresh(self, pickled: bool) -> None:
        if pickled:
            fingerprint = self.dataset.fingerprint
            self.dataset = pickle.loads(pickle.dumps(self.dataset))
            assert self.dataset.fingerprint == fingerprint
        else:
            self.dataset.refresh()
            self.shown = list(self.committed)

    @rule(data=st.data())
    def read(self, data: st.DataObject) -> None:
        assert all(map(same, self.dataset, self.shown))
        if self.shown:
            positions = data.draw(st.lists(st.integers(-len(self.shown), len(self.shown) - 1), max_size=6))
            expected = [self.shown[position] for position in positions]
            assert all(map(same, self.dataset[np.array(positions, np.int64)], expected))
            assert [self.dataset.encoded(position) for position in positions] == list(map(encode_sample, expected))

    def teardown(self) -> None:
        try:
            for writer in self.writers.values():
                writer.abort()
            if self.path.exists():
                convert(self.path, self.folder / "copy", durability="none")
                for path in (self.path, self.folder / "copy"):
                    dataset = SampleDataset(path)
                    assert len(dataset) == len(self.committed)
                    assert all(map(same, dataset, self.committed))
                    assert verify(path, num_workers=1).is_intact
                    assert repair(path).actions == ()
        finally:
            self.patch.undo()
            shutil.rmtree(self.folder)


TestSamples = Samples.TestCase
TestSamples.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)
