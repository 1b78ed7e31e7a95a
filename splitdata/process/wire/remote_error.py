"""An exception of the worker, raised in the consumer as itself.

    worker: except error --report()--> bytes --> consumer: rebuild() --> the same type, and as its cause
                                                                         WorkerTraceback: where it was raised

The worker tries the round trip first: what does not survive it, or would come back as something else,
is sent as text and arrives as WorkerError with type, message and traceback. Exceptions can be hostile by
accident (a `__str__` that raises, an `__init__` that needs more arguments, a `__reduce__` that lies), so
every step that runs their code is fenced.

    report = pickle of (pickle of the error or None, name of its type, message, traceback text)
"""

from __future__ import annotations

import contextlib
import pickle
import traceback

from splitdata.errors import WorkerError
from splitdata.process.wire.traceback_folding import folded_text

__all__ = ["WorkerTraceback", "rebuild", "report"]


class WorkerTraceback(Exception):
    """The traceback of an error as the worker printed it; the cause of the error that the consumer sees."""

    def __str__(self) -> str:
        return f"in the worker process:\n{str(self.args[0]).rstrip() if self.args else ''}"


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as second:
        return f"<its __str__ raised {type(second).__name__}>"


def _traceback_text(error: BaseException) -> str:
    try:
        return folded_text(error)
    except BaseException:
        with contextlib.suppress(BaseException):
            return "".join(traceback.format_tb(error.__traceback__)) + f"{type(error).__qualname__}: {_text(error)}\n"
    return f"{type(error).__qualname__}: {_text(error)}\n"


def _survives(error: BaseException, packed: bytes) -> bool:
    again = pickle.loads(packed)
    return type(again) is type(error) and _text(again) == _text(error)


def report(error: BaseException) -> bytes:
    """Encode an error for the consumer. Never raises for what the error itself does."""
    packed: bytes | None
    try:
        packed = pickle.dumps(error, 5)
        if not _survives(error, packed):
            packed = None
    except BaseException:
        packed = None
    kind = type(error)
    return pickle.dumps((packed, f"{kind.__module__}.{kind.__qualname__}", _text(error), _traceback_text(error)), 5)


def rebuild(packed_report: bytes | memoryview, *, worker_id: int | None, pid: int | None) -> BaseException:
    """Return the exception to raise in the consumer, its cause set."""
    packed, name, message, text = pickle.loads(packed_report)
    error: BaseException | None = None
    if packed is not None:
        try:
            error = pickle.loads(packed)
        except KeyboardInterrupt:
            raise
        except BaseException as problem:
            text += f"\n(it could not be rebuilt here: {type(problem).__name__}: {_text(problem)})\n"
    # `type` and not `isinstance`: an object may lie about its class.
    if error is None or not issubclass(type(error), BaseException):
        error = WorkerError(f"worker process {pid} raised {name}: {message}\n\n{text}", worker_id=worker_id, pid=pid)
    elif issubclass(type(error), StopIteration):
        # Raised from __next__ it would look like the end of the batches (PEP 479 has the same rule).
        error = RuntimeError(f"the generator function raised {name}: {message}")
    # Past any __setattr__ of its class.
    BaseException.__dict__["__cause__"].__set__(error, WorkerTraceback(text))
    return error
