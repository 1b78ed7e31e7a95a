"""Ray Data: a dataset as a source and as a sink.

Ray schedules; what it retries or runs twice is made harmless here: every attempt writes a part of its own, and one
commit at the end lists each part once. Against Ray 2.60 and newer; ray_conversion.py has conversions.

    read_dataset(path)         manifest ──positions cut into ranges──> read tasks ──> blocks of Arrow
    write_dataset(ds, path)    blocks ──> a part for each write task ──descriptors──> one commit on the driver
"""

from __future__ import annotations

import os
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import ray.data
from ray.data.block import BlockAccessor, BlockMetadata
from ray.data.datasource import Datasink, Datasource, ReadTask

from splitdata._local_path import local_path
from splitdata.dataset.manifests.directory import DatasetDirectory
from splitdata.dataset.part_writer import open_part
from splitdata.dataset.parts.commit_parts import commit_parts
from splitdata.dataset.reader import SplitDataLoader
from splitdata.dataset.sample_dataset import SampleDataset
from splitdata.errors import DatasetExistsError
from splitdata.interop.ray_conversion import convert_on_ray

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["convert_on_ray", "read_dataset", "write_dataset"]

# Samples of a block: Ray cuts and joins blocks as it likes.
_ROWS: Final = 1024
_RECORD: Final = "record"
_VALUE: Final = "value"


# -- reading -------------------------------------------------------------------------------------


def read_dataset(
    path: str | os.PathLike[str],
    *,
    columns: Sequence[str] | None = None,
    override_num_blocks: int | None = None,
    concurrency: int | None = None,
) -> Any:
    """Return a dataset as a lazy ray.data.Dataset; a row is a sample, or {"record": bytes} where it has no samples.

    The manifest is all that is read here. Each read task opens the dataset by itself, in the state that it has now, and
    reads a range of positions; all machines must see `path`. Rows come in write order where Ray keeps it
    (`DataContext.execution_options.preserve_order`). Records that were deleted are left out.

    Args:
        path: Of the dataset.
        columns: Fields of samples that are dicts; None: all. Samples of another kind are a column "value".
        override_num_blocks: As ray.data.read_datasource takes it, and so is the next.
        concurrency: Tasks at once.

    Raises:
        DatasetNotFoundError, ManifestError: If there is no dataset that can be read.
        ValueError: Columns are asked for of a dataset that has no samples.
    """
    source = _PositionSource(local_path(path), None if columns is None else list(columns))
    return ray.data.read_datasource(source, override_num_blocks=override_num_blocks, concurrency=concurrency)


class _PositionSource(Datasource):
    """The positions of a dataset, cut into ranges."""

    def __init__(self, path: str, columns: list[str] | None) -> None:
        super().__init__()
        # Held for as long as Ray may make tasks, so that this state is not removed.
        self._records = SplitDataLoader(path)
        self._has_samples = self._records.record_codec is not None
        if columns is not None and not self._has_samples:
            raise ValueError(f"{path} holds records of bytes, whose only column is {_RECORD!r}: leave columns out")
        self._columns = columns
        self._num_bytes = sum(one.raw_bytes for one in DatasetDirectory(path).read(self._records.generation).segments)

    def get_name(self) -> str:
        """Return what Ray calls the source in plans."""
        return "SplitData"

    def estimate_inmemory_data_size(self) -> int | None:
        """Return the bytes of all records."""
        return self._num_bytes

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[ReadTask]:
        """Cut the positions into so many ranges; Ray asks several times."""
        del data_context
        count = len(self._records)
        num_tasks = min(max(1, parallelism), count)
        borders = [number * count // num_tasks for number in range(num_tasks + 1)] if count else []
        tasks = []
        for start, stop in pairwise(borders):
            metadata = BlockMetadata(
                num_rows=None if self._records.num_deleted else stop - start,
                size_bytes=self._num_bytes * (stop - start) // count,
                exec_stats=None,
                input_files=None,
            )
            read = _RangeReader(
                self._records.paths[0], self._records.generation, range(start, stop), self._columns, self._has_samples
            )
            tasks.append(ReadTask(read, metadata, per_task_row_limit=per_task_row_limit))
        return tasks


class _RangeReader:
    """What a read task does: path, generation and range travel, and no reader that is open."""

    def __init__(
        self, path: str, generation: int, positions: range, columns: list[str] | None, has_samples: bool
    ) -> None:
        self._path = path
        self._generation = generation
        self._positions = positions
        self._columns = columns
        self._has_samples = has_samples

    def __call__(self) -> Iterator[Any]:
        """Yield blocks of Arrow."""
        opened = SampleDataset if self._has_samples else SplitDataLoader
        with opened(self._path, generation=self._generation) as dataset:
            deleted = dataset.deleted if dataset.num_deleted else np.empty(0, np.int64)
            for start in range(self._positions.start, self._positions.stop, _ROWS):
                positions = np.arange(start, min(start + _ROWS, self._positions.stop))
                positions = positions[~np.isin(positions, deleted)]
                if len(positions):
                    yield BlockAccessor.batch_to_block(self._columns_of(dataset, positions))

    def _columns_of(self, dataset: Any, positions: NDArray[np.int64]) -> dict[str, Any]:
        if not self._has_samples:
            return {_RECORD: np.array(dataset.__getitems__(positions), object)}
        rows = [sample if isinstance(sample, dict) else {_VALUE: sample} for sample in dataset.__getitems__(positions)]
        names = self._columns or list(dict.fromkeys(str(name) for row in rows for name in row))
        if missing := [name for name in names if not any(name in row for row in rows)]:
            raise KeyError(f"there is no column {missing[0]!r}: there are {', '.join(map(repr, rows[0]))}")
        return {name: _column([row.get(name) for row in rows]) for name in names}


def _column(values: list[Any]) -> Any:
    """Return the values of a column: one array where all have one shape, else each by itself."""
    if all(isinstance(value, np.ndarray) for value in values):
        if len({(value.shape, value.dtype) for value in values}) == 1:
            return np.stack(values)
        column = np.empty(len(values), object)
        column[:] = values
        return column
    return values


# -- writing -------------------------------------------------------------------------------------


def write_dataset(
    dataset: Any,
    path: str | os.PathLike[str],
    *,
    mode: Literal["create", "append"] = "create",
    column: str | None = None,
    bins: int | None = None,
    compression: Literal["zstd"] | None = None,
    metadata: dict[str, Any] | None = None,
    schema: Any = None,  # types in the place of values, or any sample
    concurrency: int | None = None,
) -> None:
    """Write the rows of a ray.data.Dataset into a dataset, as samples, in one commit at the end; runs the plan.

    Each write task writes a part; records lie in the order of the tasks, and of the rows in each. A task that Ray runs
    again, or twice, counts once. All or nothing: after an error the dataset is as it was. All machines must see `path`.

    Args:
        dataset: Of Ray Data.
        path: The dataset to write.
        mode: "create" refuses a dataset that exists, "append" adds to one.
        column: Write the values of this column, bytes, as records, instead of samples.
        bins: Of each part, as `SplitWriter` takes it, and so are the next three.
        compression: Of each record.
        metadata: Of the dataset.
        schema: What each sample must be.
        concurrency: Write tasks at once.

    Raises:
        DatasetExistsError: If there is a dataset, and `mode` is "create".
        ValueError, TypeError: If an option is invalid.
        RayTaskError: If rows cannot be written; it is an instance of the error that the task raised.
    """
    if mode not in ("create", "append"):
        raise ValueError(f"mode must be 'create' or 'append', got {mode!r}")
    if column is not None and schema is not None:
        raise ValueError("a schema is for samples: give either column or schema")
    dest = local_path(path, "the dataset")
    if mode == "create" and os.path.isdir(dest) and DatasetDirectory(dest).generations():  # noqa: PTH112  # text
        raise DatasetExistsError(f"{dest} is a splitdata dataset; mode='append' adds to it", path=dest)
    sink = _PartSink(dest, column=column, bins=bins, compression=compression, metadata=metadata, schema=schema)
    dataset.write_datasink(sink, concurrency=concurrency)


class _PartSink(Datasink[dict[str, Any]]):
    """A part for each write task; the descriptors that Ray hands back are those of the attempts that count."""

    def __init__(
        self,
        path: str,
        *,
        column: str | None,
        bins: int | None,
        compression: Literal["zstd"] | None,
        metadata: dict[str, Any] | None,
        schema: Any,
    ) -> None:
        self._path = path
        self._column = column
        self._bins = bins
        self._compression: Literal["zstd"] | None = compression
        self._metadata = metadata
        self._schema = schema
        # Tasks of another call, or of one that was interrupted, have parts of other names.
        self._job = os.urandom(16).hex()

    def get_name(self) -> str:
        """Return what Ray calls the sink in plans."""
        return "SplitData"

    def write(self, blocks: Iterable[Any], ctx: Any) -> dict[str, Any]:
        """Write the rows of a task as a part of its own."""
        with open_part(
            self._path,
            f"ray/{self._job}/{ctx.task_idx:09d}",
            bins=self._bins,
            compression=self._compression,
            metadata=self._metadata,
            schema=self._schema,
            codec=None if self._column is not None else "sample",
        ) as writer:
            for block in blocks:
                rows = BlockAccessor.for_block(block).iter_rows(public_row_format=True)
                if self._column is None:
                    writer.write_samples(map(dict, rows))
                else:
                    writer.write_many(row[self._column] for row in rows)
        return writer.descriptor

    def on_write_complete(self, write_result: Any) -> None:
        """Commit all parts, in the order of the tasks."""
        commit_parts(self._path, sorted(write_result.write_returns, key=lambda descriptor: descriptor["part"]))
