"""The command line in a process of its own, with bytes in its pipes, or with a terminal.

run_bytes("cat", path, 0)        stdin, stdout and stderr are pipes
run_on_terminal("head", path)    stdout and stderr are one pseudo terminal; gives what it was sent
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tests.command import ROOT

Argument = str | os.PathLike[str]


def command_line(*arguments: Argument, flags: Sequence[str] = ()) -> list[Argument]:
    """Return the command that runs `splitdata`, with more flags for Python."""
    return [sys.executable, "-X", "faulthandler", "-W", "error", *flags, "-m", "splitdata_cli", *arguments]


def environment() -> dict[str, str]:
    """Return an environment in which the packages of this repository are found from any folder."""
    inherited = os.environ.get("PYTHONPATH")
    folders = [str(ROOT), str(ROOT / "cli"), *([inherited] if inherited else [])]
    return dict(os.environ) | {"PYTHONPATH": os.pathsep.join(folders)}


def run_bytes(
    *arguments: Argument, stdin: bytes = b"", cwd: Path | None = None, flags: Sequence[str] = ()
) -> subprocess.CompletedProcess[bytes]:
    """Run `splitdata` and return how it ended."""
    command = command_line(*arguments, flags=flags)
    return subprocess.run(command, cwd=cwd, env=environment(), input=stdin, capture_output=True, check=False)


def run_on_terminal(*arguments: Argument, cwd: Path | None = None) -> tuple[int, bytes]:
    """Run `splitdata` with a terminal of 80 columns as its output; returns the exit code and what it was sent."""
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    try:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        inherited = {name: value for name, value in environment().items() if name not in ("COLUMNS", "LINES")}
        process = subprocess.Popen(
            command_line(*arguments),
            cwd=cwd,
            env=inherited | {"PYTHONIOENCODING": "utf-8", "TERM": "xterm"},
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
        )
    finally:
        os.close(theirs)
    sent = b""
    # Linux reports the end of the other side as an error.
    with suppress(OSError):
        while piece := os.read(ours, 1 << 16):
            sent += piece
    os.close(ours)
    return process.wait(), sent
