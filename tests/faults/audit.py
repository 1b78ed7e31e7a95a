"""What Python reports of a process while data is read: nothing may run, start, connect, or be opened elsewhere.

    armed(roots) ── sys.addaudithook ── every event until the process ends ──> Audit.found

A hook cannot be taken away again, so it is armed in a forked child. Armed when all modules are loaded: what is
imported, compiled or run behind that comes from data.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any, Final

import splitdata
import splitdata_cli
from splitdata.storage.paths import DatasetPaths, SegmentPaths

__all__ = ["Audit"]

_FORBIDDEN: Final = (
    *("import", "compile", "exec", "pickle.", "marshal.", "code.__new__", "function.__new__", "builtins.input"),
    *("subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.startfile", "pty.spawn"),
    *("socket.", "urllib.", "ftplib.", "http.", "smtplib.", "sqlite3.", "webbrowser.", "ctypes.dlopen", "ctypes.dlsym"),
)
# What a system says of itself, and where temporary files may lie.
_SYSTEM: Final = (
    *("/proc/", "/sys/", "/dev/null", "/dev/urandom", "/etc/localtime", "/usr/share/zoneinfo"),
    # Lines of ours, for a warning.
    *(str(Path(package.__file__ or "").parent) for package in (splitdata, splitdata_cli)),
)
# What a cache, and the removal of one, names its files and folders; all but the words are numbers.
_CACHE_NAME: Final = re.compile(
    r"(key|state)(\.[0-9a-f]+)?(\.tmp|\.json)|generation\.[0-9a-f.]+|writer\.[0-9a-f]+(\.lock)?|removed\.[0-9a-f]+"
)
_OPENING: Final = ("open", "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate")


class Audit:
    """Notes what must not happen.

    Attributes:
        found: One line for each event.
        count: Events that were looked at.
    """

    def __init__(self, root: Path, names: tuple[str, ...] = ()) -> None:
        """Take the folder within which files may be opened, and the names of datasets and caches in it."""
        self.found: list[str] = []
        self.count = 0
        self._root, self._names = str(root), names

    def arm(self) -> None:
        """Look at every event from here to the end of the process."""
        sys.addaudithook(self)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Take an event."""
        self.count += 1
        if event == "compile" and arguments[1] == "<unknown>" and _is_npy_header():
            return
        if event.startswith(_FORBIDDEN):
            self.found.append(f"{event} {arguments!r:.200}")
        elif event in _OPENING:
            self.found += [
                f"{event} {path!r:.200}"
                for path in arguments[:2]
                if isinstance(path, (str, bytes)) and self._is_far(path)
            ]

    def _is_far(self, given: str | bytes) -> bool:
        """Say whether a path leads anywhere else; a name alone counts from a folder that is open."""
        path = os.fsdecode(given)
        if path in ("r", "w", "rb", "wb", "r+b", "x", "xb"):
            return False
        if path.startswith("/"):
            resolved = os.path.normpath(path)
            return not resolved.startswith((self._root, *_SYSTEM))
        return not (
            path in (".", "segments", *self._names)
            or _CACHE_NAME.fullmatch(path)
            or SegmentPaths.is_own_name(path)
            or DatasetPaths.generation_of_name(path) is not None
            or DatasetPaths.is_scratch(path)
            or DatasetPaths.is_segment(path)
        )


def _is_npy_header() -> bool:
    """Say whether numpy has the header of an npy file made a tree, by `ast.literal_eval`: nothing of it is run."""
    frame = sys._getframe(2)
    names = []
    for _ in range(3):
        names.append(frame.f_code.co_name)
        if frame.f_back is None:
            return False
        frame = frame.f_back
    return names[:2] == ["parse", "literal_eval"] and names[2] == "_read_array_header"
