"""The compiled path beside that of Python: processor time of each way of reading and writing, both in turns.

    python -m benchmarks.compiled [--records 1000000] [--rounds 5] [--json RESULT]

One process, warm files; each number is the median of the rounds, in nanoseconds of a record. docs/speedups.md says what
each path is; SPLITDATA_PURE must not be set.

    128 bytes, in groups       as they are written where nobody says otherwise
    128 bytes                  each in a frame of its own
    10 KiB
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np

from splitdata import DistributedLoader, SplitDataLoader, SplitWriter, _compiled

# Name, bytes of a record, so many times fewer of them, records of a group.
_KINDS: Final = (("128 B, groups", 128, 1, None), ("128 B", 128, 1, 1), ("10 KiB", 10240, 50, None))
_BATCH: Final = 256
_BATCHES: Final = 80


def _take_path(name: str) -> None:
    """Have what is opened from now on use one path."""
    _compiled._found[:] = [_compiled._load() if name == "compiled" else None]


def _drain(records: Iterable[Any]) -> None:
    for _ in records:
        pass


def _write(path: Path, records: list[bytes], group: int | None) -> None:
    shutil.rmtree(path, ignore_errors=True)
    with SplitWriter(path, durability="none", group=group) as writer:
        writer.write_many(records)


def _load(reader: SplitDataLoader) -> None:
    """Take as many batches from a loader in this process."""
    with DistributedLoader(reader, batch_size=_BATCH, shuffle=True) as loader:
        for _, _ in zip(range(_BATCHES), loader, strict=False):
            pass


def _ways(count: int) -> dict[str, tuple[Callable[[SplitDataLoader], None], int]]:
    """Return what is measured, with so many records each."""
    generator = np.random.default_rng(1)
    rows = [generator.integers(0, count, _BATCH) for _ in range(_BATCHES)]
    lists = [row.tolist() for row in rows]
    ones = [position for some in lists for position in some]
    total = len(ones)
    return {
        "[i], random": (lambda reader: _drain(map(reader.__getitem__, ones)), total),
        "[i], in order": (lambda reader: _drain(map(reader.__getitem__, range(min(count, total)))), min(count, total)),
        "list of 256": (lambda reader: _drain(map(reader.__getitem__, lists)), total),
        "array of 256": (lambda reader: _drain(map(reader.__getitem__, rows)), total),
        "views of 256": (lambda reader: _drain(map(reader.views, rows)), total),
        "gather of 256": (lambda reader: _drain(map(reader.gather, rows)), total),
        "walk": (lambda reader: _drain(reader), count),
        "walk of bins, shuffled": (lambda reader: _drain(reader.iterate_binwise(shuffle=True, seed=1)), count),
        "loader, in process": (_load, total),
    }


def _measured(work: Callable[[], None], count: int) -> float:
    start = time.process_time()
    work()
    return (time.process_time() - start) * 1e9 / count


def measure(folder: Path, count: int, rounds: int) -> list[dict[str, Any]]:
    """Return a row for each kind of record and way, with the median of each path in nanoseconds of a record."""
    found = []
    for kind, size, fewer, group in _KINDS:
        num_records = max(_BATCH, count // fewer)
        generator = np.random.default_rng(0)
        records = [generator.bytes(size) for _ in range(num_records)]
        path = folder / "data"
        taken: dict[str, dict[str, list[float]]] = {}
        readers: dict[str, SplitDataLoader] = {}
        for name in ["python", "compiled"] * rounds:
            _take_path(name)
            seconds = _measured(lambda: _write(path, records, group), num_records)  # noqa: B023  # called at once
            taken.setdefault("write_many", {}).setdefault(name, []).append(seconds)
        for name in ("python", "compiled"):
            _take_path(name)
            readers[name] = SplitDataLoader(path)
            _drain(readers[name])
        for way, (work, total) in _ways(num_records).items():
            for name in ["python", "compiled"] * rounds:
                seconds = _measured(lambda: work(readers[name]), total)  # noqa: B023  # called at once
                taken.setdefault(way, {}).setdefault(name, []).append(seconds)
        for way, times in taken.items():
            found.append({"kind": kind, "way": way} | {name: statistics.median(all_) for name, all_ in times.items()})
        for reader in readers.values():
            reader.close()
    return found


def main() -> None:
    """Measure, print a table, and write it where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    _take_path("compiled")
    if _compiled.compiled_path() is None:
        raise SystemExit("the compiled path is not built: docs/speedups.md")
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), options.records, options.rounds)
    print(f"{'records':14} {'way':24} {'python ns':>10} {'compiled ns':>12} {'ratio':>6}")
    for row in found:
        ratio = row["python"] / row["compiled"]
        print(f"{row['kind']:14} {row['way']:24} {row['python']:10.0f} {row['compiled']:12.0f} {ratio:6.2f}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
