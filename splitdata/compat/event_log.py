"""The log of a loader, as swift_loader keeps it: one line of JSON for each event, in a file of each consumer.

Nothing stays open, and no logger of the program's own is touched.

    {"path": "logs/train"}    ──>  logs/train_Dataloader-0.json
    {"event": "epoch is over", "level": "info", "logger": "Dataloader-0", "timestamp": "2026-...", "epoch": 3}

Files are opened for each line, of which there are a few an epoch.
"""

from __future__ import annotations

import datetime
import json
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

__all__ = ["EventLog", "LogSettings", "append_text"]

_KEYS: Final = ("path", "stdout", "level", "suffix", "separate_sink")


class LogSettings:
    """What a user says of the log: nothing, the prefix of its files, or a dict.

    Args:
        given: None, a prefix, or a dict with any of `path` (prefix, or name that ends in .json or .log), `stdout`
            (bool: lines go there too), `level` (name of the lowest that is written, DEBUG by default), `suffix`
            (part of the files' names) and `separate_sink` (False: all consumers write to one file).

    Raises:
        TypeError, ValueError: It is something else.
    """

    def __init__(self, given: str | Mapping[str, Any] | None) -> None:
        # Also what callers without a type checker may pass.
        value: object = {"path": given} if given is None or isinstance(given, str) else given
        if not isinstance(value, Mapping):
            raise TypeError(f"logger must be the prefix of a file, a dict or None, got {given!r:.200}")
        unknown = [key for key in value if key not in _KEYS]
        if unknown:
            raise ValueError(f"logger has no {unknown[0]!r}: it may have {', '.join(_KEYS)}")
        level = str(value.get("level", "DEBUG")).upper()
        if level not in logging.getLevelNamesMapping():
            raise ValueError(f"the level of logger must be DEBUG, INFO, WARNING or ERROR, got {value['level']!r}")
        self.level = logging.getLevelNamesMapping()[level]
        self.to_stdout = bool(value.get("stdout", False))
        self.is_separate = bool(value.get("separate_sink", True))
        self._path = value.get("path")
        self._suffix = value.get("suffix")

    def file_of(self, consumer: str) -> Path | None:
        """Return the file of one consumer, None where nothing is to be written."""
        if self._path is None:
            return None
        path = Path(self._path)
        ending = path.suffix if path.suffix in (".json", ".log") else ".json"
        parts = [str(path).removesuffix(ending), self._suffix, consumer if self.is_separate else None]
        return Path("_".join(part for part in parts if part) + ending)


class EventLog:
    """Writes the events of one consumer. Safe to use from several processes: each line is one write.

    Args:
        settings: From the user.
        consumer: Its name, as "Dataloader-0".

    Raises:
        OSError: The folder of the file cannot be made.
    """

    def __init__(self, settings: LogSettings, consumer: str) -> None:
        self._settings = settings
        self._consumer = consumer
        self._file = settings.file_of(consumer)
        self.is_on = self._file is not None or settings.to_stdout
        if self._file is not None:
            self._file.parent.mkdir(parents=True, exist_ok=True)

    def write(self, level: str, event: str, **fields: Any) -> None:
        """Write an event, where this level is wanted.

        Raises:
            OSError: The disk refuses it.
        """
        if not self.is_on or logging.getLevelNamesMapping()[level.upper()] < self._settings.level:
            return
        timestamp = datetime.datetime.now(datetime.UTC).isoformat()
        head = {"event": event, "level": level, "logger": self._consumer, "timestamp": timestamp}
        line = json.dumps(head | fields, default=str) + "\n"
        if self._file is not None:
            append_text(self._file, line)
        if self._settings.to_stdout:
            sys.stdout.write(line)


def append_text(path: Path, text: str) -> None:
    """Put a text behind what a file holds, in one write."""
    with path.open("a", encoding="utf-8") as file:
        file.write(text)
