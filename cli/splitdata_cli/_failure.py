"""Errors as one line on stderr and an exit code; warnings as one line, too.

A person at a terminal needs the message, not our stack: tracebacks are shown only with `--traceback`.

    wrong input, damage, a full disk      splitdata: error: ...        2
    what the library warns of             splitdata: warning: ...      goes on
    Ctrl-C                                splitdata: interrupted       130
    the reader of a pipe has left         nothing                      141
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
import warnings
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from splitdata_cli._phrases import in_options
from splitdata_cli._render import escape, print_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["OneLineGroup", "complain", "message_of"]

_WRONG: Final = 2
# What a shell reports of a program that the signal itself has ended.
_INTERRUPTED: Final = 128 + 2
_BROKEN_PIPE: Final = 128 + 13


class OneLineGroup(click.Group):
    """A group of commands whose errors are one line each."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,  # as click has it
    ) -> Any:  # as click has it
        """Run the command that the arguments name, and exit."""
        run = super().main
        if not standalone_mode:
            return run(args, prog_name, complete_var, standalone_mode=False, **extra)
        try:
            with _warnings_on_a_line():
                code = run(args, prog_name, complete_var, standalone_mode=False, **extra)
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx else "splitdata"
            complain(f"error: {error.format_message()} (`{command} --help` tells more)")
            sys.exit(_WRONG)
        except click.ClickException as error:
            complain(f"error: {error.format_message()}")
            sys.exit(error.exit_code)
        except click.Abort:
            complain("interrupted")
            sys.exit(_INTERRUPTED)
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: click.Context) -> Any:  # as click has it
        """Run the command, and turn what it raises into an exit code."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except KeyboardInterrupt:
            complain("interrupted")
            ctx.exit(_INTERRUPTED)
        except BrokenPipeError:
            _forget_stdout()
            ctx.exit(_BROKEN_PIPE)
        except Exception as error:
            if ctx.params.get("traceback"):
                _show_traceback(error)
            else:
                complain(f"error: {message_of(error)}")
            try:
                sys.stdout.flush()
            except OSError:
                # A full disk, say, of which the line above has told.
                _forget_stdout()
            ctx.exit(_WRONG)


def complain(message: str) -> None:
    """Print a message on stderr, as one line with all that does not print escaped."""
    # Some messages of click have several lines.
    line = " ".join(message.split("\n"))
    # Nobody is left to read it where stderr is closed.
    with suppress(OSError):
        print_line(f"splitdata: {escape(line)}", to_stderr=True)


def _show_traceback(error: Exception) -> None:
    with suppress(OSError):
        for line in "".join(traceback.format_exception(error)).rstrip("\n").split("\n"):
            print_line(escape(line), to_stderr=True)


@contextmanager
def _warnings_on_a_line() -> Iterator[None]:
    """Let what the library logs and warns of while the block runs be a line each: it names files and keys."""
    handler = _LineHandler(logging.WARNING)
    logger, show = logging.getLogger("splitdata"), warnings.showwarning
    logger.addHandler(handler)
    warnings.showwarning = lambda message, *rest, **more: complain(f"warning: {message}")
    try:
        yield
    finally:
        warnings.showwarning = show
        logger.removeHandler(handler)


class _LineHandler(logging.Handler):
    """Prints what is logged."""

    def emit(self, record: logging.LogRecord) -> None:
        complain(f"{record.levelname.lower()}: {record.getMessage()}")


def message_of(error: Exception) -> str:
    """Return what an error says, in the words of the command line; of code of the user's, also what and where it is."""
    if isinstance(error, OSError) and type(error).__str__ is OSError.__str__ and error.strerror:
        names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, (str, bytes))]
        return escape(": ".join([*names, in_options(error.strerror)]))
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, OSError) or not frames or _is_own(frames[-1].filename):
        return escape(in_options(str(error))) or type(error).__name__
    where = f"{frames[-1].filename}, line {frames[-1].lineno}"
    # The library's notes: which record it was, for instance.
    notes = "".join(in_options(f"; {note}") for note in getattr(error, "__notes__", []))
    return f"{type(error).__name__}: {error}{notes} ({where}; `splitdata --traceback ...` shows how it came to this)"


def _is_own(filename: str) -> bool:
    """Whether a file belongs to this package or to the library, whose messages say all by themselves."""
    library = getattr(sys.modules.get("splitdata"), "__file__", None)
    own = [file for file in (__file__, library) if file]
    return any(Path(filename).is_relative_to(Path(file).parent) for file in own)


def _forget_stdout() -> None:
    """Keep Python from complaining at its end that what is left cannot be written."""
    with suppress(OSError, ValueError):
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, sys.stdout.fileno())
        os.close(descriptor)
