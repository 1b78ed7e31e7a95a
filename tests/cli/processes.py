"""The command line in a process of its own, with bytes in its pipes, or with a terminal.

run_bytes("cat", path, 0)        stdin, stdout and stderr are pipes
run_on_terminal("head", path)    stdout and stderr are one pseudo terminal; gives what it was sent
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

Argument = str | os.PathLike[str]


def command_line(*arguments: Argument) -> list[Argument]:
    return [sys.executable, "-X", "faulthandler", "-W", "error", "-m", "splitdata_cli", *arguments]


def run_bytes(*arguments: Argument, stdin: bytes = b"", cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    """Run `splitdata` and return how it ended."""
    return subprocess.run(command_line(*arguments), cwd=cwd, input=stdin, capture_output=True, check=False)


def run_on_terminal(*arguments: Argument, cwd: Path | None = None) -> tuple[int, bytes]:
    """Run `splitdata` with a terminal of 80 columns as its output; returns the exit code and what it was sent."""
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    try:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        process = subprocess.Popen(
            command_line(*arguments),
            cwd=cwd,
            env=environment | {"PYTHONIOENCODING": "utf-8", "TERM": "xterm"},
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
