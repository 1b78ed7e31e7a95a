"""Pictures in `head` and `cat`: what they are in words; with Pillow, half blocks on a terminal of true colour."""

from __future__ import annotations

import struct
import sys
import zlib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from splitdata import SplitDataLoader, SplitWriter
from splitdata_cli._pictures import Pictures
from splitdata_cli.cat import cat
from splitdata_cli.head import head


def png(width: int, height: int, colour: bytes) -> bytes:
    """A picture of one colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    rows = chunk(b"IDAT", zlib.compress((b"\0" + colour * width) * height))
    return b"\x89PNG\r\n\x1a\n" + head + rows + chunk(b"IEND", b"")


RED = png(4, 3, b"\xff\0\0")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    with SplitWriter(tmp_path / "data") as writer:
        writer.write_many([RED, b"text", b"GIF89a" + struct.pack("<HH", 640, 480), RED[:40]])
    return tmp_path / "data"


def output_of(command: click.Command, *arguments: str) -> str:
    done = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


def test_bytes_that_are_a_picture_show_what_they_are(data: Path) -> None:
    lines = output_of(head, str(data)).splitlines()

    assert lines[0].endswith(f"<png 4x3, {len(RED)} bytes>")
    assert lines[1].endswith("text")
    assert lines[2].endswith("<gif 640x480, 10 bytes>")
    assert SplitDataLoader(data).hint(1) is None


def test_cat_into_a_pipe_is_the_bytes_themselves(data: Path) -> None:
    done = CliRunner().invoke(cat, [str(data), "0"])

    assert done.stdout_bytes == RED


def test_terminal_of_true_colour_draws_pictures_unless_told_not_to(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("PIL")
    loader = SplitDataLoader(data)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLORTERM", "truecolor")
    drawn = list(Pictures(is_wanted=None).of(loader, 0, len(RED)))
    cell, last = (f"\x1b[38;2;255;0;0;48;2;{red};0;0m\u2580" * 4 + "\x1b[0m" for red in (255, 0))

    assert drawn == [cell, last]
    assert list(Pictures(is_wanted=False).of(loader, 0, len(RED))) == []
    assert list(Pictures(is_wanted=None).of(loader, 3, 40)) == []
    monkeypatch.delenv("COLORTERM")
    assert list(Pictures(is_wanted=None).of(loader, 0, len(RED))) == []


def test_pictures_without_pillow_are_hints_and_asking_for_them_names_the_extra(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLORTERM", "24bit")

    assert list(Pictures(is_wanted=None).of(SplitDataLoader(data), 0, len(RED))) == []
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'splitdata\[view\]'"):
        Pictures(is_wanted=True)
