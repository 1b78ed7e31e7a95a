"""A results file of loader_workload.py as tables in Markdown.

python -m benchmarks.loader_report RESULTS.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.loader_goals import loader_outcomes
from benchmarks.report import goals_table, machine_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["markdown"]


def markdown(results: Mapping[str, Any]) -> str:
    """Return all tables of a results file."""
    return "\n".join(_lines(results)) + "\n"


def _lines(results: Mapping[str, Any]) -> Iterator[str]:
    yield machine_line(results)
    yield from _loading_table(results)
    yield from _first_table(results)
    yield from _cold_table(results)
    yield ""
    yield from goals_table(loader_outcomes(results))
    yield ""
    yield "| loader | version | reads | note |"
    yield "|---|---|---|---|"
    for name, facts in results["loaders"].items():
        yield f"| {name} | {facts['version'] or '-'} | {facts['reads']} | {facts['note']} |"
    for name, reason in results["missing"].items():
        yield f"| {name} | - | - | not measured: {reason} |"


def _loading_table(results: Mapping[str, Any]) -> Iterator[str]:
    rows = [one for one in results["results"] if one["workload"] == "L"]
    if not rows:
        return
    yield ""
    yield "**L**, warm images of 150,528 bytes, batches of 64 as tensors; processor time is that of all processes:"
    yield ""
    yield "| | batches/s | GB/s | processor ms a batch |"
    yield "|---|---:|---:|---:|"
    for one in rows:
        rate = one.get("records_per_second")
        cpu = one.get("cpu_us_per_record")
        shown = f"{rate / 64:,.0f} | {rate * 150_528 / 1e9:.2f}" if rate else f"{one['answer']} | -"
        yield f"| {one['peer']} | {shown} | {f'{cpu * 64 / 1000:.2f}' if cpu else '-'} |"


def _first_table(results: Mapping[str, Any]) -> Iterator[str]:
    if not results["first_batch"]:
        return
    yield ""
    yield "**S**, milliseconds from `iter()` to the first batch:"
    yield ""
    yield "| | start method | first epoch | later epochs |"
    yield "|---|---|---:|---:|"
    for one in results["first_batch"]:
        shown = f"{one['first_ms']:.1f} | {one['later_ms']:.1f}" if "first_ms" in one else f"{one['answer']} | -"
        yield f"| {one['peer']} | {one['start_method'] or '-'} | {shown} |"


def _cold_table(results: Mapping[str, Any]) -> Iterator[str]:
    rows = [one for one in results["results"] if one["workload"] == "L cold" and "records_per_second" in one]
    if not rows:
        return
    yield ""
    yield "**L cold**, records per second of a shuffled epoch after the page cache was dropped:"
    yield ""
    yield "| | D2, 10 KB | D3, 151 KB |"
    yield "|---|---:|---:|"
    rates = {(one["peer"], one["data"]): one["records_per_second"] for one in rows}
    for peer in dict.fromkeys(one["peer"] for one in rows):
        cells = [f"{rates[peer, data]:,.0f}" if (peer, data) in rates else "-" for data in ("D2", "D3")]
        yield f"| {peer} | {' | '.join(cells)} |"


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Show a results file of the loader's benchmarks.")
    parser.add_argument("results", type=Path)
    print(markdown(json.loads(parser.parse_args().results.read_text())), end="")


if __name__ == "__main__":
    main()
