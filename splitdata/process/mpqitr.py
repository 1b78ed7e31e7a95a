"""MpQItr: any generator of batches, running in another process while this one uses the batches.

The generator needs no change: its batches arrive in order, its errors as themselves.

    MpQItr(generator_function, *args, **kwargs)
        iter()  -->  a fresh worker process runs generator_function(*args, **kwargs)    start.py
        next()  <--  its batches, in order, through shared memory                       channel.py
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from splitdata._ownership import Closeable, renew_after_fork
from splitdata.errors import ClosedError
from splitdata.process.wire.channel_options import STALL_WARNING, ChannelOptions, StartMethod

if TYPE_CHECKING:
    from splitdata.process.consumer.channel import Channel

__all__ = ["MpQItr"]

BatchType = TypeVar("BatchType")
Arguments = ParamSpec("Arguments")


class MpQItr(Closeable, Generic[BatchType]):
    """Runs a generator in another process; its batches arrive through shared memory.

        batches = MpQItr[dict](read_batches, "data/train", batch_size=64)
        for batch in batches:
            train(batch)

    Each `iter()` starts a fresh run in a process of its own; several may run at once. The function may
    be a lambda, a closure, or defined in a notebook or a script without main guard.

    A batch is any nesting of containers with arrays, tensors, or whatever pickles. Arrays and tensors
    of 16 KiB and more arrive without a copy, are writable, and stay valid for as long as someone holds
    them. If you keep so many that half of the shared memory is taken, you get copies from then on.

    The generator runs at most `max_batches` ahead. What it raises is raised here, after everything
    that it yielded before, with the worker's traceback as its cause. A worker that dies is
    WorkerCrashedError within a second. The end comes only after the last batch.

    Args:
        generator_function: Called in the worker; returns the iterable of batches.
        *args: For the function. They must pickle (cloudpickle), except with start_method="fork".
        **kwargs: The same.

    Options (see `options`) never collide with the generator's own keywords.

    Raises:
        TypeError: From `iter()`: part of the call cannot be sent to a process. None was started.
    """

    def __init__(self, generator_function: Callable[..., Iterable[BatchType]], /, *args: Any, **kwargs: Any) -> None:
        self._set_up(ChannelOptions(), generator_function, args, kwargs)

    def _set_up(
        self,
        options: ChannelOptions,
        function: Callable[..., Iterable[BatchType]],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        if not callable(function):
            raise TypeError(
                f"MpQItr needs a function that returns a generator, not {type(function).__name__}: pass the "
                "function and its arguments, not the result of calling it"
            )
        self._options = options
        self._function = function
        self._args = args
        self._kwargs = kwargs
        self._is_closed = False
        self._running: weakref.WeakSet[Channel[BatchType]] = weakref.WeakSet()
        renew_after_fork(self)

    def _after_fork_in_child(self) -> None:
        # The runs are the parent's; this copy may start its own.
        self._running = weakref.WeakSet()

    @staticmethod
    def options(
        *,
        max_batches: int = 16,
        max_bytes: int | None = None,
        start_method: StartMethod | None = None,
        timeout: float | None = None,
        stall_warning: float | None = STALL_WARNING,
        copy: bool = False,
        worker_threads: int | None = 1,
    ) -> MpQItrFactory:
        """Choose options, then call the result as if it were MpQItr.

            MpQItr.options(max_batches=4, timeout=30)(read_batches, "data/train", batch_size=64)

        Args:
            max_batches: Batches that may have left the generator and not reached the loop.
            max_bytes: Shared memory of one run in bytes; it is touched only as far as needed. A batch
                that is larger goes through the pipe. None: 1 GiB, or 10 % of the memory that is free
                to this process if that is less, divided by the processes of this job on this machine.
            start_method: "spawn" (default: a fresh interpreter) or "fork" (faster, nothing needs to pickle, unsafe
                with threads and with CUDA).
            timeout: Seconds to wait for a batch before WorkerTimeoutError with the worker's stack.
            stall_warning: Without a batch for so many seconds, log where the worker stands, and
                again after as many. None: never.
            copy: Copy each batch into private memory on receipt.
            worker_threads: Threads of OpenMP, BLAS and torch in the worker. None: what these libraries take, which
                is usually all cores.

        Raises:
            TypeError: An option of a wrong type.
            ValueError: An option out of range.
        """
        return MpQItrFactory(
            ChannelOptions(
                max_batches=max_batches,
                max_bytes=max_bytes,
                start_method=start_method,
                timeout=timeout,
                stall_warning=stall_warning,
                copy=copy,
                worker_threads=worker_threads,
            )
        )

    def __iter__(self) -> Channel[BatchType]:
        """Start a fresh run. The iterator has `close()` and may be used in a `with`.

        Raises:
            ClosedError: This MpQItr was closed.
            TypeError: Part of the call cannot be sent to a process.
            OSError: The system gives no more processes or descriptors.
        """
        from splitdata.process.consumer.start import start_worker

        if self._is_closed:
            raise ClosedError("this MpQItr was closed: make another one")
        running = start_worker(self._function, self._args, self._kwargs, self._options)
        self._running.add(running)
        return running

    def close(self) -> None:
        """End all runs. Batches already handed out stay valid. May be called more than once."""
        self._is_closed = True
        runs = list(self._running)
        for run in runs:
            run.begin_close()
        for run in runs:
            run.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without the runs: the copy starts its own."""
        return _rebuild, (self._options, self._function, self._args, self._kwargs)


@dataclass(frozen=True)
class MpQItrFactory:
    """MpQItr with options chosen: call it with the generator function and its arguments."""

    channel_options: ChannelOptions

    def __call__(
        self,
        generator_function: Callable[Arguments, Iterable[BatchType]],
        /,
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> MpQItr[BatchType]:
        """Return an MpQItr with these options."""
        return _rebuild(self.channel_options, generator_function, args, dict(kwargs))


def _rebuild(
    options: ChannelOptions,
    function: Callable[..., Iterable[BatchType]],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> MpQItr[BatchType]:
    itr: MpQItr[BatchType] = MpQItr.__new__(MpQItr)
    itr._set_up(options, function, args, kwargs)
    return itr
