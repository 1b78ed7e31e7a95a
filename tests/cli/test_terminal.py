"""On a terminal: data are escaped, progress is drawn and taken away; without one both leave no trace."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from splitdata import SplitWriter
from tests.cli.processes import run_bytes, run_on_terminal

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo terminals")

HOSTILE = b"\x1b[2J\x1b]0;title\x07\r\n\x00\x7f\x9b\xff\\ \xe2\x80\xae caf\xc3\xa9"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A dataset whose first record would clear the screen."""
    with SplitWriter(tmp_path / "data", metadata={"\x1b[2J": HOSTILE.decode("latin-1")}) as writer:
        writer.write_many([HOSTILE, b"second"])
    return tmp_path / "data"


def test_cat_on_a_terminal_escapes_each_record_onto_a_line(data: Path) -> None:
    code, sent = run_on_terminal("cat", data, "0", "-1")

    assert code == 0
    # The terminal itself turns a line feed into both.
    assert sent.decode() == (r"\x1b[2J\x1b]0;title\x07\r\n\x00\x7f\x9b\xff\\ \u202e café" + "\r\nsecond\r\n")


def test_cat_on_a_terminal_escapes_characters_across_its_pieces(tmp_path: Path) -> None:
    text = "a" + "é" * 700_000
    with SplitWriter(tmp_path / "data") as writer:
        writer.write(text.encode())

    assert run_on_terminal("cat", tmp_path / "data", "0") == (0, (text + "\r\n").encode())


@pytest.mark.parametrize("command", ["head", "info"])
def test_nothing_of_the_data_reaches_the_terminal_unescaped(data: Path, command: str) -> None:
    code, sent = run_on_terminal(command, data)
    lines = sent.decode().split("\r\n")

    assert code == 0
    assert all(line.isprintable() for line in lines)
    assert r"\x1b[2J" in sent.decode()


def test_error_about_a_hostile_name_is_escaped(tmp_path: Path) -> None:
    code, sent = run_on_terminal("info", "x\x1b[2J\ny\u202e", cwd=tmp_path)

    assert code == 2
    assert sent.decode() == f"splitdata: error: {tmp_path}/x\\x1b[2J\\ny\\u202e does not exist\r\n"


@pytest.mark.parametrize("command", ["write", "verify"])
def test_progress_is_drawn_on_a_terminal_and_gone_at_the_end(tmp_path: Path, command: str) -> None:
    source = tmp_path / "a.txt"
    source.write_bytes(b"".join(b"line %d\n" % number for number in range(3000)))
    target = tmp_path / "data"
    if command == "verify":
        assert run_bytes("write", source, target).returncode == 0
    code, sent = run_on_terminal(command, *([source] if command == "write" else []), target)
    drawn, _, last = sent.decode().rpartition("\r\n")[0].rpartition("\r")

    assert code == 0
    assert {"write": "writing", "verify": "verifying"}[command] in drawn
    assert last.startswith({"write": "wrote 3,000 records", "verify": f"{target} is intact"}[command])


@pytest.mark.parametrize("command", ["write", "verify"])
def test_no_progress_is_drawn_without_a_terminal(tmp_path: Path, command: str) -> None:
    source = tmp_path / "a.txt"
    source.write_bytes(b"".join(b"line %d\n" % number for number in range(3000)))
    ended = run_bytes("write", source, tmp_path / "data")
    if command == "verify":
        ended = run_bytes("verify", tmp_path / "data")

    assert (ended.returncode, ended.stderr) == (0, b"")
    assert ended.stdout.count(b"\n") == 1
    assert b"\r" not in ended.stdout


@pytest.mark.parametrize("options", [[], ["--limit", "1000"]])
def test_progress_of_a_pipe_shows_rates_without_a_total(tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "made.py").write_text("def records():\n    return (b'%d' % number for number in range(100_000))\n")

    code, sent = run_on_terminal("write", "made:records", "data", "--from", "callable", *options, cwd=tmp_path)

    assert code == 0
    assert b"writing" in sent
