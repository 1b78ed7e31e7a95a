"""The figures of a loader as text for a terminal, and as a table for a notebook.

The verdict comes first: most readers need no more.

    verdict
      figures of the loop, of the cache, of the rotation
      a row for each worker, all together, and how much of that was computed
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from splitdata.loader.stats.figures import STAGES, percent
from splitdata.loader.stats.verdict import verdict_of

if TYPE_CHECKING:
    from splitdata.loader.plan.steps import WorkerStats
    from splitdata.loader.stats.figures import LoaderFigures

__all__ = ["html_of", "text_of"]

_WIDTHS: Final = {"read": 10, "transform": 13, "cache": 9, "collate": 11, "send": 9}


def text_of(stats: LoaderFigures) -> str:
    """Return the verdict and a table."""
    head, *rows = _table(stats)
    stages = _stages(stats)
    lines = [verdict_of(stats), *(f"  {line}" for line in _figures(stats))]
    for name, num_batches, *cells in ([*head], *rows):
        columns = "".join(f"{cell:>{_WIDTHS[stage]}}" for stage, cell in zip(stages, cells, strict=True))
        lines.append(f"  {name:11}{num_batches:>8}{columns}".rstrip())
    return "\n".join(lines)


def html_of(stats: LoaderFigures) -> str:
    """Return the same as HTML; nothing in it is taken for markup."""
    from html import escape

    head, *rows = _table(stats)
    parts = [f"<p><b>{escape(verdict_of(stats))}</b></p>", "<table><thead><tr>"]
    parts += [f"<th>{escape(cell)}</th>" for cell in head]
    parts.append("</tr></thead><tbody>")
    for name, *cells in rows:
        parts.append(f'<tr><th style="text-align: left">{escape(name)}</th>')
        parts += [f"<td>{escape(cell)}</td>" for cell in cells]
        parts.append("</tr>")
    parts.append("</tbody></table>")
    parts.append("".join(f"<div>{escape(line)}</div>" for line in _figures(stats)))
    return "".join(parts)


def _figures(stats: LoaderFigures) -> list[str]:
    begun = f"({stats.num_epochs} begun)" if stats.epoch is None else f"(epoch {stats.epoch})"
    lines = [
        f"{stats.num_batches} batches, {stats.num_samples} samples, {_size(stats.num_bytes)} in "
        f"{stats.seconds:.1f} s: {stats.batches_per_second:.1f} batches/s, "
        f"{stats.samples_per_second:.0f} samples/s, {_size(stats.bytes_per_second)}/s",
        f"waited {stats.waiting_seconds:.2f} s, {stats.launch_seconds:.2f} s for the very first batch, "
        f"{stats.starting_seconds:.2f} s for those of later epochs {begun}; "
        f"{stats.transfer_seconds:.2f} s of transfer",
        f"{stats.num_ready} batches ready now, in {_size(stats.memory_bytes)}; {stats.num_skipped} records skipped",
    ]
    cache, rotation = stats.cache, stats.rotation
    if cache is not None:
        lines.append(
            f"cache: {cache.num_hits} samples read ({percent(cache.hit_share)}), {cache.num_misses} computed, "
            f"{cache.num_damaged} damaged; {_size(cache.bytes_read)} read, {_size(cache.bytes_written)} written"
        )
    if stats.num_padded_elements:
        padding = stats.num_padded_elements - stats.num_elements
        lines.append(
            f"by length: {stats.num_elements} elements and {padding} of padding, {percent(stats.fill_ratio)} full"
        )
    if rotation is not None:
        lines.append(
            f"rotation: {rotation.num_made} samples made; it holds {_size(rotation.memory_bytes)} in memory and "
            f"{_size(rotation.disk_bytes)} on disk, {_size(rotation.peak_bytes)} at most; "
            f"{rotation.collate_seconds:.2f} s of collating here"
        )
    starved = _sum(stats.workers, "starved")
    if starved >= 0.005:
        lines.append(f"no core was free for {starved:.2f} s of the time in which workers could have computed")
    return lines


def _stages(stats: LoaderFigures) -> list[str]:
    return [stage for stage in STAGES if stage != "cache" or stats.cache is not None]


def _table(stats: LoaderFigures) -> list[list[str]]:
    """Return rows of cells, the head first."""
    stages = _stages(stats)
    rows = [["", "batches", *(f"{stage} s" for stage in stages)]]
    for number, worker in enumerate(stats.workers):
        name = f"worker {number}" if stats.num_workers else "in process"
        rows.append([name, str(worker.num_batches), *(f"{getattr(worker, stage):.2f}" for stage in stages)])
    if len(stats.workers) > 1:
        num_batches = sum(worker.num_batches for worker in stats.workers)
        rows.append(["all", str(num_batches), *(f"{_sum(stats.workers, stage):.2f}" for stage in stages)])
    computed = [f"{_sum(stats.workers, f'{stage}_processor'):.2f}" for stage in stages if stage != "send"]
    rows.append(["computed", "", *computed, ""])
    return rows


def _sum(workers: tuple[WorkerStats, ...], name: str) -> float:
    return float(sum(getattr(worker, name) for worker in workers))


def _size(num_bytes: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if num_bytes < 1024:
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1024
    return f"{num_bytes:.1f} GiB"
