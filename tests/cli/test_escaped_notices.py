"""Nothing that names hold reaches a terminal as it is: not in errors of Python either, nor in warnings and tracebacks.

names of files, keys, metadata ──> error, log, warning, traceback, --json ──> printable ASCII, or letters that print
"""

from __future__ import annotations

import errno
import logging
import os
import pickle
import sys
import warnings
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

import splitdata
from splitdata import DatasetNotFoundError, FormatError, SplitDataError, SplitWriter, WorkerTimeoutError, convert
from splitdata_cli._failure import OneLineGroup
from splitdata_cli._render import escape
from splitdata_cli.main import cli

HOSTILE = "a\x1b[2J\x07\x9b\u202e\u2028\udcff\x7fb"
SHOWN = escape(HOSTILE)


def invoke(*arguments: str | os.PathLike[str]) -> Result:
    return CliRunner().invoke(cli, [os.fspath(one) for one in arguments])


def assert_prints(text: str) -> None:
    assert all(line.isprintable() for line in text.split("\n")), repr(text)


def test_errors_show_every_character_as_the_command_line_does() -> None:
    for code in (*range(0x300), *range(0x2000, 0x2100), *range(0xD7F0, 0xE010), 0xFEFF, 0xE0041, 0x1F600):
        expected = chr(code) if chr(code) in "\n\t" else escape(chr(code))
        assert str(SplitDataError(chr(code))) == expected


@pytest.mark.parametrize("name", [name for name in splitdata.__all__ if name.endswith("Error")])
def test_every_error_shows_names_escaped_and_keeps_them_as_they_are(name: str) -> None:
    kind: Any = getattr(splitdata, name)
    fields: dict[str, dict[str, Any]] = {
        "DatasetNotFoundError": {"path": HOSTILE},
        "DatasetExistsError": {"path": HOSTILE},
        "DuplicateKeyError": {"key": HOSTILE, "numbers": (0, 1)},
        "TooManySkippedError": {"num_skipped": 1},
        "UnfinishedError": {"numbers": (0, 1)},
    }
    error = kind(f"{HOSTILE} is none", **fields.get(name, {}))

    for one in (error, pickle.loads(pickle.dumps(error))):
        assert str(one) == f"{SHOWN} is none"
        assert HOSTILE in f"{one.args}{one.args[0]}{getattr(one, 'strerror', '')}"


def test_lines_of_a_message_stay_lines() -> None:
    assert str(FormatError("one\n\ttwo \x1b")) == "one\n\ttwo \\x1b"
    assert str(WorkerTimeoutError("a\nb")) == "a\nb"
    assert str(DatasetNotFoundError("a \x07", path="p")) == "a \\x07"


@click.command()
@click.argument("how")
def warn(how: str) -> None:
    """Say something about a file of a hostile name, in each way there is."""
    if how == "log":
        # What is logged pytest keeps, and its workers cannot send lone surrogates.
        logging.getLogger("splitdata.storage").warning("%s: cannot be synced", HOSTILE.replace("\udcff", "\xff\x9b"))
    elif how == "warning":
        warnings.warn(f"{HOSTILE} is odd", UserWarning, stacklevel=1)
    elif how == "os error":
        raise OSError(errno.EIO, "Input/output error: cannot read", f"{HOSTILE}\nline")
    elif how == "error":
        raise LookupError(HOSTILE)
    elif how == "tree":
        raise FormatError(f"{HOSTILE}\nline")
    else:
        raise click.UsageError(HOSTILE)


@pytest.mark.parametrize("traceback", [False, True])
@pytest.mark.parametrize("how", ["log", "warning", "os error", "error", "tree", "usage"])
def test_whatever_a_command_says_is_escaped(how: str, traceback: bool) -> None:
    @click.group(cls=OneLineGroup)
    @click.option("--traceback", is_flag=True)
    def group(traceback: bool) -> None:
        """Hold the command."""

    group.add_command(warn)
    before = warnings.showwarning, list(logging.getLogger("splitdata").handlers)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        shown = warnings.showwarning
        result = CliRunner().invoke(group, ["--traceback", "warn", how] if traceback else ["warn", how])
        assert warnings.showwarning is shown

    # Python itself shows the names in its own errors so.
    assert SHOWN in result.stderr.replace("\\udcff", "\\xff").replace("\xff\\x9b", "\\xff")
    assert_prints(result.output)
    assert result.exit_code == (0 if how in ("log", "warning") else 2)
    if not traceback or how in ("log", "warning", "usage"):
        assert result.stderr.startswith("splitdata: ")
        assert result.stderr.count("\n") == 1
    else:
        assert result.stderr.startswith("Traceback (most recent call last)")
    assert before[1] == logging.getLogger("splitdata").handlers


@pytest.mark.skipif(sys.platform == "win32", reason="names cannot be such there")
@pytest.mark.parametrize(
    "how", [[], ["--json"], ["--resume"], ["--dry-run"], ["--from", "files"], ["--from", "folder"]]
)
def test_hostile_names_of_sources_keys_and_datasets_are_escaped_in_every_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    name = HOSTILE.replace("\u2028", "\n")
    source = Path(f"{name}.txt")
    if "folder" in how:
        source.mkdir()
        (source / name).write_bytes(b"x")
    else:
        source.write_bytes(b"one\n")
    dest = f"{name} data"
    results = [invoke("write", source, dest, *how) for _ in range(2)]
    if "--resume" in how:
        source.write_bytes(b"other\n")
        results.append(invoke("write", source, dest, *how))
        assert "source or other options" in results[-1].stderr
    if "--dry-run" not in how:
        for command in (["info"], ["head"], ["verify"], ["repair"], ["bench", "--workers", "0", "--seconds", "0.01"]):
            results += [invoke(*command, dest), invoke(*command, dest, "--json")]
    results.append(invoke("info", f"{name} that is missing"))
    for result in results:
        assert_prints(result.output)
        assert result.output


def test_metadata_of_a_conversion_are_shown_escaped_where_they_differ(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\n")
    convert(tmp_path / "a.txt", tmp_path / "data", resume=True)
    with splitdata.SplitDataLoader(tmp_path / "data") as loader:
        log = loader.metadata["conversion"]
    log["options"] |= {"bins\x1b]0;x\x07": "\x1b[2J"}
    with SplitWriter(tmp_path / "other", metadata={"conversion": log}) as writer:
        writer.write(b"one")

    result = invoke("write", tmp_path / "a.txt", tmp_path / "other", "--resume")

    assert result.exit_code == 2
    assert r"bins\x1b]0;x\x07 was" in result.stderr
    assert_prints(result.output)


def test_what_a_log_says_was_left_out_is_shown_escaped(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"one\n")
    convert(tmp_path / "a.jsonl", tmp_path / "data", resume=True)
    with splitdata.SplitDataLoader(tmp_path / "data") as loader:
        log = loader.metadata["conversion"]
    log["finished"] = False
    log["commit_position"] = {"byte": 0, "line": 1, "skipped": {HOSTILE: 1}}
    log["position"] |= {"line": 2, "skipped": {HOSTILE: 1}}
    with SplitWriter(tmp_path / "other", metadata={"conversion": log}) as writer:
        writer.write(b"one")

    result = invoke("write", tmp_path / "a.jsonl", tmp_path / "other", "--resume")

    assert SHOWN in result.output
    assert_prints(result.output)
