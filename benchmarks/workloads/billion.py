"""O: open a dataset of 10^9 records, in a process of its own.

parent ── makes the sparse dataset, starts ──> child: open, [i], len, sizes[i], prefetch ── JSON ──> parent
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from benchmarks.sparse_dataset import NUM_RECORDS, make_sparse_dataset

__all__ = ["open_billion", "peak_rss_mb", "real_records"]

# With fewer the child's own start would weigh too much; each is one process.
_NUM_RECORDS: Final = NUM_RECORDS


def real_records() -> dict[int, bytes]:
    """Return the records that are really there, by position: the ends, and 256 between."""
    generator = random.Random(3)
    positions = [0, 1, _NUM_RECORDS - 1, *generator.sample(range(2, _NUM_RECORDS - 1), 256)]
    return {position: generator.randbytes(1000) for position in positions}


def open_billion(folder: Path, repeat: int) -> dict[str, Any]:
    """Return medians over fresh processes, with the largest memory; or why it could not be measured."""
    dataset = folder / "billion"
    try:
        make_sparse_dataset(dataset, real_records())
    except OSError as error:
        return {"answer": f"no sparse file of 16 GB here: {error}"}
    runs: list[dict[str, float]] = []
    for _ in range(repeat):
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.workloads.billion", str(dataset)],
            stdout=subprocess.PIPE,
            check=True,
            text=True,
            timeout=120,
            cwd=Path(__file__).parents[2],
        )
        runs.append(json.loads(done.stdout))
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


def _child(path: str) -> dict[str, float]:
    # Before anything is imported that the library itself does not need.
    from splitdata import SplitDataLoader

    positions = sorted(real_records())
    before = peak_rss_mb()
    found: dict[str, float] = {"rss_before_mb": before}
    start = time.perf_counter()
    loader = SplitDataLoader(path)
    count = len(loader)
    found["open_ms"] = _since(start)
    start = time.perf_counter()
    records = [loader[positions[0]]]
    found["first_record_ms"] = _since(start)
    start = time.perf_counter()
    records += [loader[position] for position in positions]
    found["record_us"] = _since(start) * 1000 / len(positions)
    start = time.perf_counter()
    sizes = [loader.sizes[position] for position in positions]
    found["size_us"] = _since(start) * 1000 / len(positions)
    start = time.perf_counter()
    loader.prefetch(positions)
    found["prefetch_us_per_record"] = _since(start) * 1000 / len(positions)
    if count != _NUM_RECORDS or list(map(len, records[1:])) != sizes:
        raise ValueError(f"{path} does not read as it was made")
    found["peak_rss_mb"] = peak_rss_mb()
    found["grown_by_mb"] = found["peak_rss_mb"] - before
    return found


def _since(start: float) -> float:
    return (time.perf_counter() - start) * 1000


def peak_rss_mb() -> float:
    """Return the most memory that this process had, in MB; 0 where the system does not say."""
    # Of this process alone: what getrusage says includes its parent's, before the exec.
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1e3
    if sys.platform == "win32":
        return 0.0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


if __name__ == "__main__":
    print(json.dumps(_child(sys.argv[1])))
