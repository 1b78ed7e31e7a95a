"""The interface of swift_loader: `from splitdata.compat.swift_loader import SwiftLoader`.

A script needs another import and nothing else. Each object serves one consumer; ConsumerBatches deals out.

    SwiftLoader(dataset_class, dataset_kwargs, batch_size, nb_consumer, worker_per_consumer, ...)     starts nothing
        start(consumer_index) ──> DistributedLoader over KeywordDataset, with ConsumerBatches as its batch sampler
        iteration ──> Epochs: batches as nested lists, or what batch_decoder makes
        end of an epoch ──> figures of the loader to benchmark_file or the log
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from splitdata.compat.consumer_batches import ConsumerBatches
from splitdata.compat.delivery import Decoding, Delivery
from splitdata.compat.epochs import Epochs
from splitdata.compat.event_log import EventLog, LogSettings, append_text
from splitdata.compat.keyword_dataset import KeywordDataset
from splitdata.loader.distributed_loader import DistributedLoader
from splitdata.loader.option_groups import WorkerOptions, check_function
from splitdata.order.counts import checked_count
from splitdata.order.permutation import derive_key
from splitdata.order.window import Window

if TYPE_CHECKING:
    import os

    from splitdata.order.epoch_order import Shuffle

__all__ = ["SwiftLoader"]


class InvalidCountError(ValueError, AssertionError):
    """A number of consumers or workers is invalid; an AssertionError too, as it was there."""


class SwiftLoader:
    """Batches for one of several consumers (GPUs), each with worker processes of its own.

        loader = SwiftLoader(Photos, {"folder": "data"}, 32, nb_consumer=4, worker_per_consumer=4)
        loader.start(consumer_index=rank, device=device)
        for epoch in range(10):
            for images, labels in loader: ...

    Make one for each consumer, in one process or each in its own. All consumers together get each record once an
    epoch, in equally many batches; without shuffle each has a stretch of the dataset, in its order. Only with fewer
    records than consumers some are repeated.

    It is its own iterator: `iter()` begins the next epoch, also after a break. Not thread-safe.
    """

    def __init__(
        self,
        dataset_class: Callable[..., Any],
        dataset_kwargs: Mapping[str, Any],
        batch_size: int,
        nb_consumer: int,
        worker_per_consumer: int,
        shuffle: bool = True,
        *,
        seed: int | None = None,
        seed_numer: int | None = None,
        data_queue_size: int = 10,
        message_queue_size: int = 10,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        logger: str | Mapping[str, Any] | None = None,
        batch_encoder: Callable[[Any], Any] | None = None,
        batch_decoder: Callable[[bytes], Any] | None = None,
        nearby_shuffle: int | None = None,
        benchmark: bool = True,
        benchmark_file: str | os.PathLike[str] | None = None,
        validate: bool = True,
        multithread: bool = False,
        max_nb_batch_on_device: int = 1,
        max_buffer_size: int | None = None,
    ) -> None:
        """Describe the loader, and try it out.

        Args:
            dataset_class: Called with `dataset_kwargs`, in each worker once, and here once for the length.
            dataset_kwargs: For it.
            batch_size: Samples of a batch, for each consumer.
            nb_consumer: Number of consumers.
            worker_per_consumer: Worker processes of each.
            shuffle: Whether a consumer's samples come in another order in each epoch.
            seed, seed_numer: Two names of one number, 0 or more: of the order, and of the global generators, which
                are set for each batch in the workers. None: the time in milliseconds.
            data_queue_size: Batches that each worker makes ahead.
            message_queue_size: Messages of a worker that may wait; each of them brings one batch, so that the
                smaller of the two holds.
            collate_fn: List of samples -> batch, in the workers. None: nested lists of arrays.
            logger: Prefix of the log's files, or a dict of `path`, `stdout`, `level`. None: no log.
            batch_encoder: batch -> bytes, in the workers, in place of our own way through shared memory. None where
                there is a decoder: pickle.
            batch_decoder: bytes -> batch, here. None where there is an encoder: pickle.
            nearby_shuffle: How far a sample moves from its place, at most. None: five batches; 0: anywhere in the
                consumer's stretch.
            benchmark: Write figures at the end of each epoch: what took the time, and what would help.
            benchmark_file: Where they go. None: to the log.
            validate: Make one batch here, now, so that errors show before workers run.
            multithread: Decode in one thread for each worker, ahead of the loop. Without a decoder of the user's
                there is nothing to do ahead.
            max_nb_batch_on_device: Batches on their way to the device ahead of the loop.
            max_buffer_size: Batches that are decoded ahead, with `multithread`. None: 2, or data_queue_size divided
                by worker_per_consumer if that is more.

        Raises:
            TypeError, ValueError: An argument of a wrong type or out of range, or that nobody knows.
            Exception: With `validate`, what the dataset, `collate_fn`, the encoder or the decoder raised.
        """
        self._factory = KeywordDataset(dataset_class, dataset_kwargs, argument="dataset_kwargs")
        self._batch_size = checked_count("batch_size", batch_size, 1)
        self._num_consumers = _checked_number("nb_consumer", nb_consumer)
        self._num_workers = _checked_number("worker_per_consumer", worker_per_consumer)
        self._seed = _chosen_seed(seed, seed_numer)
        self._shuffle = _order(shuffle, 5 * self._batch_size if nearby_shuffle is None else nearby_shuffle)
        data_queue_size = checked_count("data_queue_size", data_queue_size, 1)
        self._prefetch = min(data_queue_size, checked_count("message_queue_size", message_queue_size, 1))
        self._num_on_device = checked_count("max_nb_batch_on_device", max_nb_batch_on_device, 1)
        if max_buffer_size is None:
            max_buffer_size = max(2, -(-data_queue_size // self._num_workers))
        max_buffer_size = checked_count("max_buffer_size", max_buffer_size, 1)
        for name, function in (("batch_encoder", batch_encoder), ("batch_decoder", batch_decoder)):
            check_function(name, function)
        check_function("collate_fn", collate_fn)
        self._collate_fn = collate_fn
        self._decoding: Decoding | None = None
        if batch_encoder is not None or batch_decoder is not None:
            self._decoding = Decoding(
                encoder=batch_encoder or pickle.dumps,
                decoder=batch_decoder or pickle.loads,
                num_threads=self._num_workers if multithread else 0,
                num_ahead=max_buffer_size,
            )
        self._log_settings = LogSettings(logger)
        self._benchmark = benchmark
        self._benchmark_file = None if benchmark_file is None else Path(benchmark_file)
        self._log: EventLog | None = None
        self._loader: DistributedLoader | None = None
        self._epochs: Epochs | None = None
        self._delivery: Delivery | None = None
        self._is_closed = False
        if validate:
            self._validate()

    @property
    def dataset(self) -> Any:
        """The dataset, as it was made in this process."""
        return self._factory.dataset

    def start(
        self, consumer_index: int, device: Any = None, to_device: Callable[[Any, Any], Any] | None = None
    ) -> None:
        """Start the workers of one consumer, which begin with its first batches.

        Args:
            consumer_index: Which, from 0.
            device: Where batches go, as torch names it; arrays are tensors there. None: they stay.
            to_device: (batch, device) -> batch, in place of ours; where there is a device.

        Raises:
            RuntimeError: It was started, or closed, before.
            ValueError, TypeError: There is no such consumer or device.
            Exception: What the dataset's constructor raised.
        """
        if self._loader is not None:
            raise RuntimeError("start() has been called already: make one SwiftLoader for each consumer")
        if self._is_closed:
            raise RuntimeError("this SwiftLoader is closed: make another one")
        consumer_index = checked_count("consumer_index", consumer_index, 0)
        if consumer_index >= self._num_consumers:
            raise ValueError(
                f"consumer_index must be from 0 to {self._num_consumers - 1}, got {consumer_index}: nb_consumer is "
                f"{self._num_consumers}"
            )
        check_function("to_device", to_device)
        self._log = EventLog(self._log_settings, f"Dataloader-{consumer_index}")
        delivery = Delivery(
            self._collate_fn,
            self._decoding,
            device=device,
            to_device=to_device,
            num_on_device=self._num_on_device,
        )
        loader = self._loader_of(consumer_index, delivery)
        epochs = Epochs(loader, delivery.finish, self._end_of_epoch)
        epochs.begin()
        self._delivery, self._loader, self._epochs = delivery, loader, epochs
        self._log.write("debug", "started", num_batches=len(loader), num_workers=self._num_workers)

    def __len__(self) -> int:
        """Return the batches of an epoch, the same for every consumer.

        Raises:
            RuntimeError: Before `start`.
        """
        return len(self._started()[0])

    def __iter__(self) -> Self:
        """Begin the next epoch.

        Raises:
            RuntimeError: Before `start`.
            ClosedError: The loader was closed.
        """
        self._started()[1].begin()
        return self

    def __next__(self) -> Any:
        """Return the next batch.

        Raises:
            StopIteration: The epoch is over; the next call begins another one.
            RuntimeError: Before `start`.
            Exception: What the dataset, `collate_fn`, the encoder or the decoder raised, as it is.
            WorkerCrashedError: A worker died.
        """
        epochs = self._started()[1]
        try:
            return next(epochs)
        except StopIteration:
            raise
        except Exception as error:
            if self._log is not None:
                self._log.write("error", f"{type(error).__name__}: {error}")
            raise

    def close(self) -> None:
        """End the workers. Batches stay valid. May be called more than once, and need not be."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._epochs is not None:
            self._epochs.close()
        if self._delivery is not None:
            self._delivery.close()
        if self._log is not None:
            self._log.write("debug", "closed")

    def __enter__(self) -> Self:
        """Return the loader itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _started(self) -> tuple[DistributedLoader, Epochs]:
        if self._loader is None or self._epochs is None:
            raise RuntimeError("start() has not been called yet: it says which consumer this is")
        return self._loader, self._epochs

    def _loader_of(self, consumer: int, delivery: Delivery) -> DistributedLoader:
        """Return what makes the batches of one consumer; starts nothing."""
        return DistributedLoader(
            self._factory,
            batch_sampler=ConsumerBatches(
                num_records=len(self._factory),
                batch_size=self._batch_size,
                consumer=consumer,
                num_consumers=self._num_consumers,
                shuffle=self._shuffle,
                seed=self._seed,
            ),
            seed=self._seed,
            num_workers=self._num_workers,
            collate_fn=delivery.collate_fn,
            # The batch sampler knows the consumers.
            rank=0,
            world_size=1,
            device=delivery.device,
            workers=WorkerOptions(
                prefetch=self._prefetch, device_batches=delivery.num_ahead, to_device=delivery.to_device
            ),
        )

    def _validate(self) -> None:
        """Make the first batch, and decode it; what the user has of random generators stays."""
        if not len(self._factory):
            raise ValueError("the dataset is empty: there is no batch to try out. validate=False takes it as it is")
        decoding = None if self._decoding is None else replace(self._decoding, num_threads=0)
        with self._loader_of(0, Delivery(self._collate_fn, decoding)) as loader:
            loader.peek()

    def _end_of_epoch(self, epoch: int) -> None:
        if not self._benchmark or self._loader is None or self._log is None:
            return
        if self._benchmark_file is None and not self._log.is_on:
            return
        stats = self._loader.stats(epoch)
        if self._benchmark_file is None:
            self._log.write("info", "benchmark", **stats.as_dict())
        else:
            append_text(self._benchmark_file, f"epoch {epoch}\n{stats}\n\n")


def _checked_number(name: str, value: object) -> int:
    try:
        return checked_count(name, value, 1)
    except (TypeError, ValueError) as error:
        raise InvalidCountError(str(error)) from None


def _chosen_seed(seed: int | None, seed_numer: int | None) -> int:
    if seed is not None and seed_numer is not None and seed != seed_numer:
        raise ValueError(f"seed={seed} and seed_numer={seed_numer} are two names of one number: give one of them")
    chosen = seed if seed is not None else seed_numer
    if chosen is None:
        chosen = int(time.time() * 1000)
    # Checks it.
    derive_key(chosen)
    return int(chosen)


def _order(shuffle: bool, nearby_shuffle: int) -> Shuffle:
    nearby_shuffle = checked_count("nearby_shuffle", nearby_shuffle, 0)
    if not shuffle:
        return False
    return Window(nearby_shuffle) if nearby_shuffle else "global"
