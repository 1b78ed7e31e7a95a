"""A terminal of our own, in which a program of a test runs as in a user's: Ctrl-C is a key that is pressed.

run_at_terminal(arguments, mark) -> program, master     os.write(master, CTRL_C)
read_until(master, word, seconds) -> what the program has written
interrupt_at_random(arguments, chance): all of it, and what must hold for every program of the library
"""

from __future__ import annotations

import fcntl
import os
import pty
import random
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Sequence

from tests.command import ROOT
from tests.process.family import environment, members, new_mark, seconds_until_gone

__all__ = ["CTRL_C", "interrupt_at_random", "read_until", "run_at_terminal"]

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


def interrupt_at_random(arguments: Sequence[str], chance: random.Random) -> None:
    """Press Ctrl-C less than a second after a program said "begin": one interrupt, nothing left, terminal intact.

    What must be over within a second or two is given ten times as long: the machine may be busy.
    """
    mark = new_mark()
    program, master = run_at_terminal(arguments, mark)
    try:
        assert b"begin" in read_until(master, b"begin", 60)
        settings = termios.tcgetattr(master)
        time.sleep(chance.uniform(0.0, 0.7))
        os.write(master, CTRL_C)
        text = read_until(master, b"never written", 30)
        program.wait(30)
        context = (arguments[2:], text.decode(errors="replace"))
        assert program.returncode in (-signal.SIGINT, 130), context
        assert text.count(b"KeyboardInterrupt") == 1, context
        assert text.count(b"Traceback") == 1, context
        assert b"Exception ignored" not in text, context
        assert seconds_until_gone(mark, 20.0) < 20.0, (context, members(mark))
        assert termios.tcgetattr(master) == settings, context
    finally:
        os.close(master)
        if program.poll() is None:
            program.kill()
            program.wait()
