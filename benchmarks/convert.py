"""Conversion into splitdata beside what other libraries do with the same input, with one and with two workers.

    python -m benchmarks.convert                     a gigabyte of JSONL, 100,000 files, ...: about ten minutes
    python -m benchmarks.convert --quick             a twentieth of it
    python -m benchmarks.convert --only jsonl files --sides splitdata litdata --rounds 5 --json out.json

Each runs in a process of its own, in turns; its seconds count once its library is loaded, with the start of its
workers. Memory is the most that one of its processes had. What is slow, or comes when time is up, is not repeated.

    input, made once ──> process of a side ──> {seconds, processor seconds, MiB} as JSON      converters.py
    round 1: a b c       round 2: a b c       ──> medians, ratios to the first side
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import io
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.converters import CONVERTERS
from benchmarks.machine import stamp, version_of

CASES: Final = ("jsonl", "lines", "files", "parquet", "webdataset")
_FULL_BYTES: Final = {"jsonl": 1 << 30, "lines": 1 << 30, "parquet": 200 << 20, "webdataset": 300 << 20}
_NUM_FILES: Final = 100_000
_QUICK: Final = 0.05
# No side is repeated that takes longer, and none once so much time has gone.
_PATIENCE: Final = 15.0
_BUDGET: Final = 420.0
_LIMIT: Final = 120.0
_PACKAGES: Final = ("splitdata", "datasets", "litdata", "mosaicml-streaming", "webdataset", "pyarrow")

# -- input -------------------------------------------------------------------------------------------------


def make_input(case: str, folder: Path, scale: float) -> int:
    """Make the input of a case; returns its bytes."""
    folder.mkdir(parents=True)
    if case == "files":
        return _make_files(folder, int(_NUM_FILES * scale))
    make = {"jsonl": _make_jsonl, "lines": _make_jsonl, "parquet": _make_parquet, "webdataset": _make_tars}[case]
    return make(folder, int(_FULL_BYTES[case] * scale))


def _texts(count: int) -> list[str]:
    """Return texts of some 1,500 letters, each different."""
    source = random.Random(0)
    words = ["".join(source.choices("abcdefghijklmnopqrstuvwxyz", k=source.randint(2, 9))) for _ in range(5000)]
    return [" ".join(source.choices(words, k=source.randint(100, 380))) for _ in range(count)]


def _row(number: int, texts: list[str]) -> dict[str, Any]:
    return {
        "id": number,
        "text": texts[number % len(texts)],
        "score": number / 7,
        "label": "even" if number % 2 else "odd",
        "tags": ["a", "b", "c"][: number % 3 + 1],
    }


def _make_jsonl(folder: Path, num_bytes: int) -> int:
    texts, number, total = _texts(2000), 0, 0
    for part in range(8):
        with (folder / f"{part}.jsonl").open("wb", buffering=1 << 20) as file:
            while file.tell() < num_bytes // 8:
                file.write(json.dumps(_row(number, texts)).encode() + b"\n")
                number += 1
            total += file.tell()
    return total


def _make_files(folder: Path, count: int) -> int:
    noise, total = random.Random(0).randbytes(1 << 20), 0
    for number in range(count):
        place = folder / f"{number % 100:03d}"
        place.mkdir(exist_ok=True)
        size = 1000 + number * 37 % 3000
        (place / f"{number:06d}.jpg").write_bytes(noise[number : number + size])
        total += size
    return total


def _make_parquet(folder: Path, num_bytes: int) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts, noise = _texts(2000), np.random.default_rng(0)
    count = num_bytes // 4 // (1500 + 512)
    for part in range(4):
        rows = [_row(part * count + number, texts) for number in range(count)]
        vectors = noise.random((count, 64)).tolist()
        table = pa.Table.from_pylist([row | {"vector": one} for row, one in zip(rows, vectors, strict=True)])
        pq.write_table(table, folder / f"{part}.parquet", compression="zstd", row_group_size=4096)
    return sum(path.stat().st_size for path in folder.iterdir())


def _make_tars(folder: Path, num_bytes: int) -> int:
    noise, number = random.Random(0).randbytes(1 << 20), 0
    for part in range(4):
        with tarfile.open(folder / f"{part}.tar", "w") as tar:
            while tar.offset < num_bytes // 4:
                for name, data in (("jpg", noise[number % 10_000 :][:10_000]), ("cls", b"%d" % (number % 10))):
                    member = tarfile.TarInfo(f"{number:09d}.{name}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
                number += 1
    return sum(path.stat().st_size for path in folder.iterdir())


# -- one side ----------------------------------------------------------------------------------------------


def run_side(case: str, side: str, source: Path, dest: Path) -> dict[str, float]:
    """Convert once, in this process; returns what it took."""
    package, convert = CONVERTERS[side]
    importlib.import_module(package)
    began = time.perf_counter(), _processor_seconds()
    convert(case, source, dest)
    seconds = time.perf_counter() - began[0]
    most = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {"seconds": seconds, "processor_seconds": _processor_seconds() - began[1], "mib": most / 1024}


def _processor_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


# -- all of them -------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Outcome:
    """The runs of one side of one case."""

    case: str
    side: str
    runs: list[dict[str, float]] = field(default_factory=list)
    answer: str = ""

    def median(self, name: str) -> float:
        """Return the median of one figure."""
        return statistics.median(run[name] for run in self.runs)

    def as_json(self) -> dict[str, Any]:
        """Return it for the results file."""
        return {"case": self.case, "side": self.side, "answer": self.answer, "runs": self.runs}


def measure_case(case: str, sides: list[str], folder: Path, rounds: int, deadline: float) -> list[Outcome]:
    """Let all sides of a case take turns."""
    outcomes = [Outcome(case, side) for side in sides]
    for turn in range(rounds):
        for outcome in outcomes:
            is_slow = bool(outcome.runs) and outcome.runs[-1]["seconds"] > _PATIENCE
            if outcome.answer or (turn and (is_slow or time.monotonic() > deadline)):
                continue
            _run(outcome, folder)
    return outcomes


def _run(outcome: Outcome, folder: Path) -> None:
    package = CONVERTERS[outcome.side][0]
    if importlib.util.find_spec(package) is None:
        outcome.answer = f"{package} is not installed"
        return
    dest = folder / "made"
    shutil.rmtree(dest, ignore_errors=True)
    dest.mkdir()
    # What one side has left to be written is not the next one's load.
    os.sync()
    places = [str(folder / outcome.case), str(dest)]
    command = [sys.executable, "-m", "benchmarks.convert", "--run", outcome.case, outcome.side, *places]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_LIMIT)
    except subprocess.TimeoutExpired:
        outcome.answer = f"took more than {_LIMIT:.0f} s"
        return
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        outcome.answer = f"failed: {(done.stderr.strip().splitlines() or ['no output'])[-1]}"[:200]
        return
    outcome.runs.append(json.loads(lines[-1]))


def show(outcomes: list[Outcome], num_bytes: int) -> None:
    """Print one case as a table."""
    first = next((one for one in outcomes if one.runs), None)
    print(f"\n{outcomes[0].case}, {num_bytes / 1e6:,.0f} MB")
    print(f"  {'':22}{'seconds':>9}{'MB/s':>9}{'processor s':>13}{'MiB':>8}{'x':>8}  runs")
    for one in outcomes:
        if not one.runs or first is None:
            print(f"  {one.side:22}{one.answer}")
            continue
        seconds = one.median("seconds")
        print(
            f"  {one.side:22}{seconds:9.2f}{num_bytes / 1e6 / seconds:9.0f}{one.median('processor_seconds'):13.2f}"
            f"{one.median('mib'):8.0f}{seconds / first.median('seconds'):8.2f}  {len(one.runs)}",
            flush=True,
        )


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a twentieth of the data")
    parser.add_argument("--only", nargs="+", choices=CASES, default=CASES)
    parser.add_argument("--sides", nargs="+", choices=list(CONVERTERS), default=list(CONVERTERS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", help="where the data is made and removed; a few GB")
    parser.add_argument("--json", help="write all figures to this file")
    parser.add_argument("--run", nargs=4, metavar=("CASE", "SIDE", "SOURCE", "DEST"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        case, side, source, dest = options.run
        print(json.dumps(run_side(case, side, Path(source), Path(dest))))
        return
    deadline = time.monotonic() + _BUDGET
    results: dict[str, Any] = stamp() | {
        "quick": options.quick,
        "versions": {name: version_of(name) for name in _PACKAGES},
    }
    print(json.dumps(results["versions"]), f"load {results['load_average']}")
    results["outcomes"], results["megabytes"] = [], {}
    with tempfile.TemporaryDirectory(dir=options.folder, ignore_cleanup_errors=True) as folder:
        for case in options.only:
            num_bytes = make_input(case, Path(folder) / case, _QUICK if options.quick else 1.0)
            outcomes = measure_case(case, options.sides, Path(folder), options.rounds, deadline)
            show(outcomes, num_bytes)
            results["outcomes"] += [one.as_json() for one in outcomes]
            results["megabytes"][case] = num_bytes / 1e6
            shutil.rmtree(Path(folder) / case)
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
