"""Progress bars: on stderr, and only if a person is looking at it.

A log file or a pipe gets no bar, so scripts see only the result.

    writing  42%|████████▍           | 420 MB/1.00 GB, 310,000 records, 155,000 records/s, 210 MB/s [00:02<00:03]
"""

from __future__ import annotations

import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from splitdata_cli._render import size_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from splitdata import ConversionProgress, RecordSource

__all__ = ["bench_progress", "bytes_progress", "records_progress", "write_progress"]

_REFRESH_SECONDS = 0.2


@contextmanager
def write_progress(
    source: RecordSource, limit: int | None, *, is_shuffled: bool
) -> Iterator[Callable[[ConversionProgress], None] | None]:
    """Show a bar while the block runs; gives what `convert` takes as `progress`, None without a terminal.

    Args:
        source: What is read: its size is what the bar is measured against, where it has one.
        limit: Records to take; if given, these are what the bar is measured against.
        is_shuffled: Each byte of the source counts twice.
    """
    if not _is_watched():
        yield None
        return
    size = source.num_bytes
    total = limit or (2 * size if size is not None and is_shuffled else size)
    started = time.monotonic()
    with _bar("writing", total, in_bytes=limit is None) as bar:

        def show(progress: ConversionProgress) -> None:
            seconds = max(time.monotonic() - started, 1e-3)
            bar.set_postfix_str(
                f"{progress.num_records:,} records, {progress.num_records / seconds:,.0f} records/s, "
                f"{size_text(progress.num_bytes / seconds)}/s",
                refresh=False,
            )
            bar.update((progress.source_bytes if limit is None else progress.num_records) - bar.n)

        yield show


@contextmanager
def bytes_progress(title: str) -> Iterator[Callable[[int, int], None] | None]:
    """Show a bar while the block runs; gives what takes bytes done and in all, None without a terminal."""
    with _counted_progress(title, in_bytes=True) as show:
        yield show


@contextmanager
def records_progress(title: str) -> Iterator[Callable[[int, int], None] | None]:
    """Show a bar while the block runs; gives what `digest` takes as `progress`, None without a terminal."""
    with _counted_progress(title, in_bytes=False) as show:
        yield show


@contextmanager
def _counted_progress(title: str, *, in_bytes: bool) -> Iterator[Callable[[int, int], None] | None]:
    if not _is_watched():
        yield None
        return
    with _bar(title, None, in_bytes=in_bytes) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show


@contextmanager
def bench_progress() -> Iterator[Callable[[int, int, str], None] | None]:
    """Show a bar while the block runs; gives what `measure_dataset` takes as `progress`, None without a terminal."""
    if not _is_watched():
        yield None
        return
    with _bar("measuring", None, in_bytes=False) as bar:

        def show(done: int, total: int, name: str) -> None:
            bar.total = total
            bar.set_postfix_str(name, refresh=False)
            bar.update(done - bar.n)
            bar.refresh()

        yield show


def _is_watched() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def _bar(title: str, total: int | None, *, in_bytes: bool) -> Any:  # tqdm is loaded here, and only here
    from tqdm import tqdm

    # One thread draws: neither a lock between processes nor a thread that watches over it is needed.
    tqdm.monitor_interval = 0
    tqdm.set_lock(threading.RLock())
    return tqdm(
        desc=title,
        total=total,
        file=sys.stderr,
        unit="B" if in_bytes else " records",
        unit_scale=in_bytes,
        leave=False,
        dynamic_ncols=True,
        mininterval=_REFRESH_SECONDS,
        miniters=1,
    )
