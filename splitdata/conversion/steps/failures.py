"""What becomes of records that a user's functions fail on: an error, or they are counted and left out, or put aside.

Records are numbered as the source gives them, from 0.

    failure ──raise──> the exception itself, with a note which record it was
            ──skip───> counted; more than `max_errors` are an error, too
            ──put aside──> FOLDER/000000000017.record  the record as it came
                           FOLDER/000000000017.json    {"record": 17, "key": ..., "error": "ValueError: ..."}
"""

from __future__ import annotations

import errno
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from splitdata._local_path import local_path
from splitdata._shown import shown
from splitdata.errors import TooManySkippedError

if TYPE_CHECKING:
    import os

__all__ = ["FAILED", "FailedRecord", "FailurePolicy"]

FAILED: Final = "failed record"
"""What reports call such records."""

_MAX_TEXT: Final = 10_000


@dataclass(frozen=True, slots=True)
class FailedRecord:
    """A record that a function failed on.

    Attributes:
        number: It has in the source, from 0.
        key: It has, None for none.
        record: Its bytes.
        error: The exception.
    """

    number: int
    key: str | None
    record: bytes
    error: Exception


class FailurePolicy:
    """Decides about records that failed, and counts them.

    Attributes:
        num_failed: Failures so far; those of earlier calls of a resumed conversion too.
    """

    def __init__(
        self,
        on_error: Literal["raise", "skip"] = "raise",
        quarantine: str | os.PathLike[str] | None = None,
        max_errors: int | None = None,
        *,
        may_hold_files: bool = False,
    ) -> None:
        """Take what `convert` takes; a folder for quarantine means skipping, and is made with the first failure.

        Args:
            on_error: What to do.
            quarantine: Folder for the records that are left out.
            max_errors: How many may be left out.
            may_hold_files: Whether earlier calls may have put records there.

        Raises:
            FileExistsError: If the folder for quarantine holds files.
        """
        if on_error not in ("raise", "skip"):
            raise ValueError(f"on_error must be 'raise' or 'skip', got {on_error!r}")
        self.skips = on_error == "skip" or quarantine is not None
        if max_errors is not None and (max_errors < 0 or not self.skips):
            raise ValueError(f"max_errors must be 0 or more, and goes with records that are left out; got {max_errors}")
        self.num_failed = 0
        self.folder = None if quarantine is None else Path(local_path(quarantine, "the folder for quarantine"))
        self._max_errors = max_errors
        if self.folder and not may_hold_files and self.folder.exists() and any(self.folder.iterdir()):
            raise FileExistsError(
                errno.EEXIST, "the folder for quarantine holds files; choose an empty one", str(self.folder)
            )

    def begin(self, num_failed: int) -> None:
        """Count from so many failures on, which came before the position that a reading begins at."""
        self.num_failed = num_failed

    def take(self, failed: FailedRecord) -> None:
        """Count a record that failed, and put it aside; or raise.

        Raises:
            Exception: The one that the function raised, unless records are skipped.
            TooManySkippedError: If this is one more than may be.
        """
        key = "" if failed.key is None else f" with the key {shown(failed.key)}"
        where = f"record {failed.number} of the source{key}"
        if not self.skips:
            failed.error.add_note(f"in {where}")
            raise failed.error
        self.num_failed += 1
        if self.folder:
            self._put_aside(failed, self.folder)
        if self._max_errors is not None and self.num_failed > self._max_errors:
            raise TooManySkippedError(
                f"{self.num_failed} records failed, and at most {self._max_errors} may; the last was {where}: "
                f"{_text(failed.error)}",
                num_skipped=self.num_failed,
            ) from failed.error

    def _put_aside(self, failed: FailedRecord, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{failed.number:012d}"
        (folder / f"{name}.record").write_bytes(failed.record)
        told = {"record": failed.number, "key": failed.key, "error": _text(failed.error)}
        (folder / f"{name}.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:_MAX_TEXT]
