"""The report of `splitdata write`, as a line, as rows of first records, and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from splitdata_cli._render import counted, escape, escape_bytes, size_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from splitdata import ConversionReport, FirstRecord

__all__ = ["as_dict", "first_rows", "left_out", "summary"]


def summary(report: ConversionReport, dest: str, seconds: float) -> str:
    """Return what was done as a line."""
    if report.was_finished:
        return f"{escape(dest)} was finished before, with {counted(report.num_resumed, 'record')}; nothing was done"
    done = "would write" if report.is_dry_run else "wrote"
    text = f"{done} {counted(report.num_records, 'record')}, {size_text(report.num_bytes)}, to {escape(dest)}"
    if report.positions:
        text += f" as positions {report.positions[0]} to {report.positions[-1]}"
    if report.is_dry_run:
        text += f" in {counted(report.num_bins, 'bin')}; read"
    if report.num_resumed:
        text += f" behind the {counted(report.num_resumed, 'record')} of earlier calls"
    text += f" in {seconds:.1f} s"
    return text + left_out(report.skipped)


def left_out(skipped: Mapping[str, int]) -> str:
    """Return what a source left out as the end of a line, nothing if that is nothing."""
    text = ""
    if skipped:
        text += "; left out: " + ", ".join(counted(number, escape(what)) for what, number in skipped.items())
    if "symbolic link" in skipped:
        text += " (--follow-links takes what links lead to)"
    return text


def first_rows(report: ConversionReport) -> list[tuple[int, int, str | None, str, bool]]:
    """Return the first records of a dry run as `print_records` takes them."""
    return [
        (position, one.num_bytes, one.key, *_shown(one))
        for position, one in zip(report.positions, report.first_records, strict=False)
    ]


def _shown(one: FirstRecord) -> tuple[str, bool]:
    """Return how a record would be shown, and whether that is all of it."""
    if one.shown is not None:
        return escape(one.shown), not one.shown.endswith("...")
    return escape_bytes(one.begin), len(one.begin) == one.num_bytes


def as_dict(report: ConversionReport, seconds: float) -> dict[str, Any]:
    """Return all of it as JSON has it."""
    return {
        "path": report.path,
        "kind": report.kind,
        "num_records": report.num_records,
        "num_bytes": report.num_bytes,
        "num_bins": report.num_bins,
        "first_position": report.positions.start if report.positions else None,
        "skipped": dict(report.skipped),
        "is_dry_run": report.is_dry_run,
        "first_records": [
            {"key": one.key, "num_bytes": one.num_bytes, "preview": _shown(one)[0]} for one in report.first_records
        ],
        "num_resumed": report.num_resumed,
        "was_finished": report.was_finished,
        "seconds": round(seconds, 3),
    }
