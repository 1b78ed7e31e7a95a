"""Conversions by the tasks of a Ray cluster: each unit is one plain task, and one commit lists them all.

Whichever node wrote what, died or was slow: the units are cut before anything runs, and each counts once.

    source ──units──> a task for each ──> parts ──descriptors──> one commit on the driver, in the order of the units
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Literal

from splitdata._extras import load_extra
from splitdata.conversion.shards import opened_units, unfinished_units
from splitdata.conversion.watch import ConversionProgress
from splitdata.dataset.parts.commit_parts import commit_parts, waiting_parts

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence

    from splitdata.conversion.sources.choose import Named
    from splitdata.conversion.sources.source import RecordSource
    from splitdata.conversion.steps.record_steps import StepFunction
    from splitdata.conversion.work_units import UnitReport, WorkUnit
    from splitdata.dataset.parts.commit_parts import PartsReport

__all__ = ["convert_on_ray"]

_DEFAULT_LEVEL: Final = 3
# Tasks that wait beside those that can run, so that no worker waits for the driver.
_AHEAD: Final = 2


def convert_on_ray(
    source: RecordSource | Named | Sequence[Named],
    dest: str | os.PathLike[str],
    *,
    address: str | None = None,
    bins: int | None = None,
    append: bool = False,
    compression: Literal["zstd"] | None = None,
    compression_level: int = _DEFAULT_LEVEL,
    dictionary: bool = False,
    group: int | None = None,
    durability: Literal["commit", "none"] = "commit",
    metadata: dict[str, Any] | None = None,
    schema: Any = None,  # types in the place of values, or any sample
    reproducible: bool = False,
    resume: bool = False,
    where: StepFunction | str | None = None,
    transform: StepFunction | str | None = None,
    on_error: Literal["raise", "skip"] = "raise",
    num_cpus: float = 1,
    max_retries: int = 3,
    progress: Callable[[ConversionProgress], None] | None = None,
) -> PartsReport:
    """Convert a source with the tasks of a Ray cluster, and commit once, when all units are written.

    The source is cut into units before anything runs, as `write_shard` cuts it; each is one plain task. Records, their
    order and, if reproducible, the files are those of `write_shard` and `commit_shards`, whichever node wrote what,
    died or was slow. All nodes must see source and dataset. After an error or Ctrl-C nothing is visible, and units that
    are written stay: `resume` goes on with the others.

    Args:
        source: As `write_shard` takes it, and so are all that are not named here.
        dest: The dataset.
        address: Of a cluster, as ray.init takes it; one that the program is connected to already is used as it is.
        bins: Of each unit.
        append: Add to a dataset that exists.
        compression: Of each record.
        compression_level: Of zstd.
        dictionary: For each unit one.
        group: Records that are stored together.
        durability: Whether to wait for the medium.
        metadata: The commit adds them to the dataset's.
        schema: What each sample must be.
        reproducible: Equal options and an equal source of equal name give equal files.
        resume: Leave out units that are written.
        where: Which records to take.
        transform: What becomes of them.
        on_error: With "skip" records that these fail on are left out.
        num_cpus: Of each task.
        max_retries: How often a unit is written again whose worker or node has died; -1 for ever.
        progress: Called in this thread when a unit is done.

    Raises:
        What `write_shard` and `commit_shards` raise; from a task as an instance of that error and of RayTaskError.
        WorkerCrashedError (of Ray): If workers or nodes of a unit have died too often.
    """
    if type(max_retries) is not int or max_retries < -1:
        raise ValueError(f"max_retries must be -1 or more, got {max_retries!r}")
    ray = load_extra("ray", "ray", "a conversion on Ray")
    units = opened_units(
        source,
        dest,
        bins=bins,
        append=append,
        compression=compression,
        compression_level=compression_level,
        dictionary=dictionary,
        group=group,
        durability=durability,
        metadata=metadata,
        schema=schema,
        reproducible=reproducible,
        where=where,
        transform=transform,
        on_error=on_error,
    )
    wanted = unfinished_units(units, resume=resume, numbers=range(units.count))
    names = [units.part(number) for number in range(units.count)]
    # Of those that a call before this one has written; what is committed is found by its name.
    done = {one["part"]: one for one in reversed(waiting_parts(units.options.dest)) if one["part"] not in wanted}
    with _connected(ray, address):
        task = ray.remote(_write_unit).options(num_cpus=num_cpus, max_retries=max_retries)
        running = _Running(ray, (unit for unit in units if unit.part in wanted), task, progress)
        try:
            for report in running.reports():
                done[report.descriptor["part"]] = report.descriptor
        finally:
            running.cancel()
    return commit_parts(units.options.dest, [done[name] for name in names if name in done], reproducible=reproducible)


def _write_unit(unit: WorkUnit) -> tuple[UnitReport, int]:
    """Write one unit, wherever Ray runs this; returns what it is, and the bytes that were read."""
    report = unit.write()
    return report, unit.source.bytes_read


class _Running:
    """Tasks of units, a few more at a time than there are CPUs."""

    def __init__(
        self,
        ray: Any,
        units: Iterator[WorkUnit],
        task: Any,
        progress: Callable[[ConversionProgress], None] | None,
    ) -> None:
        self._ray = ray
        self._units = units
        self._task = task
        self._progress = progress
        self._refs: list[Any] = []
        self._most = int(ray.cluster_resources().get("CPU", 1)) + _AHEAD
        self._done = ConversionProgress(0, 0, 0)

    def reports(self) -> Iterator[UnitReport]:
        """Yield what each unit is, as it is done."""
        while self._has_any():
            (first,), self._refs = self._ray.wait(self._refs, num_returns=1)
            report, source_bytes = self._ray.get(first)
            self._done = ConversionProgress(
                self._done.num_records + report.descriptor["records"],
                self._done.num_bytes + report.num_bytes,
                self._done.source_bytes + source_bytes,
            )
            if self._progress is not None:
                self._progress(self._done)
            yield report

    def _has_any(self) -> bool:
        """Begin as many as there is room for; say whether any runs."""
        while len(self._refs) < self._most and (unit := next(self._units, None)) is not None:
            self._refs.append(self._task.remote(unit))
        return bool(self._refs)

    def cancel(self) -> None:
        """Stop what still runs."""
        for ref in self._refs:
            self._ray.cancel(ref, force=True)


@contextmanager
def _connected(ray: Any, address: str | None) -> Iterator[None]:
    """Connect to a cluster, or start one on this machine, unless the program has done so."""
    if ray.is_initialized():
        yield
        return
    ray.init(address=address, include_dashboard=False if address is None else None, log_to_driver=False)
    try:
        yield
    finally:
        ray.shutdown()
