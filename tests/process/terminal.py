"""A terminal of our own, in which a program of a test runs as in a user's: Ctrl-C is a key that is pressed.

run_at_terminal(arguments, mark) -> program, master     os.write(master, CTRL_C)
read_until(master, word, seconds) -> what the program has written
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import subprocess
import sys
import termios
import time
from collections.abc import Sequence

from tests.command import ROOT
from tests.process.family import environment

__all__ = ["CTRL_C", "read_until", "run_at_terminal"]

CTRL_C = b"\x03"


def run_at_terminal(arguments: Sequence[str], mark: str) -> tuple[subprocess.Popen[bytes], int]:
    """Start Python with these arguments; return the process and our end of its terminal."""
    master, slave = pty.openpty()
    program = subprocess.Popen(
        [sys.executable, *arguments],
        env=environment(mark),
        cwd=ROOT,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(slave)
    return program, master


def read_until(master: int, word: bytes, seconds: float) -> bytes:
    """Return what was written until a word came, the program ended, or time was over."""
    text = b""
    deadline = time.monotonic() + seconds
    while word not in text and time.monotonic() < deadline:
        if select.select([master], [], [], 0.05)[0]:
            try:
                text += os.read(master, 65536)
            except OSError:
                break
    return text
