"""The layout of a dataset's bins: its own, of several segments, and of a directory of splitdataloader."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from splitdata import ClosedError, SplitDataLoader, SplitWriter
from splitdata.order.bin_layout import BinLayout
from splitdata.order.epoch_order import epoch_order
from tests.dataset.disk import written

RECORDS = [b"%d" % number for number in range(300)]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two segments, of 7 bins and of 3."""
    path = written(tmp_path_factory.mktemp("layout") / "data", RECORDS[:200], bins=7)
    with SplitWriter(path, mode="append", bins=3, durability="none", compression="zstd") as writer:
        writer.write_many(RECORDS[200:])
    return path


def binwise(layout: BinLayout) -> list[int]:
    """Return the records of all bins, one bin after the other."""
    return [
        position
        for number, count in enumerate(layout.counts.tolist())
        for position in layout.positions(np.full(count, number), np.arange(count)).tolist()
    ]


def test_layout_lists_records_as_the_bins_are_walked(path: Path) -> None:
    loader = SplitDataLoader(path)

    assert len(loader.bin_layout().counts) == 10
    assert binwise(loader.bin_layout()) == [position for position, _ in loader.iterate_binwise(with_positions=True)]


def test_layout_of_several_datasets_numbers_their_bins_through(path: Path) -> None:
    loader = SplitDataLoader([path, path])

    assert loader.bin_layout().num_records == 600
    assert binwise(loader.bin_layout()) == [position for position, _ in loader.iterate_binwise(with_positions=True)]


def test_layout_of_a_seed_directory_follows_its_index(tmp_path: Path) -> None:
    old = pytest.importorskip("splitdataloader", reason="the package whose layout is read")
    old.write_split_data(str(tmp_path / "old"), RECORDS, splits=7, shuffle=True)
    loader = SplitDataLoader(tmp_path / "old")

    layout = loader.bin_layout()

    assert binwise(layout) == [position for position, _ in loader.iterate_binwise(with_positions=True)]
    expected = [number for number, count in enumerate(layout.counts.tolist()) for _ in range(count)]
    assert layout.bins_of(np.array(binwise(layout))).tolist() == expected


def test_order_of_one_lane_is_that_of_the_shuffled_walk(path: Path) -> None:
    loader = SplitDataLoader(path)
    for seed, epoch, interleave in [(0, 0, 4), (1, 2, 1), (5, 0, 100)]:
        order = epoch_order("bins", 300, seed=seed, epoch=epoch, interleave=interleave, bins=loader.bin_layout())
        walked = loader.iterate_binwise(True, seed, epoch=epoch, interleave=interleave, with_positions=True)

        assert order(np.arange(300)).tolist() == [position for position, _ in walked]


def test_layout_of_an_empty_dataset_has_no_records(tmp_path: Path) -> None:
    layout = SplitDataLoader(written(tmp_path / "data", [])).bin_layout()

    assert layout.num_records == 0
    assert epoch_order("bins", 0, seed=0, epoch=0, bins=layout)(np.empty(0, np.int64)).tolist() == []


def test_layout_of_a_closed_loader_is_refused(path: Path) -> None:
    loader = SplitDataLoader(path)
    loader.close()

    with pytest.raises(ClosedError):
        loader.bin_layout()
