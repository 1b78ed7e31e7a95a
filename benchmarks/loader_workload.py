"""Workloads L, S and L cold: the loader beside others, on images. `make bench`, or `--help`.

    D3 as a bare file, as splitdata, as the others have it ─> every loader proven ─> L ─> S
    D2, D3 ─> L cold
    ─> results as JSON, tables

    python -m benchmarks.loader_workload                   medians of five rounds, some four minutes
    python -m benchmarks.loader_workload --quick           a fifth of the data, three short rounds
    python -m benchmarks.loader_workload --only L --loaders splitdata torch --rounds 9 --json out.json

Everything is imported where it is used: a process that torch starts runs this file again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from benchmarks.loaders.base import LoaderPeer
    from benchmarks.measure import Result, Settings

__all__ = ["main"]

_ALL: Final = ("L", "S", "cold")


def main() -> None:
    """Run from the command line."""
    arguments = _parse()
    from benchmarks import loader_report, loaders, machine
    from benchmarks.measure import Settings
    from splitdata import __version__

    rounds = arguments.rounds or (3 if arguments.quick else 5)
    settings = Settings(0.2 if arguments.quick else 1.0, rounds, 0.3 if arguments.quick else 1.0, 0.0)
    found, missing = loaders.load(arguments.loaders)
    for name, reason in missing.items():
        print(f"{name} is not measured: {reason}", flush=True)
    document: dict[str, Any] = {
        "machine": machine.stamp(),
        "splitdata": __version__,
        "memcpy_gigabytes_per_second": round(machine.memcpy_gigabytes_per_second(), 2),
        "settings": asdict(settings),
        "loaders": {peer.name: _facts_of(peer, __version__) for peer in found},
        "missing": missing,
        "results": [],
        "first_batch": [],
    }
    base = Path(tempfile.mkdtemp(prefix="splitdata-bench-", dir=arguments.data))
    try:
        _measure(document, found, base, settings, arguments.only)
    finally:
        shutil.rmtree(base, ignore_errors=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(document, indent=1) + "\n")
    print()
    print(loader_report.markdown(document), end="")


def _measure(
    document: dict[str, Any], found: list[LoaderPeer], base: Path, settings: Settings, only: list[str]
) -> None:
    from benchmarks.workloads.first_batch import measure_first_batch
    from benchmarks.workloads.loading import make_images, measure_loading, prove

    images, records = make_images(base, settings.share)
    working: list[LoaderPeer] = []
    for peer in found:
        try:
            peer.write(base, records)
        except Exception as error:  # a peer that fails is reported, the others go on
            document["missing"][peer.name] = f"does not write: {type(error).__name__}: {error}"
    for peer in found:
        try:
            prove(peer, images)
        except Exception as error:  # a peer that fails is reported, the others go on
            document["missing"][peer.name] = f"{type(error).__name__}: {error}".splitlines()[0]
            print(f"{peer.name} is not measured: {document['missing'][peer.name]}", flush=True)
        else:
            working.append(peer)
    del records
    if "L" in only:
        document["results"] += [_said(result) for result in measure_loading(working, images, settings)]
    if "S" in only:
        for waited in measure_first_batch(working, images, settings.repeat):
            shown = waited.as_json()
            document["first_batch"].append(shown)
            print(f"{time.strftime('%H:%M:%S')}  S {shown}", flush=True)
    if "cold" in only:
        document["results"] += [_said(result) for result in _measure_cold(base, settings)]


def _measure_cold(base: Path, settings: Settings) -> list[Result]:
    import numpy as np

    from benchmarks import data
    from benchmarks.loaders.base import IMAGE_BYTES
    from benchmarks.workloads.loading import DATA
    from benchmarks.workloads.loading_cold import measure_cold_loading
    from splitdata import SplitDataLoader, SplitWriter

    dataset = base / "splitdata"
    offsets = np.arange(len(SplitDataLoader(dataset)) + 1) * IMAGE_BYTES
    results = measure_cold_loading(DATA, base / "bare", offsets, dataset, settings)
    given = data.make("D2", settings.share)
    folder = base / "D2"
    folder.mkdir()
    (folder / "bare").write_bytes(b"".join(given.records))
    with SplitWriter(folder / "splitdata", durability="none") as writer:
        writer.write_many(given.records)
    offsets = np.concatenate([[0], np.cumsum(list(map(len, given.records)))])
    return results + measure_cold_loading("D2", folder / "bare", offsets, folder / "splitdata", settings)


def _facts_of(peer: LoaderPeer, own_version: str) -> dict[str, Any]:
    from benchmarks import machine

    version = machine.version_of(peer.package) if peer.package else own_version
    return {"version": version, "group": peer.group, "reads": peer.reads, "note": peer.note}


def _said(result: Result) -> dict[str, Any]:
    """Show a result as it comes."""
    shown = f"{result.rate:>12,.0f} records/s" if result.rate else f"     {result.answer}"
    print(f"{time.strftime('%H:%M:%S')}  {result.workload:8} {result.data:3} {result.peer:30} {shown}", flush=True)
    return result.as_json()


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure DistributedLoader beside other loaders on this machine.")
    parser.add_argument("--quick", action="store_true", help="a fifth of the data, three short rounds")
    parser.add_argument("--only", nargs="+", default=list(_ALL), choices=_ALL, help="workloads (default: all)")
    parser.add_argument("--loaders", nargs="+", help="libraries, see benchmarks/loaders/__init__.py (default: all)")
    parser.add_argument("--rounds", type=int, help="of which the median counts")
    parser.add_argument("--data", type=Path, help="folder for the data, 4 GB (default: the system's temporary files)")
    parser.add_argument("--json", type=Path, help="write the results here")
    arguments = parser.parse_args()
    from benchmarks import loaders

    arguments.loaders = arguments.loaders or list(loaders.NAMES)
    unknown = set(arguments.loaders) - set(loaders.NAMES)
    if unknown:
        parser.error(f"no such loaders: {', '.join(sorted(unknown))}; there are {', '.join(loaders.NAMES)}")
    return arguments


if __name__ == "__main__":
    main()
