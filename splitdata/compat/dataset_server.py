"""The interface of dataset_server: `from splitdata.compat.dataset_server import DataLoader`.

A script needs another import and nothing else; what it asks for are options of DistributedLoader here.

    DataLoader(dataset_class, dataset_params, batch_size, nb_worker, ...) ──> DistributedLoader over KeywordDataset
        cache_setting      {"prefix", "update_frequency"}                 ──> Cache(prefix + ".samples", refresh_every)
        rotation_setting   {"rotation", "medium", "prefix", "size"}       ──> Rotation(times, size, medium, path)
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from splitdata.compat.epochs import Epochs
from splitdata.compat.keyword_dataset import KeywordDataset
from splitdata.compat.nested_lists import as_nested_lists
from splitdata.loader.cache.cache_options import Cache
from splitdata.loader.distributed_loader import DistributedLoader
from splitdata.loader.option_groups import WorkerOptions
from splitdata.loader.rotation.rotation_options import Rotation
from splitdata.order.counts import checked_count
from splitdata.order.window import Window
from splitdata.process.wire.memory_budget import memory_budget

if TYPE_CHECKING:
    from splitdata.order.epoch_order import Shuffle

__all__ = ["AsyncDataLoader", "DataLoader"]


class DataLoader:
    """Batches of a dataset that worker processes read: lists of arrays, one for each field of a sample.

    The workers begin when the loader is made. It is its own iterator: `iter()` begins the next epoch, also after a
    break. Every epoch has another order; `seed` decides which. Every process that makes one reads the whole dataset.

    Not thread-safe.
    """

    def __init__(
        self,
        dataset_class: Callable[..., Any],
        dataset_params: Mapping[str, Any],
        batch_size: int,
        nb_worker: int,
        max_minibatch_length: int | None = None,
        max_queue_size: int = 20,
        prefetch_time: float | None = None,
        shuffle: bool = False,
        device: Any = None,
        pin_memory: bool = False,
        gpu_indices: Sequence[int] | None = None,
        nearby_shuffle: int = 0,
        cache_setting: Mapping[str, Any] | None = None,
        rotation_setting: Mapping[str, Any] | None = None,
        use_threading: bool = False,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        *,
        seed: int = 0,
    ) -> None:
        """Make the dataset once, for its length, and start the workers.

        Args:
            dataset_class: Called with `dataset_params` as keywords, in each worker once.
            dataset_params: For it.
            batch_size: Samples of a batch.
            nb_worker: Worker processes; 0 works in this one, when a batch is asked for.
            max_minibatch_length: Bytes of a batch for which shared memory is set aside; larger ones arrive too,
                slower. None: what the machine can spare.
            max_queue_size: Batches that each worker makes ahead.
            prefetch_time: Seconds to wait here for the workers to make batches.
            shuffle: Whether samples come in another order in each epoch.
            device: Where batches go, as torch names it; they are tensors then.
            pin_memory: Hand out tensors in pinned memory where no device is given.
            gpu_indices: For each worker the GPU that it sees.
            nearby_shuffle: With `shuffle`: how far a sample moves from its place, at most. 0: anywhere.
            cache_setting: Keep samples in a folder, and read them there in later epochs and runs: `prefix`, of the
                folder's name; `update_frequency`, the epochs (2 or more, or infinity) after which they are made
                anew. What was kept of another class, other code or other arguments is not used.
            rotation_setting: Use each sample `rotation` times, 2 or more, so that an epoch is as much longer.
                `medium` is "memory" or "disk"; on disk `prefix` says in which folder, and `size` how many samples
                are kept at a time.
            use_threading: Taken, and the same either way: batches wait in shared memory without a thread's help.
            collate_fn: List of samples -> batch, in the workers; the batch is handed out as it is.
            seed: Of the order, and of the global generators, which are set for each batch in the workers.

        Raises:
            TypeError, ValueError: An argument of a wrong type or out of range, or a setting that lacks something.
            Exception: What the dataset's constructor raised.
        """
        del use_threading
        is_kept = cache_setting is not None or rotation_setting is not None
        dataset = KeywordDataset(dataset_class, dataset_params, argument="dataset_params", reads_together=not is_kept)
        nb_worker = checked_count("nb_worker", nb_worker, 0)
        max_queue_size = checked_count("max_queue_size", max_queue_size, 1)
        nearby_shuffle = checked_count("nearby_shuffle", nearby_shuffle, 0)
        self._loader = DistributedLoader(
            dataset,
            batch_size=batch_size,
            shuffle=_order(shuffle, nearby_shuffle),
            seed=seed,
            num_workers=nb_worker,
            collate_fn=collate_fn,
            rank=0,
            world_size=1,
            device=device,
            pin_memory=pin_memory,
            cache=None if cache_setting is None else _cache(cache_setting, dataset),
            rotation=None if rotation_setting is None else _rotation(rotation_setting),
            workers=WorkerOptions(
                prefetch=max_queue_size,
                max_bytes=_shared_bytes(max_minibatch_length, max(1, nb_worker) * max_queue_size),
                gpu_indices=gpu_indices,
            ),
        )
        finish = functools.partial(as_nested_lists, keeps_inner_axes=True)
        self._epochs = Epochs(self._loader, finish if collate_fn is None else None)
        self._epochs.begin()
        if prefetch_time is not None:
            time.sleep(prefetch_time)

    def __len__(self) -> int:
        """Return the batches of an epoch."""
        return len(self._loader)

    def __iter__(self) -> Self:
        """Begin the next epoch.

        Raises:
            ClosedError: The loader was closed.
        """
        self._epochs.begin()
        return self

    def __next__(self) -> Any:
        """Return the next batch.

        Raises:
            StopIteration: The epoch is over; the next call begins another one.
            Exception: What the dataset or `collate_fn` raised in a worker, as it is.
            WorkerCrashedError: A worker died.
        """
        return next(self._epochs)

    def close(self) -> None:
        """End the workers. Batches stay valid. May be called more than once, and need not be."""
        self._epochs.close()

    def __enter__(self) -> Self:
        """Return the loader itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        self.close()


class AsyncDataLoader(DataLoader):
    """The loader of dataset_server's first version: the same, with `nb_servers` for the number of workers."""

    def __init__(
        self,
        dataset_class: Callable[..., Any],
        dataset_params: Mapping[str, Any],
        batch_size: int,
        nb_servers: int,
        shuffle: bool = False,
    ) -> None:
        """Start the workers; no ports are opened.

        Raises:
            TypeError, ValueError: As DataLoader.
            Exception: What the dataset's constructor raised.
        """
        nb_servers = checked_count("nb_servers", nb_servers, 1)
        super().__init__(dataset_class, dataset_params, batch_size, nb_worker=nb_servers, shuffle=shuffle)


def _order(shuffle: bool, nearby_shuffle: int) -> Shuffle:
    if not shuffle:
        return False
    return Window(nearby_shuffle) if nearby_shuffle else "global"


def _shared_bytes(batch_bytes: int | None, num_batches: int) -> int | None:
    if batch_bytes is None:
        return None
    # What was right for one machine must not take all memory of another.
    return min(checked_count("max_minibatch_length", batch_bytes, 1) * num_batches, memory_budget())


def _check_setting(name: str, setting: Mapping[str, Any], needs: Collection[str], may_have: Collection[str]) -> None:
    given: object = setting
    if not isinstance(given, Mapping):
        raise TypeError(f"{name} must be a dict with {_listed(needs)}, got {given!r:.200}")
    missing = [key for key in needs if key not in setting]
    if missing:
        raise ValueError(f"{name} lacks {_listed(missing)}: it needs {_listed(needs)}")
    unknown = [key for key in setting if key not in {*needs, *may_have}]
    if unknown:
        raise ValueError(
            f"{name} has {_listed(unknown)}, which it does not know: it has {_listed([*needs, *may_have])}"
        )


def _listed(keys: Collection[str]) -> str:
    return ", ".join(map(repr, keys))


def _cache(setting: Mapping[str, Any], dataset: KeywordDataset) -> Cache:
    _check_setting("cache_setting", setting, ["prefix", "update_frequency"], ["version"])
    frequency = setting["update_frequency"]
    if not isinstance(frequency, (int, float)) or not frequency >= 2:
        raise ValueError(
            f"update_frequency must be 2 or more epochs, or infinity, got {frequency!r}: samples that are made anew in "
            "each epoch need no cache"
        )
    version = setting.get("version")
    if version is None:
        try:
            version = dataset.identity()
        except TypeError as error:
            raise ValueError(
                f"a cache cannot tell this dataset from another one: {error}. Name what is cached, as in "
                'cache_setting={..., "version": "photos-2026"}, and change that with the dataset'
            ) from error
    # Of one name for all runs with this prefix: a folder of the cache's own, which refuses what others made.
    return Cache(path=os.fspath(setting["prefix"]) + ".samples", refresh_every=frequency, version=version)


def _rotation(setting: Mapping[str, Any]) -> Rotation:
    places = ["prefix", "size"]
    _check_setting("rotation_setting", setting, ["rotation", "medium"], places)
    on_disk = setting["medium"] == "disk"
    if on_disk:
        _check_setting("rotation_setting", setting, ["rotation", "medium", *places], [])
    times = checked_count("rotation", setting["rotation"], 2)
    # Its file has no name, so that nothing is left of it: the prefix says in which folder it lies.
    folder = os.path.dirname(os.fspath(setting["prefix"])) or os.curdir if on_disk else None  # noqa: PTH120  # "a/" is a folder here
    size = {"size": setting["size"]} if setting.get("size") is not None else {}
    return Rotation(times=times, medium=setting["medium"], path=folder, **size)
