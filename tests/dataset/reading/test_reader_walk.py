"""Walking: in write order, bin by bin, shuffled; deterministic, complete, bounded in memory."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitdata import ClosedError, FormatError, SplitDataLoader, SplitWriter
from splitdata.dataset.reading import iteration
from tests.command import run_python
from tests.dataset.disk import written

Io = Literal["mmap", "pread"]
RECORDS = [b"%d " % number * (number % 9) for number in range(500)]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of two segments: 7 bins, then 3 compressed ones."""
    path = written(tmp_path_factory.mktemp("walk") / "data", RECORDS[:300], bins=7)
    with SplitWriter(path, mode="append", bins=3, compression="zstd") as writer:
        writer.write_many(RECORDS[300:])
    return path


@pytest.fixture(params=["mmap", "pread"])
def loader(request: pytest.FixtureRequest, path: Path) -> SplitDataLoader:
    return SplitDataLoader(path, io=request.param)


@pytest.fixture(params=[None, 1, 40])
def chunks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Walk in chunks of the usual size, of one record, of forty."""
    if request.param:
        for name in ("_CHUNK_RECORDS", "_CHUNK_VIEWS", "_SHUFFLED_RECORDS"):
            monkeypatch.setattr(iteration, name, request.param)
        monkeypatch.setattr(iteration, "_CHUNK_BYTES", 40 * request.param)


def binwise(positions: list[int]) -> list[bytes]:
    return [RECORDS[position] for position in positions]


ORDER = [
    p for start, n, bins in ((0, 300, 7), (300, 200, 3)) for b in range(bins) for p in range(start + b, start + n, bins)
]


@pytest.mark.usefixtures("chunks")
def test_iteration_is_in_write_order(loader: SplitDataLoader) -> None:
    assert list(loader) == RECORDS
    assert list(loader) == RECORDS


@pytest.mark.usefixtures("chunks")
def test_binwise_is_bin_after_bin_in_each_by_position(loader: SplitDataLoader) -> None:
    assert list(loader.iterate_binwise()) == binwise(ORDER)
    assert list(loader.iterate_binwise(with_positions=True)) == list(zip(ORDER, binwise(ORDER), strict=True))


@pytest.mark.usefixtures("chunks")
def test_views_are_the_same_records(loader: SplitDataLoader) -> None:
    views = list(loader.iterate_binwise(as_views=True))
    loader.close()

    assert {type(view) for view in views} == {memoryview}
    assert all(view.readonly for view in views)
    assert [bytes(view) for view in views] == binwise(ORDER)
    both = list(loader_of(loader).iterate_binwise(as_views=True, with_positions=True))
    assert [(position, bytes(view)) for position, view in both] == list(zip(ORDER, binwise(ORDER), strict=True))


def loader_of(loader: SplitDataLoader) -> SplitDataLoader:
    return SplitDataLoader(loader.paths[0])


@pytest.mark.usefixtures("chunks")
@pytest.mark.parametrize("interleave", [1, 2, 4, 10, 1000])
def test_shuffled_walk_yields_every_record_once_with_its_position(loader: SplitDataLoader, interleave: int) -> None:
    found = list(loader.iterate_binwise(shuffle=True, seed=5, interleave=interleave, with_positions=True))

    assert sorted(position for position, _ in found) == list(range(500))
    assert all(record == RECORDS[position] for position, record in found)
    assert [position for position, _ in found] != ORDER


@pytest.mark.usefixtures("chunks")
def test_seeded_order_is_frozen(loader: SplitDataLoader) -> None:
    """A resumed run of a later version, another chunk size and another way to read must meet the same order."""
    found = [position for position, _ in loader.iterate_binwise(True, 7, epoch=2, with_positions=True)]

    assert found[:12] == [167, 322, 379, 497, 174, 448, 323, 499, 490, 141, 57, 320]
    assert len(found) == 500


def test_order_depends_on_seed_epoch_and_interleave_alone(path: Path) -> None:
    def order(seed: int, epoch: int, interleave: int = 4) -> tuple[int, ...]:
        walked = SplitDataLoader(path).iterate_binwise(
            True, seed, epoch=epoch, interleave=interleave, with_positions=True
        )
        return tuple(position for position, _ in walked)

    orders = {(seed, epoch): order(seed, epoch) for seed in range(4) for epoch in range(4)}

    assert len(set(orders.values())) == 16
    assert orders[1, 2] == order(1, 2)
    assert orders[1, 2] != order(1, 2, interleave=2)


def test_few_bins_are_mixed_at_a_time(path: Path) -> None:
    found = [
        position for position, _ in SplitDataLoader(path).iterate_binwise(True, 1, interleave=1, with_positions=True)
    ]
    bins = [position % 7 if position < 300 else 10 + (position - 300) % 3 for position in found]
    changes = sum(a != b for a, b in pairwise(bins))

    assert changes == 9


def test_walks_leave_the_global_generators_alone_and_do_not_depend_on_them(path: Path) -> None:
    loader = SplitDataLoader(path)
    results = []
    for seed in (1, 2):
        random.seed(seed)
        np.random.seed(seed)
        before = random.getstate(), repr(np.random.get_state())
        results.append(list(loader.iterate_binwise(shuffle=True, seed=3)))
        list(loader.iterate_binwise(shuffle=True))
        assert (random.getstate(), repr(np.random.get_state())) == before

    assert results[0] == results[1]


def test_unseeded_walks_differ_whatever_the_global_seed(path: Path) -> None:
    loader = SplitDataLoader(path)
    orders = set()
    for _ in range(3):
        random.seed(0)
        np.random.seed(0)
        orders.add(tuple(loader.iterate_binwise(shuffle=True)))

    assert len(orders) == 3


def test_seed_is_used_only_with_shuffle(path: Path) -> None:
    assert list(SplitDataLoader(path).iterate_binwise(seed=9)) == binwise(ORDER)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"shuffle": True, "seed": -1}, ValueError),
        ({"shuffle": True, "seed": 1.5}, TypeError),
        ({"shuffle": True, "seed": float("nan")}, TypeError),
        ({"shuffle": True, "seed": True}, TypeError),
        ({"shuffle": True, "seed": "1"}, TypeError),
        ({"interleave": 0}, ValueError),
        ({"interleave": 2.5}, TypeError),
        ({"interleave": True}, TypeError),
        ({"epoch": -1}, ValueError),
        ({"epoch": 1.0}, TypeError),
        ({"shuffle": True, "as_views": True}, ValueError),
    ],
    ids=str,
)
def test_wrong_argument_is_refused_at_the_call(path: Path, options: dict[str, Any], error: type[Exception]) -> None:
    loader = SplitDataLoader(path)

    with pytest.raises(error):
        loader.iterate_binwise(**options)


def test_walks_may_be_interleaved_and_abandoned(loader: SplitDataLoader) -> None:
    first, second = iter(loader), loader.iterate_binwise(shuffle=True, seed=1)
    assert list(islice(first, 5)) == RECORDS[:5]
    next(second)
    assert list(islice(first, 5)) == RECORDS[5:10]
    assert loader[17] == RECORDS[17]
    del second
    assert list(first) == RECORDS[10:]


def test_walk_of_a_closed_loader_is_refused(loader: SplitDataLoader) -> None:
    loader.close()

    with pytest.raises(ClosedError):
        loader.iterate_binwise()
    with pytest.raises(ClosedError):
        next(iter(loader))


@given(
    segments=st.lists(
        st.tuples(st.integers(1, 6), st.lists(st.integers(0, 400), max_size=30), st.booleans()), min_size=1, max_size=4
    ),
    seed=st.integers(0, 2**70),
    interleave=st.integers(1, 8),
)
def test_all_ways_to_walk_agree(
    tmp_path_factory: pytest.TempPathFactory, segments: list[tuple[int, list[int], bool]], seed: int, interleave: int
) -> None:
    path = tmp_path_factory.mktemp("agree") / "data"
    expected: list[bytes] = []
    for bins, sizes, compressed in segments:
        with SplitWriter(
            path, mode="append", bins=bins, compression="zstd" if compressed else None, durability="none"
        ) as writer:
            records = [b"%d." % (len(expected) + number) * size for number, size in enumerate(sizes)]
            writer.write_many(records)
            expected += records
    loader = SplitDataLoader(path)

    assert list(loader) == loader[:] == expected
    for walked in (
        loader.iterate_binwise(with_positions=True),
        loader.iterate_binwise(True, seed, interleave=interleave, with_positions=True),
    ):
        assert sorted(walked) == list(enumerate(expected))


MEASURE = """
import sys
from pathlib import Path
from splitdata import SplitDataLoader

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) << 10

way, path = sys.argv[1:]
loader = SplitDataLoader(path, io="pread")
loader[0]
before = peak()
walks = {
    "order": lambda: iter(loader),
    "binwise": lambda: loader.iterate_binwise(),
    "shuffled": lambda: loader.iterate_binwise(shuffle=True, seed=1, interleave=1),
}
count = sum(1 for _ in walks[way]())
print(count, peak() - before)
"""


@pytest.fixture(scope="module")
def lopsided(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """150,000 records of 2 bytes, then one bin of 160 records of 1 MiB."""
    path = written(tmp_path_factory.mktemp("lopsided") / "data", [b"ab"] * 150_000, bins=1)
    with SplitWriter(path, mode="append", bins=1, durability="none") as writer:
        writer.write_many(bytes(1 << 20) for _ in range(160))
    return path


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="measures memory as Linux reports it")
@pytest.mark.parametrize("way", ["order", "binwise", "shuffled"])
def test_memory_of_a_walk_does_not_depend_on_the_size_of_a_bin(lopsided: Path, way: str) -> None:
    ended = run_python(
        "-c", "import sys\nsys.path.insert(0, '.')\n" + MEASURE, way, lopsided, cwd=Path(__file__).parents[2]
    )

    assert ended.returncode == 0, ended.stderr
    count, grown = map(int, ended.stdout.split())
    assert count == 150_160
    assert grown < 48 << 20


# -- records that cannot be read ---------------------------------------------------------------------------

WALKS: dict[str, Callable[[SplitDataLoader], Iterator[Any]]] = {
    "in order": iter,
    "bins": lambda loader: loader.iterate_binwise(),
    "bins, views": lambda loader: loader.iterate_binwise(as_views=True),
    "shuffled": lambda loader: loader.iterate_binwise(shuffle=True, seed=3),
}


def outcomes(records: Iterator[Any]) -> list[Any]:
    """Walk to the end, and go on behind each record that cannot be read; those are None."""
    found: list[Any] = []
    while True:
        try:
            found.append(next(records))
        except StopIteration:
            return found
        except FormatError:
            found.append(None)


@pytest.mark.parametrize("io", ["mmap", "pread"])
@pytest.mark.parametrize("iteration", WALKS)
def test_walk_raises_at_the_record_that_is_damaged_and_goes_on_behind_it(
    tmp_path: Path, iteration: str, io: Literal["mmap", "pread"]
) -> None:
    records = [b"record %d" % number for number in range(300)]
    with SplitWriter(tmp_path / "data", bins=3, durability="none") as writer:
        writer.write_many(records)
    with SplitDataLoader(tmp_path / "data", io=io) as loader:
        expected = [bytes(record) for record in WALKS[iteration](loader)]
    for file, text in (("000000.bin", b"record 60"), ("000002.bin", b"record 200")):
        path = next(tmp_path.rglob(file))
        path.write_bytes(path.read_bytes().replace(text, text[:-1] + b"x"))

    with SplitDataLoader(tmp_path / "data", io=io) as loader:
        found = outcomes(WALKS[iteration](loader))

    bad = {b"record 60", b"record 200"}
    assert [one and bytes(one) for one in found] == [None if record in bad else record for record in expected]


def test_walk_with_positions_goes_on_with_the_right_ones_behind_a_damaged_record(tmp_path: Path) -> None:
    records = [b"record %d" % number for number in range(90)]
    with SplitWriter(tmp_path / "data", bins=3, durability="none") as writer:
        writer.write_many(records)
    path = next(tmp_path.rglob("000001.bin"))
    path.write_bytes(path.read_bytes().replace(b"record 40", b"record xx"))
    with SplitDataLoader(tmp_path / "data") as loader:
        for shuffle in (False, True):
            found = outcomes(loader.iterate_binwise(shuffle, 1, with_positions=True))
            assert found.count(None) == 1
            pairs = sorted(pair for pair in found if pair)
            assert pairs == [pair for pair in enumerate(records) if pair[0] != 40]


def test_walk_over_a_missing_bin_and_an_index_that_is_cut_gives_all_other_records(tmp_path: Path) -> None:
    records = [b"record %d" % number for number in range(90)]
    with SplitWriter(tmp_path / "data", bins=3, durability="none") as writer:
        writer.write_many(records)
    next(tmp_path.rglob("000001.bin")).unlink()
    index = next(tmp_path.rglob("index"))
    index.write_bytes(index.read_bytes()[: 128 + 16 * 80])
    expected = [record if number % 3 != 1 and number < 80 else None for number, record in enumerate(records)]
    with SplitDataLoader(tmp_path / "data") as loader:
        assert outcomes(iter(loader)) == expected
        assert sorted(filter(None, outcomes(loader.iterate_binwise()))) == sorted(filter(None, expected))
