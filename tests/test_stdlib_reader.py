"""examples/read_with_stdlib_only.py, made from FORMAT.md alone, reads what this library reads.

golden dataset -> the example, in a process of its own -> lines: position, length, first bytes
               -> SplitDataLoader                      -> the same positions, lengths and bytes
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest

import splitdata
from tests.command import ROOT, run_python

EXAMPLE = ROOT / "examples" / "read_with_stdlib_only.py"
GOLDEN = ROOT / "tests" / "golden" / "v1"
SEGMENT = "segments/6cd5bf616e0f258f0ca74838fea1ff31"
TINY_LINES = ["0 5 b'hello'", "1 0 b''", "2 9 b'splitdata'"]
LOST = 5
COMPRESSED = {1, 4, 11}


def read_with_example(*dataset: Path) -> list[str]:
    """Run the example and return the lines that it prints."""
    ended = run_python(EXAMPLE, *dataset)
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout.splitlines()


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A copy of the golden dataset tiny, for the test to damage."""
    return Path(shutil.copytree(GOLDEN / "tiny", tmp_path / "tiny"))


def overwrite(path: Path, offset: int, new: bytes) -> None:
    content = bytearray(path.read_bytes())
    content[offset : offset + len(new)] = new
    path.write_bytes(content)


def test_example_without_argument_prints_the_records_that_the_document_shows() -> None:
    assert read_with_example() == TINY_LINES


def test_example_reads_one_of_everything_as_the_library_does() -> None:
    lines = [line.split(maxsplit=2) for line in read_with_example(GOLDEN / "rich")]
    with splitdata.SplitDataLoader(GOLDEN / "rich") as dataset:
        sizes = dataset.sizes
        assert [int(position) for position, *_ in lines] == list(range(len(dataset)))
        assert lines.pop(LOST)[1:] == ["lost,", "says the index"]
        assert [int(length) for _, length, _ in lines] == [sizes[int(position)] for position, *_ in lines]
        readable = {int(position): shown for position, _, shown in lines if not shown.startswith("compressed to ")}
        assert readable == {position: repr(bytes(dataset[position][:30])) for position in readable}
    hidden = set() if importlib.util.find_spec("_zstd") else COMPRESSED
    assert set(readable) == set(range(len(lines) + 1)) - {LOST} - hidden


@pytest.mark.parametrize(
    ("name", "offset", "new", "problem"),
    [
        pytest.param("000000.bin", 0x78, b"\x04", "entry and frame disagree", id="sequence"),
        pytest.param("000000.bin", 0x7C, b"\x04", "the kind of the frame is wrong", id="kind"),
        pytest.param("000000.bin", 0x7D, b"\x01", "the lengths do not fit the codec", id="codec"),
        pytest.param("000000.bin", 0x80, b"\x08", "entry and frame disagree", id="length"),
        pytest.param("index", 0xA5, b"\x01", "entry and frame disagree", id="bin in the entry"),
        pytest.param("index", 0xA8, b"\x0a", "entry and frame disagree", id="length in the entry"),
    ],
)
def test_example_at_a_damaged_record_says_so_and_reads_the_others(
    damaged: Path, name: str, offset: int, new: bytes, problem: str
) -> None:
    overwrite(damaged / SEGMENT / name, offset, new)
    assert read_with_example(damaged) == [*TINY_LINES[:2], f"2 unreadable: {problem}"]


@pytest.mark.parametrize("name", ["000000.bin", "index"])
def test_example_at_a_file_that_ends_early_reads_the_records_before(damaged: Path, name: str) -> None:
    path = damaged / SEGMENT / name
    path.write_bytes(path.read_bytes()[:0x80])
    lines = read_with_example(damaged)
    readable = TINY_LINES[:2] if name == "000000.bin" else []
    assert lines[: len(readable)] == readable
    assert [line.split(":")[0] for line in lines[len(readable) :]] == [
        f"{n} unreadable" for n in range(len(readable), 3)
    ]


def test_example_refuses_the_bin_of_another_segment_and_reads_the_other_bin(damaged: Path) -> None:
    overwrite(damaged / SEGMENT / "000001.bin", 0x10, bytes(16))
    problem = "1 unreadable: 000001.bin is of another version, segment or bin"
    assert read_with_example(damaged) == [TINY_LINES[0], problem, TINY_LINES[2]]


@pytest.mark.skipif(sys.platform == "win32", reason="making links takes a privilege there")
def test_example_refuses_a_link_in_the_place_of_a_bin(damaged: Path) -> None:
    path = damaged / SEGMENT / "000001.bin"
    path.rename(damaged / "elsewhere")
    path.symlink_to(damaged / "elsewhere")
    assert read_with_example(damaged)[1] == "1 unreadable: 000001.bin is missing, or no regular file"


def test_example_refuses_a_manifest_of_another_version(damaged: Path) -> None:
    manifest = damaged / "manifest.0000000001.json"
    manifest.write_bytes(manifest.read_bytes().replace(b"[1,0]", b"[2,0]"))
    ended = run_python(EXAMPLE, damaged)
    assert ended.returncode == 1
    assert "is not of version 1" in ended.stderr
