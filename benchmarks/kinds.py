"""Every kind of source and sink whose library is installed: the processor time that a record takes, in one process.

    python -m benchmarks.kinds                   20,000 records of 1.5 KB of each kind: about two minutes
    python -m benchmarks.kinds --records 2000 --only jsonl parquet --json out.json

What a sink writes is what the source of its kind reads; inputs that no sink writes are made by the library of the kind.

    dataset ──export──> jsonl, parquet, ... ──convert──> dataset        best of three, beside MB of records a second
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import random
import shutil
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.machine import stamp
from splitdata import SplitDataLoader, SplitWriter, convert, export, open_source

_BYTES: Final = 1536
_ROUNDS: Final = 3


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of source.

    Attributes:
        name: Of the kind, as it is shown.
        data: Which records it has: samples of numbers and texts, bytes, or arrays.
        place: Name of the file or folder; a pattern where there are several.
        needs: The package that it needs beside splitdata.
        make: Writes the input, given the dataset and where; None where a sink of splitdata does.
        options: Of `open_source`.
        to: The sink.
    """

    name: str
    data: str
    place: str
    needs: str = "numpy"
    make: Callable[[Path, Path], object] | None = None
    options: dict[str, Any] = field(default_factory=dict)
    to: str = ""


def _zip(data: Path, place: Path) -> None:
    with zipfile.ZipFile(place, "w") as archive, SplitDataLoader(data) as records:
        for number, record in enumerate(records):
            archive.writestr(f"{number:06d}.bin", bytes(record))


def _lmdb(data: Path, place: Path) -> None:
    import lmdb

    with lmdb.open(str(place), map_size=1 << 30) as made, made.begin(write=True) as writing:
        for number, record in enumerate(SplitDataLoader(data)):
            writing.put(b"%06d" % number, bytes(record))


def _rows(data: Path) -> np.ndarray[Any, Any]:
    return np.arange(len(SplitDataLoader(data)) * _BYTES // 4, dtype=np.float32).reshape(-1, _BYTES // 4)


def _hdf5(data: Path, place: Path) -> None:
    import h5py

    with h5py.File(place, "w") as file:
        file["x"] = _rows(data)


def _tokens(data: Path, place: Path) -> None:
    np.arange(len(SplitDataLoader(data)) * _BYTES // 2, dtype=np.uint64).astype(np.uint16).tofile(place)


_KINDS: Final = (
    _Kind("folder", "bytes", "files", to="files"),
    _Kind("zip", "bytes", "a.zip", make=_zip),
    _Kind("tfrecord", "bytes", "a.tfrecord", to="tfrecord"),
    _Kind("lmdb", "bytes", "lmdb", needs="lmdb", make=_lmdb),
    _Kind("splitdata", "bytes", "bytes", make=lambda data, place: shutil.copytree(data, place)),
    _Kind("jsonl", "samples", "a.jsonl", to="jsonl"),
    _Kind("jsonl, typed", "samples", "b.jsonl", options={"typed": True}, make=lambda *p: export(*p, to="jsonl")),
    _Kind("csv", "samples", "a.csv", to="csv"),
    _Kind("csv, typed", "samples", "b.csv", options={"typed": True}, make=lambda *p: export(*p, to="csv")),
    _Kind("parquet", "samples", "a.parquet", needs="pyarrow", to="parquet"),
    _Kind("arrow", "samples", "a.arrow", needs="pyarrow", to="arrow"),
    _Kind("huggingface", "samples", "hf", needs="pyarrow", to="hf"),
    _Kind("webdataset", "samples", "shards", options={"kind": "webdataset"}, to="webdataset"),
    _Kind("mds", "samples", "mds", to="mds"),
    _Kind("npy", "arrays", "a.npy", to="npy"),
    _Kind("hdf5", "arrays", "a.h5", needs="h5py", make=_hdf5),
    _Kind("tokens", "arrays", "a.bin", options={"kind": "tokens", "dtype": "u16", "block": _BYTES // 2}, make=_tokens),
)


def make_data(folder: Path, count: int) -> None:
    """Write the three datasets."""
    noise = random.Random(0).randbytes(_BYTES + count)
    with SplitWriter(folder / "data bytes", durability="none") as writer:
        writer.write_many(
            [noise[number : number + _BYTES] for number in range(count)],
            keys=[f"{number % 100:02d}/{number:06d}.bin" for number in range(count)],
        )
    text = "".join(random.Random(0).choices("abcdefghijklmnopqrstuvwxyz ", k=_BYTES + count))
    with SplitWriter(folder / "data samples", durability="none") as writer:
        for number in range(count):
            label = "odd" if number % 2 else "even"
            writer.write_sample({"id": number, "label": label, "text": text[number : number + _BYTES - 20]})
    with SplitWriter(folder / "data arrays", durability="none") as writer:
        writer.write_samples(np.arange(count * _BYTES // 4, dtype=np.float32).reshape(count, -1))


def _inputs(place: Path) -> Any:
    """Return what `open_source` takes: of a folder of shards, these."""
    shards = sorted(map(str, place.glob("*.tar"))) if place.is_dir() else []
    return shards or str(place)


def measure(kind: _Kind, folder: Path, count: int) -> dict[str, Any]:
    """Return the microseconds of a record, out of a dataset where splitdata has a sink for it, and into one."""
    data, place, dest = folder / f"data {kind.data}", folder / "input" / kind.place, folder / "made"
    place.parent.mkdir(exist_ok=True)
    found: dict[str, Any] = {"kind": kind.name}

    def best(action: Callable[[], object], *, before: Callable[[], object]) -> float:
        times = []
        for _ in range(_ROUNDS):
            before()
            began = time.process_time()
            action()
            times.append(time.process_time() - began)
        return min(times) / count * 1e6

    if kind.make is None:
        sink: Any = kind.to
        found["sink"] = best(lambda: export(data, place, to=sink), before=lambda: _remove(place))
    else:
        kind.make(data, place)
    found["source"] = best(
        lambda: convert(open_source(_inputs(place), **kind.options), dest, durability="none"),
        before=lambda: _remove(dest),
    )
    _remove(place)
    return found


def _remove(place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


def outcomes(names: list[str], count: int, folder: Path) -> Iterator[dict[str, Any]]:
    """Measure one kind after the other."""
    make_data(folder, count)
    for kind in _KINDS:
        if names and kind.name not in names:
            continue
        if importlib.util.find_spec(kind.needs) is None:
            yield {"kind": kind.name, "answer": f"{kind.needs} is not installed"}
            continue
        yield measure(kind, folder, count)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--only", nargs="+", default=[], choices=[kind.name for kind in _KINDS])
    parser.add_argument("--json", help="write all figures to this file")
    options = parser.parse_args()
    results = stamp() | {"records": options.records, "outcomes": []}
    print(f"processor time of a record of {_BYTES} bytes; load {os.getloadavg()[0]:.1f}")
    print(f"  {'':16}{'source us':>11}{'MB/s':>8}{'sink us':>11}{'MB/s':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for one in outcomes(options.only, options.records, Path(folder)):
            results["outcomes"].append(one)
            cells = [f"{one[way]:11.1f}{_BYTES / one[way]:8.0f}" for way in ("source", "sink") if way in one]
            print(f"  {one['kind']:16}{one.get('answer', '')}{''.join(cells)}", flush=True)
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
