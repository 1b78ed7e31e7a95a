"""Words the error of a failed operation on a file: which file, which operation, and what to do next.

The system says "No space left on device" and no more. Error number and type stay as the system gave them.

    OSError(ENOSPC, "No space left on device")
      ──> OSError(ENOSPC, "No space left on device: cannot write; the disk is full, ...", "/data/.../000000.bin")
"""

from __future__ import annotations

import errno
import functools
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Concatenate, Final, NoReturn, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["explains", "raise_explained"]

_Subject = TypeVar("_Subject", str, int)
_Rest = ParamSpec("_Rest")
_Result = TypeVar("_Result")

# These name their file, say all, and are part of how the library works.
_PLAIN: Final = (FileNotFoundError, FileExistsError, NotADirectoryError)
_CANNOT: Final = ": cannot "
_MOST_FILES: Final = "use fewer bins, or remove files"
_WAYS_OUT: Final = {
    errno.EDQUOT: "the quota of this user is used up: remove files, or write elsewhere",
    errno.EAGAIN: "another program holds a lease or a lock on it, and was told now: try again, or close it there",
    errno.EROFS: "the file system is mounted read-only: write elsewhere, or mount it for writing",
    errno.EACCES: "this user may not: change the owner or the rights, or write elsewhere",
    errno.EPERM: "this user may not: change the owner or the rights, or write elsewhere",
    errno.EMFILE: "this process has too many open files: close some, or raise its limit (ulimit -n)",
    errno.ENFILE: "the system has too many open files: close some",
    errno.EFBIG: "the file system or a limit of this process allows no file of this size: use more bins",
    errno.EIO: "the medium, or the connection to it, fails, and nothing is tried again: look at the system's log",
}
_NOT_DURABLE: Final = "where the file system cannot wait for its medium, durability='none' does without"


def explains(
    operation: str,
) -> Callable[[Callable[Concatenate[_Subject, _Rest], _Result]], Callable[Concatenate[_Subject, _Rest], _Result]]:
    """Let the errors of a function name the file that is its first argument, a path or a descriptor."""

    def decorate(
        function: Callable[Concatenate[_Subject, _Rest], _Result],
    ) -> Callable[Concatenate[_Subject, _Rest], _Result]:
        @functools.wraps(function)
        def told(subject: _Subject, /, *rest: _Rest.args, **keywords: _Rest.kwargs) -> _Result:
            try:
                return function(subject, *rest, **keywords)
            except OSError as error:
                raise_explained(error, operation, subject)

        return told

    return decorate


def raise_explained(error: OSError, operation: str, subject: str | int) -> NoReturn:
    """Raise an error that names the file, a path or a descriptor; for functions that are called for each record.

    To be called where the error is handled: one that says all already is raised as it is.
    """
    try:
        if isinstance(error, _PLAIN):
            if isinstance(subject, str):
                # In an open folder the system was told the name alone.
                error.filename = subject
            raise error
        if error.errno is None or _CANNOT in str(error.strerror):
            raise error
        raise _explained(error.errno, f"{error.strerror}{_CANNOT}{operation}", subject) from error
    finally:
        # Its traceback leads here: what the caller's frames hold, a pinned manifest for one, would live until the
        # garbage collector comes by.
        del error


def _explained(code: int, text: str, subject: str | int) -> OSError:
    path = subject if isinstance(subject, str) else _path_of(subject)
    way_out = _full(path) if code == errno.ENOSPC else _WAYS_OUT.get(code, _NOT_DURABLE if "sync" in text else "")
    return OSError(code, f"{text}; {way_out}" if way_out else text, path)


def _path_of(descriptor: int) -> str:
    """Return the name of an open file, as far as the system tells."""
    with suppress(OSError):
        return os.readlink(f"/proc/self/fd/{descriptor}")
    return f"an open file (descriptor {descriptor})"


def _full(path: str) -> str:
    """Name the resource that has run out."""
    with suppress(OSError, AttributeError):
        found = os.statvfs(path if os.path.isdir(path) else os.path.dirname(path))
        if found.f_files and not found.f_favail:
            return f"the file system can hold no more files (inodes): {_MOST_FILES}"
        return (
            f"the disk is full, {found.f_bavail * found.f_frsize} bytes are free: make room; what was committed is safe"
        )
    return "the disk is full: make room; what was committed is safe"
