"""Measure splitdata and its peers: `make bench`, or `python -m benchmarks.run --help`.

data set ─> W of all peers ─> W durable ─> every adapter proven ─> R1 R2 gather R3 R4 ─> cold, few descriptors
10^9 records in fresh processes, the order of as many
─> results as JSON, tables, plot
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from benchmarks import data, machine, peers, report
from benchmarks.measure import Result, Settings
from benchmarks.peers.base import Peer, Reader, Unsupported
from benchmarks.workloads.billion import open_billion
from benchmarks.workloads.cold import read_cold
from benchmarks.workloads.many_bins import read_with_few_descriptors
from benchmarks.workloads.ordering import order_billion
from benchmarks.workloads.reading import WORKLOADS, read_all
from benchmarks.workloads.writing import write_all
from splitdata import __version__

__all__ = ["main"]

_FULL: Final = Settings(share=1.0, repeat=5, seconds=0.5, patience=4.0)
_QUICK: Final = Settings(share=0.05, repeat=3, seconds=0.1, patience=0.5)
_ALL: Final = ("W", *WORKLOADS, "cold", "many-bins", "O", "K")
_NUM_PROVEN: Final = 20


def main() -> None:
    """Run from the command line."""
    arguments = _parse()
    settings = _QUICK if arguments.quick else _FULL
    if arguments.repeat:
        settings = Settings(settings.share, arguments.repeat, settings.seconds, settings.patience)
    found, missing = peers.load(arguments.peers)
    for name, reason in missing.items():
        print(f"{name} is not measured: {reason}", flush=True)
    base = Path(tempfile.mkdtemp(prefix="splitdata-bench-", dir=arguments.data))
    results: list[Result] = []
    document: dict[str, Any] = {
        "machine": machine.stamp(),
        "splitdata": __version__,
        "memcpy_gigabytes_per_second": round(machine.memcpy_gigabytes_per_second(), 2),
        "settings": asdict(settings),
        "data": {},
        "peers": {peer.name: _facts_of(peer) for peer in found},
        "missing": missing,
        "results": [],
        "billion": {},
        "order": {},
    }
    try:
        for name in data.NAMES:
            if not set(arguments.only) <= {"O", "K"}:
                results += _measure_data(name, found, base, settings, arguments.only, document["data"])
                document["results"] = [result.as_json() for result in results]
                # Now already: who ends a long run early keeps what it has found.
                _write(document, arguments.json)
        if "O" in arguments.only:
            document["billion"] = open_billion(base, settings.repeat)
        if "K" in arguments.only:
            document["order"] = order_billion(settings.repeat, settings.seconds)
    finally:
        shutil.rmtree(base, ignore_errors=True)
    _write(document, arguments.json)
    _show(document, arguments.plot)


def _measure_data(
    name: str, found: list[Peer], base: Path, settings: Settings, only: list[str], facts: dict[str, Any]
) -> list[Result]:
    """Measure everything that is measured with one data set."""
    folder = base / name
    folder.mkdir()
    given = data.make(name, settings.share)
    facts[name] = {"num_records": len(given.records), "mean_bytes": given.mean_bytes}
    writers = [peer for peer in found if not peer.files_of]
    # Datasets are needed even where writing is not to be measured.
    once = Settings(settings.share, 0, settings.seconds, settings.patience)
    results = _said(write_all(writers, given, folder, settings if "W" in only else once, durable=False))
    if "W" in only:
        durable = folder / "durable"
        durable.mkdir()
        results += _said(write_all(writers, given, durable, settings, durable=True))
        shutil.rmtree(durable)
    else:
        results = []
    readers = _open_all(found, folder, given, results)
    for workload in WORKLOADS:
        if workload in only and (workload != "gather" or given.record_bytes is not None):
            results += _said(read_all(workload, name, readers, len(given.records), settings))
    for reader in readers.values():
        reader.close()
    named = {peer.name: peer for peer in found}
    if "cold" in only and name == "D2":
        results += _said(read_cold(name, named, folder, len(given.records), settings))
    if "many-bins" in only and name == "D1" and "splitdata" in named:
        results += _said(read_with_few_descriptors(given, folder, settings))
    shutil.rmtree(folder)
    return results


def _open_all(found: list[Peer], folder: Path, given: data.Data, results: list[Result]) -> dict[str, Reader]:
    """Open the dataset of each peer, and prove that it holds what was written."""
    readers: dict[str, Reader] = {}
    step = max(1, len(given.records) // _NUM_PROVEN)
    for peer in found:
        try:
            reader = peer.open(folder / (peer.files_of or peer.name))
            for position in range(0, len(given.records), step) if peer.name != "webdataset" else (0, step):
                if reader.get(position) != given.records[position]:
                    raise ValueError(f"record {position} is not what was written")
            readers[peer.name] = reader
        except Unsupported:
            continue
        except Exception as error:  # a peer that fails is reported, the others go on
            answer = f"failed: {type(error).__name__}: {error}"
            results += _said([Result("open", given.name, peer.name, answer=answer)])
    return readers


def _facts_of(peer: Peer) -> dict[str, Any]:
    version = machine.version_of(peer.package) if peer.package else __version__ if "splitdata" in peer.name else None
    return {"version": version, "checks": peer.checks, "note": peer.note}


def _said(results: list[Result]) -> list[Result]:
    """Show results as they come."""
    for result in results:
        rate = result.rate
        shown = f"{rate:>14,.0f} records/s" if rate else f"     {result.answer}"
        print(f"{time.strftime('%H:%M:%S')}  {result.workload:20} {result.data:3} {result.peer:22} {shown}", flush=True)
    return results


def _write(document: dict[str, Any], target: Path | None) -> None:
    if target:
        target.write_text(json.dumps(document, indent=1) + "\n")


def _show(document: dict[str, Any], picture: Path | None) -> None:
    print()
    print(report.markdown(document), end="")
    if picture:
        try:
            report.plot(document, picture)
        except ImportError:
            print(f"no plot in {picture}: matplotlib is not installed")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure splitdata beside other libraries on this machine.")
    parser.add_argument("--quick", action="store_true", help="a twentieth of the data, in under two minutes")
    parser.add_argument("--only", nargs="+", default=list(_ALL), choices=_ALL, help="workloads (default: all)")
    parser.add_argument("--peers", nargs="+", default=list(peers.NAMES), choices=peers.NAMES, help="default: all")
    parser.add_argument("--repeat", type=int, help="runs of which the median counts")
    parser.add_argument(
        "--data", type=Path, help="folder for the datasets, 12 GB (default: the system's for temporary files)"
    )
    parser.add_argument("--json", type=Path, help="write the results here")
    parser.add_argument("--plot", type=Path, help="draw them here, a PNG")
    return parser.parse_args()


if __name__ == "__main__":
    main()
