"""Starts a worker: shared memory, pipes, process, job, receiver. All of it or nothing.

Whatever fails on the way, all that was made before it is taken back.

    call --pack--> bytes      arena   data pipe   note pipe   lifeline   stack pipe
                     |          `---------+-----------+-----------+----------'
                     |                        launch (spawn, fork)
                     `--job--> note pipe      the worker's ends are closed here
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import pickle
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn, TypeVar

from splitdata._shown import one_line
from splitdata.process.consumer.channel import Channel
from splitdata.process.consumer.child_process import ChildProcess
from splitdata.process.consumer.launch import (
    fork_worker,
    import_environment,
    import_path,
    interrupts_blocked,
    parent_to_bind,
    spawn_worker,
    thread_environment,
)
from splitdata.process.consumer.receiver import Receiver
from splitdata.process.consumer.worker_handle import HandleGroup, WorkerHandle
from splitdata.process.wire.arena import Arena
from splitdata.process.wire.channel_options import ChannelOptions
from splitdata.process.wire.memory_budget import memory_budget
from splitdata.process.wire.messages import COUNT
from splitdata.process.wire.pipes import ConsumerConnection, ConsumerPipe, ConsumerPipes, new_pipes
from splitdata.process.wire.slots import Loans
from splitdata.process.worker.function_pickle import pack_call
from splitdata.process.worker.worker import Call, WorkerEnds

__all__ = ["start_servers", "start_worker"]

BatchType = TypeVar("BatchType")
ReceiverType = TypeVar("ReceiverType", bound=Receiver)

_log = logging.getLogger("splitdata")

# Of this process, for each worker: while it starts it has the worker's ends too.
_NUM_DESCRIPTORS: Final = 6
_NUM_WHILE_STARTING: Final = 8


def start_worker(
    function: Callable[..., Iterable[BatchType]],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    options: ChannelOptions,
) -> Channel[BatchType]:
    """Start a process that runs `function(*args, **kwargs)` and return the iterator over what it yields.

    Returns at once; the process is still starting. Costs six descriptors until the iterator is closed.

    Raises:
        TypeError: Part of the call cannot be sent; nothing was started.
        OSError: No more descriptors or processes; says how many descriptors are needed and how many there are.
    """
    call = _pack(function, args, kwargs, options)
    with interrupts_blocked():
        try:
            place = _WorkerPlace(None, options.max_bytes or memory_budget(), {})
            return Channel(_start(call, place, options, Receiver), options)
        except OSError as error:
            _raise_told(error, 0, 1)


def start_servers(
    function: Callable[..., Iterable[Any]],
    args: tuple[Any, ...],
    options: ChannelOptions,
    environments: Sequence[Mapping[str, str]],
    make_receiver: Callable[..., ReceiverType],
) -> list[ReceiverType]:
    """Start a process for each environment; the one with number i runs `function(i, requests, *args)`.

    The memory budget is divided among them. Returns what `make_receiver`, which is called as Receiver is, makes of
    each. Raises what `start_worker` does; then none is left.
    """
    call = _pack(function, args, {}, options)
    num_bytes = max(1, (options.max_bytes or memory_budget()) // len(environments))
    receivers: list[ReceiverType] = []
    with interrupts_blocked():
        try:
            for number, environment in enumerate(environments):
                receivers.append(_start(call, _WorkerPlace(number, num_bytes, environment), options, make_receiver))
        except BaseException as error:
            HandleGroup([receiver.handle for receiver in receivers]).close()
            if isinstance(error, OSError):
                _raise_told(error, len(receivers), len(environments))
            raise
    return receivers


def _raise_told(error: OSError, num_started: int, num_workers: int) -> NoReturn:
    """Raise it again; where descriptors have run out, say how many are needed and how many there are."""
    if error.errno != errno.EMFILE or sys.platform == "win32":
        try:
            raise error
        finally:
            # It knows this frame, and the frame would know it.
            del error
    import resource

    which = f"worker {num_started + 1} of {num_workers}" if num_workers > 1 else "the worker process"
    fewer = "use fewer workers, close files" if num_workers > 1 else "close files"
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    raise OSError(
        error.errno,
        f"{error.strerror}: {which} cannot be started; each takes {_NUM_DESCRIPTORS} descriptors of this process, and "
        f"{_NUM_WHILE_STARTING} more while it starts, and this process may have {limit} for all that it does: "
        f"{fewer}, or raise the limit (`ulimit -n`)",
    ) from None


class _Call(NamedTuple):
    """The call that a worker runs: as it is for a forked one, packed for the others."""

    call: Call
    packed: bytes | None


class _WorkerPlace(NamedTuple):
    """The facts of one worker: its number, None for a generator, its memory, its environment."""

    worker_id: int | None
    max_bytes: int
    environment: Mapping[str, str]


def _pack(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], options: ChannelOptions
) -> _Call:
    packed = None if options.start_method == "fork" else pack_call(function, args, kwargs)
    return _Call((function, args, dict(kwargs)), packed)


def _start(
    call: _Call, place: _WorkerPlace, options: ChannelOptions, make_receiver: Callable[..., ReceiverType]
) -> ReceiverType:
    """Start one worker, interrupts blocked."""
    with contextlib.ExitStack() as cleanup:
        theirs = cleanup.enter_context(contextlib.ExitStack())
        arena = _make_arena(place.max_bytes, options, theirs)
        data, notes, pipe = _make_pipes(options, cleanup, theirs)
        lifeline, their_lifeline = _pipe_to(cleanup, theirs)
        stack, their_stack = _pipe_from(cleanup, theirs)
        ends = WorkerEnds(
            data=data,
            notes=notes,
            lifeline=their_lifeline,
            stack=their_stack,
            arena_kind=arena.kind if arena is not None else "file",
            arena_size=arena.size if arena is not None else 0,
            arena_handle=arena.handle if arena is not None else -1,
            parent=parent_to_bind(),
            use_signals=options.use_signals,
        )
        child = _launch(ends, call.call, options, [*pipe.descriptors(), lifeline, stack])
        handle = WorkerHandle(
            child,
            pipe,
            Loans(arena.map) if arena is not None else None,
            lifeline=lifeline,
            stack=stack,
            use_signals=sys.platform == "linux" if options.use_signals is None else options.use_signals,
        )
        # The handle owns all of ours now, the worker has its own.
        cleanup.pop_all()
        try:
            theirs.close()
            return make_receiver(handle, options, _encode_job(call, place, options), ends.arena_size, place.worker_id)
        except BaseException:
            handle.close()
            raise
    raise AssertionError("unreachable")


def _encode_job(call: _Call, place: _WorkerPlace, options: ChannelOptions) -> bytes:
    job = pickle.dumps(
        {
            "call": call.packed,
            "worker_id": place.worker_id,
            "environment": {
                **import_environment(),
                **thread_environment(options.worker_threads),
                **place.environment,
            },
            "worker_threads": options.worker_threads,
            "max_batches": options.max_batches,
            "path": import_path(),
            "argv": list(sys.argv),
            "cwd": str(Path.cwd()),
        }
    )
    return COUNT.pack(len(job)) + job


def _make_arena(max_bytes: int, options: ChannelOptions, theirs: contextlib.ExitStack) -> Arena | None:
    try:
        arena = Arena.create(max_bytes, options.arena_kind)
    except OSError as error:
        _log.warning(
            "no shared memory for a worker (%s): its batches come through the pipe, which is slower", one_line(error)
        )
        return None
    theirs.callback(arena.release_descriptor)
    return arena


def _make_pipes(
    options: ChannelOptions, cleanup: contextlib.ExitStack, theirs: contextlib.ExitStack
) -> tuple[int, int, ConsumerPipe]:
    if not options.use_pipes:
        from multiprocessing.connection import Pipe

        ours, connection = Pipe(duplex=True)
        cleanup.callback(ours.close)
        theirs.callback(connection.close)
        return connection.fileno(), -1, ConsumerConnection(ours)
    (data_read, data_write), (notes_read, notes_write) = new_pipes()
    theirs.callback(os.close, data_write)
    theirs.callback(os.close, notes_read)
    pipe = ConsumerPipes(data_read, notes_write)
    cleanup.callback(pipe.close)
    return data_write, notes_read, pipe


def _pipe_to(cleanup: contextlib.ExitStack, theirs: contextlib.ExitStack) -> tuple[int, int]:
    read, write = os.pipe()
    cleanup.callback(os.close, write)
    theirs.callback(os.close, read)
    return write, _inheritable(read)


def _pipe_from(cleanup: contextlib.ExitStack, theirs: contextlib.ExitStack) -> tuple[int, int]:
    read, write = os.pipe()
    cleanup.callback(os.close, read)
    theirs.callback(os.close, write)
    return read, _inheritable(write)


def _inheritable(descriptor: int) -> int:
    """Return the number by which a worker inherits a descriptor: on Windows its handle."""
    if sys.platform == "win32":
        import msvcrt

        return msvcrt.get_osfhandle(descriptor)
    return descriptor


def _launch(ends: WorkerEnds, call: Call, options: ChannelOptions, consumer_ends: list[int]) -> ChildProcess:
    if options.start_method == "fork":
        return fork_worker(ends, call, consumer_ends, use_sentinel=options.use_sentinel)
    return spawn_worker(ends, thread_environment(options.worker_threads), use_sentinel=options.use_sentinel)
