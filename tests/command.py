"""Running Python and the command line as a user does: in a process of its own.

    run_cli("info", path)  ->  python -m splitdata_cli info PATH   ->  exit code, stdout, stderr

Warnings are errors in these processes too, and on a fatal signal they show their stacks.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

Completed = subprocess.CompletedProcess[str]


def run_cli(*arguments: str | os.PathLike[str], cwd: Path | None = None, text_in: str = "") -> Completed:
    """Run `splitdata` with `arguments` and return how it ended; the caller looks at the exit code."""
    return run_python("-m", "splitdata_cli", *arguments, cwd=cwd, text_in=text_in)


def run_python(
    *arguments: str | os.PathLike[str], cwd: Path | None = None, text_in: str = "", warnings: str = "error"
) -> Completed:
    """Run this interpreter with `arguments`, `text_in` on its standard input, and return how it ended."""
    command = [sys.executable, "-X", "faulthandler", "-W", warnings, *arguments]
    return subprocess.run(command, cwd=cwd, input=text_in, capture_output=True, encoding="utf-8", check=False)
