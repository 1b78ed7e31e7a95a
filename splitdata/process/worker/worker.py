"""Entry point of a worker process: set up, run the job, report, exit.

    A  setup: lifeline, death signal, stop, stacks             worker_setup.py
    B  hello: the consumer may now ask for our stack           sender.py
    C  job: environment, folder, sys.path, argv, the call      function_pickle.py
    D  batch after batch: wait for room, next(), send          sender.py
       a worker that serves: the same, one reply a request     requests.py
    E  end with the count, or a failure                        remote_error.py
    F  leave: close the generator, exit handlers, flush, exit

The process ends in os._exit after the handlers that a multiprocessing child would run as well: nobody waits for
the interpreter to be taken apart.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from splitdata.process.wire.arena import Arena
from splitdata.process.wire.pipes import Hangup, WorkerConnection, WorkerPipe, WorkerPipes
from splitdata.process.worker.function_pickle import unpack_call
from splitdata.process.worker.requests import refuse_early_end, send_all
from splitdata.process.worker.sender import Sender
from splitdata.process.worker.worker_setup import StopWorker, WorkerSetup, lead_process_group

if TYPE_CHECKING:
    from splitdata.process.wire.channel_options import ArenaKind

__all__ = ["Call", "WorkerEnds", "forked_main", "main", "spawned_main"]

Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class WorkerEnds(NamedTuple):
    """The things that a worker inherits: descriptors (on Windows handles) and a few facts.

    `notes` is -1 where `data` is a two-way Connection; `arena_size` 0 means no shared memory; `parent`
    is the process to bind to with a death signal, 0 for none; `use_signals` None decides by system.
    """

    data: int
    notes: int
    lifeline: int
    stack: int
    arena_kind: ArenaKind
    arena_size: int
    arena_handle: int | str
    parent: int
    use_signals: bool | None

    def descriptors(self) -> list[int]:
        """All descriptors among the fields."""
        numbers = [self.data, self.notes, self.lifeline, self.stack]
        if self.arena_size and isinstance(self.arena_handle, int):
            numbers.append(self.arena_handle)
        return [number for number in numbers if number >= 0]


def spawned_main(*ends: Any) -> NoReturn:
    """Run a worker in a fresh interpreter; `ends` are the fields of WorkerEnds."""
    main(WorkerEnds(*ends), None)


def forked_main(ends: WorkerEnds, call: Call | None, consumer_ends: Sequence[int] = ()) -> NoReturn:
    """Run a worker in a process just forked: first forget what belonged to the parent."""
    try:
        # Above all its end of our lifeline, which must end with the parent alone.
        _close_all(consumer_ends)
        _forget_parent()
        main(ends, call)
    finally:
        os._exit(1)


def main(ends: WorkerEnds, call: Call | None) -> NoReturn:
    """Run a worker and end the process."""
    code = 1
    try:
        lead_process_group()
        if sys.platform != "win32":
            for descriptor in ends.descriptors():
                # Programs that the generator starts must not inherit them.
                os.set_inheritable(descriptor, False)
        lifeline, stack = _descriptor(ends.lifeline, os.O_RDONLY), _descriptor(ends.stack, os.O_WRONLY)
        setup = WorkerSetup(lifeline, stack, parent=ends.parent or None, use_signals=ends.use_signals)
        sender = Sender(_port(ends), _arena(ends))
        code = _work(sender, setup, call)
        setup.close()
        _leave(code)
    except StopWorker:
        # Before the generator ran.
        _leave(code)
    except Hangup:
        os._exit(0)
    finally:
        os._exit(code)


def _descriptor(inherited: int, flags: int) -> int:
    """Return a descriptor for what was inherited: on Windows it is a handle."""
    if sys.platform == "win32":
        import msvcrt

        return msvcrt.open_osfhandle(inherited, flags)
    return inherited


def _port(ends: WorkerEnds) -> WorkerPipe:
    if ends.notes < 0:
        from multiprocessing import connection

        kind = getattr(connection, "PipeConnection" if sys.platform == "win32" else "Connection")
        return WorkerConnection(kind(ends.data))
    if hasattr(os, "register_at_fork"):
        # A process forked by the generator must not keep the pipe open after this one has ended.
        os.register_at_fork(after_in_child=lambda: _close_all((ends.data, ends.notes)))
    return WorkerPipes(ends.data, ends.notes)


def _close_all(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)


def _arena(ends: WorkerEnds) -> Arena | None:
    if not ends.arena_size:
        return None
    return Arena.attach(ends.arena_kind, ends.arena_size, ends.arena_handle)


def _work(sender: Sender, setup: WorkerSetup, call: Call | None) -> int:
    """Do the job; return the exit code. No end mark is sent but after the last batch."""
    batches: Iterator[Any] | None = None
    try:
        sender.hello(os.getpid())
        job = sender.read_job()
        sender.max_batches = job["max_batches"]
        worker_id = job["worker_id"]
        # Before anything of the user's is unpickled or run.
        os.environ.update(job["environment"])
        _limit_torch(job["worker_threads"])
        function, args, kwargs = call or _take_over(job)
        del call, job
        if worker_id is None:
            batches = iter(function(*args, **kwargs))
            send_all(batches, sender.await_room, sender.send)
            sender.end()
        else:
            batches = iter(function(worker_id, sender.requests, *args, **kwargs))
            send_all(batches, sender.await_room, sender.reply)
            refuse_early_end(sender.read_notes)
        return 0
    except (Hangup, StopWorker):
        return 0
    except SystemExit as stop:
        return _exit_code(stop)
    except BaseException as error:
        with contextlib.suppress(Hangup, StopWorker):
            sender.fail(error)
        return 1
    finally:
        setup.close()
        close = getattr(batches, "close", None)
        if close is not None:
            # The generator's own `finally` blocks; what they raise has nobody left to hear it.
            with contextlib.suppress(BaseException):
                close()


def _limit_torch(worker_threads: int | None) -> None:
    """Give torch its threads where a fork has brought it along; loaded later, it looks at the environment."""
    torch = sys.modules.get("torch")
    if torch is not None and worker_threads is not None:
        torch.set_num_threads(worker_threads)


def _take_over(job: dict[str, Any]) -> Call:
    sys.path[:] = job["path"]
    sys.argv[:] = job["argv"]
    os.chdir(job["cwd"])
    return unpack_call(job["call"])


def _exit_code(stop: SystemExit) -> int:
    if stop.code is None or isinstance(stop.code, int):
        return (stop.code or 0) & 0xFF
    with contextlib.suppress(BaseException):
        sys.stderr.write(f"{stop.code}\n")
    return 1


def _forget_parent() -> None:
    """Drop what a forked worker must not touch: the parent's exit handlers, children, input and randomness."""
    lead_process_group()
    atexit._clear()
    with contextlib.suppress(ValueError):
        signal.set_wakeup_fd(-1)
    process, util = sys.modules.get("multiprocessing.process"), sys.modules.get("multiprocessing.util")
    if process is not None and util is not None:
        vars(process)["_children"] = set()
        util._finalizer_registry.clear()
        util._run_after_forkers()
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    os.close(nowhere)
    # A fresh interpreter would have drawn its own; without this every epoch would repeat the parent's draws.
    numpy_random, torch = sys.modules.get("numpy.random"), sys.modules.get("torch")
    if numpy_random is not None:
        numpy_random.seed()
    if torch is not None:
        # Its OpenMP threads did not survive the fork; waiting for them would hang.
        torch.set_num_threads(1)
        torch.default_generator.seed()


def _leave(code: int) -> NoReturn:
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        util = sys.modules.get("multiprocessing.util")
        if util is not None:
            util._exit_function()
        atexit._run_exitfuncs()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(BaseException):
                stream.flush()
        os._exit(code)
