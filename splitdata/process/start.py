"""Puts a worker together: shared memory, pipes, process, job, channel. All of it or nothing.

call --pack--> bytes      arena   data pipe   note pipe   lifeline   stack pipe
                 |          `---------+-----------+-----------+----------'
                 |                        launch (spawn, forkserver, fork)
                 `--job--> note pipe      the worker's ends are closed here
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from splitdata.process.arena import Arena
from splitdata.process.budget import memory_budget
from splitdata.process.channel import Channel
from splitdata.process.children import Child
from splitdata.process.frames import COUNT
from splitdata.process.handle import WorkerHandle
from splitdata.process.launch import fork_worker, interrupts_blocked, parent_to_bind, spawn_worker
from splitdata.process.options import ChannelOptions
from splitdata.process.slots import Loans
from splitdata.process.travel import pack_call
from splitdata.process.wires import ConsumerWire, MessageWire, PipeWire, new_pipes
from splitdata.process.worker import Call, WorkerEnds

__all__ = ["prepare_server", "start_worker"]

BatchType = TypeVar("BatchType")

_log = logging.getLogger("splitdata")


def prepare_server(options: ChannelOptions) -> object | None:
    """Return the fork server if these options need it; it runs at least as long as the result is held."""
    if options.start_method != "forkserver":
        return None
    from splitdata.process.forkserver import ForkServer

    return ForkServer.shared()


def start_worker(
    function: Callable[..., Iterable[BatchType]],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    options: ChannelOptions,
    *,
    worker_id: int | None = None,
) -> Channel[BatchType]:
    """Start a process that runs `function(*args, **kwargs)` and return the iterator over what it yields.

    Returns at once; the process is still starting. Costs six descriptors until the iterator is closed.

    Raises:
        TypeError: Part of the call cannot be sent; nothing was started.
        OSError: No more descriptors or processes.
    """
    packed = None if options.start_method == "fork" else pack_call(function, args, kwargs)
    with contextlib.ExitStack() as cleanup:
        theirs = cleanup.enter_context(contextlib.ExitStack())
        arena = _make_arena(options, theirs)
        data, notes, wire = _make_wire(options, cleanup, theirs)
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
            parent=0 if options.start_method == "forkserver" else parent_to_bind(),
            use_signals=options.use_signals,
        )
        size = arena.size if arena is not None else 0
        handle: WorkerHandle | None = None
        try:
            with interrupts_blocked():
                child = _launch(ends, (function, args, dict(kwargs)), options, [*wire.descriptors(), lifeline, stack])
                handle = WorkerHandle(
                    child,
                    wire,
                    Loans(arena.map) if arena is not None else None,
                    lifeline=lifeline,
                    stack=stack,
                    use_signals=sys.platform == "linux" if options.use_signals is None else options.use_signals,
                )
                # The handle owns all of ours now, the worker has its own.
                cleanup.pop_all()
                theirs.close()
                return Channel(handle, options, _encode_job(packed, options), size, worker_id)
        except BaseException:
            if handle is not None:
                handle.close()
            raise
    raise AssertionError("unreachable")


def _encode_job(packed: bytes | None, options: ChannelOptions) -> bytes:
    job = pickle.dumps(
        {
            "call": packed,
            "max_batches": options.max_batches,
            "path": list(sys.path),
            "argv": list(sys.argv),
            "cwd": str(Path.cwd()),
        }
    )
    return COUNT.pack(len(job)) + job


def _make_arena(options: ChannelOptions, theirs: contextlib.ExitStack) -> Arena | None:
    try:
        arena = Arena.create(options.max_bytes or memory_budget(), options.arena_kind)
    except OSError as error:
        _log.warning("no shared memory for a worker (%s): its batches come through the pipe, which is slower", error)
        return None
    theirs.callback(arena.release_descriptor)
    return arena


def _make_wire(
    options: ChannelOptions, cleanup: contextlib.ExitStack, theirs: contextlib.ExitStack
) -> tuple[int, int, ConsumerWire]:
    if not options.use_pipes:
        from multiprocessing.connection import Pipe

        ours, connection = Pipe(duplex=True)
        cleanup.callback(ours.close)
        theirs.callback(connection.close)
        return connection.fileno(), -1, MessageWire(ours)
    (data_read, data_write), (notes_read, notes_write) = new_pipes()
    theirs.callback(os.close, data_write)
    theirs.callback(os.close, notes_read)
    wire = PipeWire(data_read, notes_write)
    cleanup.callback(wire.close)
    return data_write, notes_read, wire


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


def _launch(ends: WorkerEnds, call: Call, options: ChannelOptions, consumer_ends: list[int]) -> Child:
    if options.start_method == "fork":
        return fork_worker(ends, call, consumer_ends, use_sentinel=options.use_sentinel)
    if options.start_method == "forkserver":
        from splitdata.process.forkserver import ForkServer

        return ForkServer.shared().start_worker(ends)
    return spawn_worker(ends, use_sentinel=options.use_sentinel)
