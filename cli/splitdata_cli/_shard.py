"""Which share of a conversion this process has, and what it shows of it.

The environment is asked only where that is said.

    --shard 3/8, or env: as SLURM or torchrun say ──> write_shard ─────> what this process has written
    --engine ray ──────────────────────────────────> convert_on_ray ──> what was committed
"""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Final

import click

from splitdata_cli._render import counted, escape, print_json, print_line, size_text
from splitdata_cli._write_report import left_out
from splitdata_cli.commit import show_commit

if TYPE_CHECKING:
    from collections.abc import Callable

    from splitdata import PartsReport, ShardReport

__all__ = ["shard_named", "show_units", "unit_writer"]

_ARRAY: Final = tuple(f"SLURM_ARRAY_TASK_{name}" for name in ("ID", "MIN", "STEP", "COUNT"))


def shard_named(text: str) -> tuple[int, int]:
    """Return number and count of what is given as I/N, or as "env".

    Raises:
        click.UsageError: If it is neither, or the environment says nothing.
    """
    if text == "env":
        return _of_environment()
    number, _, count = text.partition("/")
    try:
        shard = int(number), int(count)
    except ValueError:
        raise click.UsageError(f"--shard is given as I/N, such as 0/8, or as env, not {text!r}") from None
    return _checked(shard, f"--shard {text}")


def _of_environment() -> tuple[int, int]:
    found = [os.environ.get(name) for name in _ARRAY]
    names: tuple[str, ...] = _ARRAY
    if found[0] is None:
        names = ("RANK", "WORLD_SIZE")
        found = [os.environ.get(name) for name in names]
    if None in found:
        raise click.UsageError(
            "--shard env: the environment has neither SLURM_ARRAY_TASK_ID, _MIN, _STEP and _COUNT (sbatch --array) nor "
            "RANK and WORLD_SIZE (torchrun): give I/N"
        )
    told = ", ".join(f"{name}={value}" for name, value in zip(names, found, strict=True))
    try:
        numbers = [int(value or "") for value in found]
    except ValueError:
        raise click.UsageError(f"--shard env: {told} are no numbers") from None
    if len(numbers) == 2:
        return _checked((numbers[0], numbers[1]), told)
    task, first, step, count = numbers
    if step < 1 or (task - first) % step:
        raise click.UsageError(f"--shard env: {told} do not agree")
    return _checked(((task - first) // step, count), told)


def _checked(shard: tuple[int, int], told: str) -> tuple[int, int]:
    if not 0 <= shard[0] < shard[1]:
        raise click.UsageError(f"{told}: shards are numbered from 0 and fewer than their count, as in 0/8 to 7/8")
    return shard


def unit_writer(shard: tuple[int, int] | None, address: str | None) -> Callable[..., ShardReport | PartsReport]:
    """Return what writes the units of a share, or all of them on a Ray cluster where there is no share."""
    from splitdata import convert_on_ray, write_shard

    if shard is None:
        return functools.partial(convert_on_ray, address=address)
    return functools.partial(write_shard, shard=shard)


def show_units(
    report: ShardReport | PartsReport, dest: str, shard: tuple[int, int] | None, seconds: float, *, as_json: bool
) -> None:
    """Show what was written, or committed where there was no share."""
    from splitdata import PartsReport

    if isinstance(report, PartsReport):
        show_commit(report, dest, as_json=as_json)
    elif shard is not None:
        _show_shard(report, dest, shard, seconds, as_json=as_json)


def _show_shard(report: ShardReport, dest: str, shard: tuple[int, int], seconds: float, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "path": report.path,
                "kind": report.kind,
                "job": report.job,
                "shard": list(shard),
                "num_units": report.num_units,
                "num_written": report.num_written,
                "num_finished": report.num_finished,
                "num_records": report.num_records,
                "num_bytes": report.num_bytes,
                "skipped": dict(report.skipped),
                "seconds": seconds,
            }
        )
        return
    before = f", {report.num_finished:,} were written before" if report.num_finished else ""
    print_line(
        f"shard {shard[0]}/{shard[1]} wrote {report.num_written:,} of {counted(report.num_units, 'unit')}{before}: "
        f"{counted(report.num_records, 'record')}, {size_text(report.num_bytes)}, in {seconds:.1f} s"
        f"{left_out(report.skipped)}; `splitdata commit {escape(dest)}` makes them visible once all are there"
    )
