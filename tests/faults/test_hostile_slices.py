"""A million hostile inputs, in slices: only errors of the tree come out, each within a second and 256 MiB.

    family, number of the slice ──> seed ──> cases in a forked child, which may take no more memory
      parsers    each structure of the format, its checksums right again or not     (tests/format/test_parsers.py)
      decoders   samples, npy, JSON, text, entries and keys of a cache              (test_fuzzed_decoders.py)
      datasets   whole datasets of every kind, opened, read, verified, repaired     (test_forged_files.py)
      legacy     directories of splitdataloader
      sources    archives, tables and shards that are converted                     (test_hostile_matrix.py)

A slice is repeated by its name: pytest -m soak -k "parsers-3".
"""

from __future__ import annotations

import importlib
import os
import random
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

import pytest

from splitdata import (
    SplitDataError,
    SplitDataLoader,
    SplitWriter,
    convert,
    delete,
    open_source,
    repair,
    verify,
)
from splitdata.samples.tensors import has_torch
from tests.conversion.sources.test_hostile_matrix import KINDS as SOURCES
from tests.conversion.sources.test_hostile_matrix import shard_of
from tests.dataset.record_kinds import GROUPED_KINDS, KINDS
from tests.faults.file_faults import fast_folder
from tests.faults.hostile_values import Mutations
from tests.faults.test_forged_files import sealed
from tests.faults.test_fuzzed_decoders import DECODERS, look_at
from tests.forked import answer_of_child
from tests.format.test_parsers import PARSERS, changed

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="a slice runs in a child")

MOST_SECONDS = 1.0
MOST_BYTES = 256 << 20
# Of each family, together a million: how many slices, and cases of each.
SLICES = {
    "parsers": (14, 50_000),
    "decoders": (11, 20_000),
    "datasets": (10, 4_000),
    "legacy": (4, 5_000),
    "sources": (4, 5_000),
}
FEW = {"parsers": 2000, "decoders": 800, "datasets": 40, "legacy": 60, "sources": 60}

Case: TypeAlias = Callable[[random.Random], object]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with fast_folder(tmp_path) as path:
        yield path


# -- families ----------------------------------------------------------------------------------------


def parsers(_: Path) -> Case:
    every = [*PARSERS.values()]

    def case(source: random.Random) -> None:
        parser = source.choice(every)
        data = changed(parser.valid, source)
        with suppress(SplitDataError):
            parser.parse(parser.seal(data) if source.random() < 0.6 and len(data) > 32 else data)

    return case


def decoders(_: Path) -> Case:
    every = [*DECODERS.items()]

    def case(source: random.Random) -> None:
        name, (valid, decode) = source.choice(every)
        data = Mutations(source.getrandbits(64)).of(source.choice(valid))
        with suppress(SplitDataError):
            try:
                look_at(decode(data))
            except ValueError as error:
                # Of two samples that are no batch.
                if name != "batch" or isinstance(error, SplitDataError):
                    raise

    return case


def read_some(path: Path) -> None:
    with SplitDataLoader(path, max_record_bytes=1 << 20) as loader:
        count = len(loader)
        for position in {0, 1, count // 2, count - 1} & {*range(min(count, 1 << 40))}:
            for read in (loader.__getitem__, loader.view, loader.key, lambda at: loader[[at, 0]]):
                with suppress(SplitDataError):
                    read(position)
        with suppress(SplitDataError, KeyError):
            loader.find("key of record 3")
        for _ in range(2):
            with suppress(SplitDataError):
                for _ in zip(range(60), loader.iterate_binwise(), strict=False):
                    pass


def with_changes(original: Path, source: random.Random) -> Path:
    """Return a copy of a dataset with some files changed, with checksums that are right again, or not."""
    path = original.parent.parent / "changed"
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(original, path)
    found = sorted(file for file in path.rglob("*") if file.is_file())
    for file in source.sample(found, min(len(found), source.choice((1, 1, 2, 3)))):
        data = changed(file.read_bytes(), source)
        file.write_bytes(sealed(file, data) if source.random() < 0.6 else data)
    return path


def use_of(originals: list[Path]) -> Case:
    def case(source: random.Random) -> None:
        path = with_changes(source.choice(originals), source)
        for use in (read_some, lambda path: verify(path, num_workers=1)):
            with suppress(SplitDataError, OSError):
                use(path)
        if source.random() < 0.3:
            with suppress(SplitDataError, OSError):
                repair(path, adopt=source.random() < 0.5)

    return case


def datasets(folder: Path) -> Case:
    originals = folder / "originals"
    for kind in (*KINDS, *GROUPED_KINDS):
        if kind.name != "large" and "dictionary" not in kind.name:
            for name, write in ((kind.name, kind.write_sealed), (f"{kind.name} open", kind.write_open)):
                write(originals / name)
                delete(originals / name, positions=[3, 7])
    with SplitWriter(originals / "dictionary", compression="zstd", dictionary=True, durability="none") as writer:
        writer.write_many(b'{"number": %d, "words": ["alike", "%d"]}' % (n, n % 17) for n in range(200))
    return use_of(sorted(originals.iterdir()))


def legacy(folder: Path) -> Case:
    old = pytest.importorskip("splitdataloader", reason="the package whose layout is read")
    records = [b"%d" % number * (number % 9) for number in range(30)]
    old.write_split_data(str(folder / "originals" / "old"), records, splits=3)
    return use_of([folder / "originals" / "old"])


def sources(folder: Path) -> Case:
    originals: list[tuple[Path, Path]] = []
    for name, make in SOURCES.items():
        (folder / "originals" / name).mkdir(parents=True)
        path = make(folder / "originals" / name)
        originals.append((path, shard_of(path)))
    whole = {file: file.read_bytes() for _, file in originals}

    def case(source: random.Random) -> None:
        path, file = source.choice(originals)
        data = changed(whole[file], source)
        file.write_bytes(data)
        try:
            if source.random() < 0.1:
                convert(path, folder / "converted", mode="overwrite", durability="none")
            else:
                for _ in zip(range(100), open_source(path), strict=False):
                    pass
        except (SplitDataError, OSError):
            pass
        finally:
            file.write_bytes(whole[file])

    return case


FAMILIES: dict[str, Callable[[Path], Case]] = {
    "parsers": parsers,
    "decoders": decoders,
    "datasets": datasets,
    "legacy": legacy,
    "sources": sources,
}


# -- slices ------------------------------------------------------------------------------------------


def limit_memory() -> None:
    """Let this process take so much more than it has; what wants more gets MemoryError, which is none of the tree."""
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * os.sysconf("SC_PAGE_SIZE") + MOST_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def run_slice(family: str, number: int, count: int, folder: Path) -> float:
    """Run the cases of one slice in a child; returns the most seconds of processor time that one took."""
    case = FAMILIES[family](folder)

    def run() -> str:
        warnings.simplefilter("ignore")
        # Loads what is loaded late, before memory is limited.
        case(random.Random("first"))
        if Path("/proc/self/statm").exists():
            limit_memory()
        longest = 0.0
        for at in range(count):
            seed = f"{family} {number} {at}"
            start = time.process_time()
            try:
                case(random.Random(seed))
            except BaseException as error:
                raise AssertionError(f"case {seed!r}: {type(error).__name__}: {error}") from error
            longest = max(longest, time.process_time() - start)
        return str(longest)

    return float(answer_of_child(run))


@pytest.mark.parametrize("family", SLICES)
def test_hostile_inputs_give_errors_of_the_tree_alone(family: str, folder: Path) -> None:
    run_slice(family, 1000, FEW[family], folder)


@pytest.mark.soak
@pytest.mark.time_limit(3000)
@pytest.mark.parametrize(
    ("family", "number"), [(family, number) for family, (slices, _) in SLICES.items() for number in range(slices)]
)
def test_slice_of_a_million_hostile_inputs_is_refused_or_read_within_bounds(
    family: str, number: int, folder: Path
) -> None:
    if family == "decoders" and has_torch():
        # A sample may become one with tensors, and torch takes more memory than a case may.
        importlib.import_module("torch")
    assert run_slice(family, number, SLICES[family][1], folder) < MOST_SECONDS


def test_slices_are_a_million_inputs() -> None:
    assert sum(slices * count for slices, count in SLICES.values()) >= 1_000_000
