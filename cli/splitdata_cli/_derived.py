"""Commands that write a dataset of the records of another: how they report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from splitdata_cli._render import print_json, print_line
from splitdata_cli._write_report import as_dict, summary

if TYPE_CHECKING:
    from splitdata import ConversionReport

__all__ = ["show_derived"]


def show_derived(report: ConversionReport, dest: str, seconds: float, *, as_json: bool) -> None:
    """Print what was written, as a line or as JSON."""
    if as_json:
        print_json(as_dict(report, seconds))
    else:
        print_line(summary(report, dest, seconds))
