"""The blocks of README.md, and how each kind is run.

    <!-- comment -->            about the block below it: `output`, `not-run: reason`, or `needs: module`
    ```language
    code
    ```

    python     executed, all in one `__main__`; a `text` block marked `output` is what it prints
    console    `$ command` lines, each followed by what it prints
    bash       one script; its output is not compared
    text       shown only

All blocks run from top to bottom in one process and one folder, so that a later one may read what
an earlier one wrote. In an expected line `...` stands for any text, alone on a line for any lines.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import re
import subprocess
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

RUN = frozenset({"python", "console", "bash"})
SHOWN = frozenset({"text"})

_BLOCK = re.compile(
    r"^(?:<!--[ ]*(?P<comment>.*?)[ ]*-->\n(?:[ ]*\n)*)?"
    r"^```(?P<language>[^\n`]*)\n(?P<code>.*?)^```[ ]*$",
    re.MULTILINE | re.DOTALL,
)


class ReadmeError(AssertionError):
    """A block does not do what the README says; the message names its line."""


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block. `line` is the line of its first line of code, from 1."""

    language: str
    code: str
    line: int
    comment: str

    @property
    def is_output(self) -> bool:
        """Whether this is what the block before it prints."""
        return self.comment == "output"

    @property
    def reason_not_run(self) -> str:
        """Why nobody should run this block in a test, or nobody can here; empty where it is run."""
        needed = self.comment.removeprefix("needs:").strip() if self.comment.startswith("needs:") else ""
        if needed and importlib.util.find_spec(needed) is None:
            return f"{needed} is not installed"
        return self.comment.removeprefix("not-run:").strip() if self.comment.startswith("not-run:") else ""


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a console block with the lines expected from it."""

    text: str
    line: int
    expected: str


def blocks_of(text: str) -> list[Block]:
    """Return the fenced blocks of a Markdown text in order."""
    return [
        Block(
            language=match["language"].strip(),
            code=match["code"],
            line=text.count("\n", 0, match.start("code")) + 1,
            comment=match["comment"] or "",
        )
        for match in _BLOCK.finditer(text)
    ]


def commands_of(block: Block) -> Iterator[Command]:
    """Yield the commands of a console block; a line that ends in a backslash goes on in the next."""
    parts = re.split(r"^\$ ", block.code, flags=re.MULTILINE)
    if parts[0].strip():
        raise ReadmeError(f"README.md:{block.line}: a console block begins with '$ ', this one with {parts[0]!r}")
    line = block.line + parts[0].count("\n")
    for part in parts[1:]:
        command = re.match(r"(?:[^\n]*\\\n)*[^\n]*\n", part)
        assert command is not None
        yield Command(command[0].strip(), line, part[command.end() :])
        line += part.count("\n")


def check_output(expected: str, actual: str, where: str) -> None:
    """Compare what was printed with what the README shows, where `...` may stand for anything."""
    pattern = ""
    for line in expected.strip("\n").splitlines():
        if line.strip() == "...":
            pattern += r"(?:[^\n]*\n)*?"
        else:
            pattern += "[^\n]*".join(re.escape(part) for part in line.rstrip().split("...")) + "\n"
    shown = "".join(line.rstrip() + "\n" for line in actual.strip("\n").splitlines())
    if re.fullmatch(pattern, shown) is None:
        raise ReadmeError(f"{where}: README.md shows\n{expected}\nbut the output is\n{actual}")


def run_blocks(blocks: list[Block], name: str) -> None:
    """Run blocks in the current folder, in this process and as its `__main__`.

    Raises:
        ReadmeError: A command fails, or prints other than what is shown. What Python code raises comes through.
    """
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    printed = ""
    for block in blocks:
        where = f"README.md:{block.line}"
        if block.reason_not_run:
            continue
        if block.is_output:
            check_output(block.code, printed, where)
        elif block.language == "python":
            # Empty lines above, so that a traceback shows the line of the README.
            code = compile("\n" * (block.line - 1) + block.code, name, "exec")
            with contextlib.redirect_stdout(io.StringIO()) as stdout:
                exec(code, vars(main))
            printed = stdout.getvalue()
        elif block.language == "console":
            for command in commands_of(block):
                check_output(command.expected, run_shell(command.text, command.line), f"README.md:{command.line}")
        elif block.language == "bash":
            printed = run_shell(block.code, block.line)


def run_shell(script: str, line: int) -> str:
    """Run a script by bash and return all that it printed, stdout and stderr together."""
    ended = subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", script],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )
    if ended.returncode:
        raise ReadmeError(f"README.md:{line}: exit code {ended.returncode} from {script}\n{ended.stdout}")
    return ended.stdout


if __name__ == "__main__":
    readme = Path(sys.argv[1])
    run_blocks(blocks_of(readme.read_text(encoding="utf-8")), str(readme))
