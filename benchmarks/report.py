"""A results file as tables in Markdown, and as a plot where matplotlib is installed.

python -m benchmarks.report RESULTS.json [--markdown OUT.md] [--plot OUT.png]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.goals import outcomes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.goals import Outcome

__all__ = ["goals_table", "machine_line", "markdown", "plot"]

_COLUMNS: Final = ("W", "W durable", "R1", "R2", "gather", "R3", "R4")
# In records per second.
_PLOT_LIMITS: Final = (1e2, 3e7)
_COLD: Final = "R2 cold"
_FEW: Final = "R1, ulimit -n 1024"


def markdown(results: Mapping[str, Any]) -> str:
    """Return all tables of a results file."""
    return "\n".join(_lines(results)) + "\n"


def machine_line(results: Mapping[str, Any]) -> str:
    """Return where and how the figures of a results file were taken."""
    machine = results["machine"]
    return (
        f"{machine['time']}, {machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, "
        f"{machine['system']}, Python {machine['python']}, numpy {machine['numpy']}; one thread copies "
        f"{results['memcpy_gigabytes_per_second']:.1f} GB/s; load average at the start "
        f"{machine['load_average'][0] if machine['load_average'] else 'unknown'}; "
        f"median of {results['settings']['repeat']} runs."
    )


def _lines(results: Mapping[str, Any]) -> Iterator[str]:
    yield machine_line(results)
    for name, facts in results["data"].items():
        yield ""
        yield (
            f"**{name}**: {facts['num_records']:,} records, {facts['mean_bytes']:,.0f} bytes on average. "
            "Thousands of records per second:"
        )
        yield ""
        yield from _rates_table(results, name)
    yield from _further(results)
    yield ""
    yield from goals_table(outcomes(results))
    yield ""
    yield from _peers_table(results)


def _rates_table(results: Mapping[str, Any], data: str) -> Iterator[str]:
    rates = {
        (one["peer"], one["workload"]): one["records_per_second"]
        for one in results["results"]
        if one["data"] == data and "records_per_second" in one
    }
    columns = [column for column in _COLUMNS if any(workload == column for _, workload in rates)]
    yield "| | " + " | ".join(columns) + " |"
    yield "|---|" + "---:|" * len(columns)
    for peer in results["peers"]:
        cells = [_thousands(rates.get((peer, column))) for column in columns]
        if any(cell != "-" for cell in cells):
            yield f"| {peer} | " + " | ".join(cells) + " |"


def _further(results: Mapping[str, Any]) -> Iterator[str]:
    for workload, title in ((_COLD, "R2 cold, thousands of records per second"), (_FEW, "R1 under `ulimit -n 1024`")):
        rows = [one for one in results["results"] if one["workload"] == workload and "records_per_second" in one]
        if rows:
            yield ""
            shown = ", ".join(f"{one['peer']} {_thousands(one['records_per_second'])}" for one in rows)
            yield f"**{title}** ({rows[0]['data']}): {shown}."
    billion = results.get("billion")
    if billion and "open_ms" in billion:
        yield ""
        yield (
            f"**O**, 10^9 records in a fresh process: open and `len` {billion['open_ms']:.2f} ms, first record "
            f"{billion['first_record_ms']:.2f} ms, then {billion['record_us']:.0f} us a record (each on a page of its "
            f"own), `sizes[i]` {billion['size_us']:.1f} us, `prefetch` {billion['prefetch_us_per_record']:.1f} us a "
            f"record; peak memory {billion['peak_rss_mb']:.1f} MB, of which {billion['grown_by_mb']:.1f} MB since "
            "the import."
        )
    order = results.get("order")
    if order:
        yield ""
        rates = ", ".join(f"{kind} {rate / 1e6:.1f}" for kind, rate in order["positions_per_second"].items())
        yield (
            f"**K**, the order of 10^9 records in blocks of 65,536 positions, in millions of positions per second: "
            f"{rates}; the process grew by {order['grown_by_mb']:.1f} MB."
        )


def goals_table(found: list[Outcome]) -> Iterator[str]:
    """Yield the lines of a table of goals."""
    yield "| goal | reached | to reach | |"
    yield "|---|---:|---:|---|"
    for outcome in found:
        state = "not measured" if outcome.is_met is None else "met" if outcome.is_met else "**missed**"
        stretch = ", a stretch" if outcome.is_stretch else ""
        yield f"| {outcome.what} | {outcome.reached or '-'} | {outcome.goal} | {state}{stretch} |"


def _peers_table(results: Mapping[str, Any]) -> Iterator[str]:
    yield "| peer | version | checks when reading | note |"
    yield "|---|---|---|---|"
    for name, facts in results["peers"].items():
        yield f"| {name} | {facts['version'] or '-'} | {facts['checks']} | {facts['note']} |"
    for name, reason in results["missing"].items():
        yield f"| {name} | - | - | not measured: {reason} |"


def _thousands(rate: float | None) -> str:
    if rate is None:
        return "-"
    thousands = rate / 1000
    return f"{thousands:,.0f}" if thousands >= 10 else f"{thousands:.1f}"


def plot(results: Mapping[str, Any], target: Path) -> None:
    """Draw one panel for each data set and workload, a bar for each peer.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    names = list(results["data"])
    columns = [one for one in _COLUMNS if one != "gather"]
    figure, axes = pyplot.subplots(
        len(names), len(columns), figsize=(2.6 * len(columns), 3.2 * len(names)), squeeze=False, sharey="row"
    )
    peers = [peer for peer in results["peers"] if peer != "numpy-rows"]
    for row, name in zip(axes, names, strict=True):
        for panel, workload in zip(row, columns, strict=True):
            rates = {
                one["peer"]: one.get("records_per_second")
                for one in results["results"]
                if one["data"] == name and one["workload"] == workload
            }
            values = [rates.get(peer) or 0.0 for peer in peers]
            colours = ["tab:orange" if peer in ("splitdata", "splitdata-unverified") else "tab:blue" for peer in peers]
            panel.barh(peers, values, color=colours)
            panel.set_xscale("log")
            # The same for all, so that equal distances are equal ratios in every panel.
            panel.set_xlim(*_PLOT_LIMITS)
            panel.minorticks_off()
            panel.set_title(f"{workload}, {name}", fontsize=9)
            panel.tick_params(labelsize=7)
            panel.grid(axis="x", alpha=0.3)
        # Once for the row, whose panels share the axis.
        row[0].invert_yaxis()
    figure.supxlabel("records per second, logarithmic; no bar: not offered", fontsize=8)
    figure.tight_layout()
    figure.savefig(target, dpi=90)
    pyplot.close(figure)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Show a results file of the benchmarks.")
    parser.add_argument("results", type=Path)
    parser.add_argument("--markdown", type=Path, help="write the tables here instead of to the standard output")
    parser.add_argument("--plot", type=Path, help="draw a PNG, with matplotlib")
    arguments = parser.parse_args()
    results = json.loads(arguments.results.read_text())
    text = markdown(results)
    if arguments.markdown:
        arguments.markdown.write_text(text)
    else:
        print(text, end="")
    if arguments.plot:
        plot(results, arguments.plot)


if __name__ == "__main__":
    main()
