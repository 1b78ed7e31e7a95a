"""examples/read_with_stdlib_only.py, made from FORMAT.md alone, reads what this library reads.

golden dataset    ──> the example, in a process of its own ──> lines: position, length, first bytes
                  ──> SplitDataLoader                      ──> the same positions, lengths and bytes
conformance files ──> the example, as a module             ──> the verdicts
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import splitdata
from splitdata.format.checksum import hash64
from tests.command import ROOT, run_python
from tests.conformance.edited_dataset import CASES, copy_with_edits
from tests.conformance.verdict import differences, exact

EXAMPLE = ROOT / "examples" / "read_with_stdlib_only.py"
GOLDEN = ROOT / "tests" / "golden" / "v1"
SEGMENT = "segments/6cd5bf616e0f258f0ca74838fea1ff31"
TINY_LINES = ["0 5 b'hello'", "1 0 b''", "2 9 b'splitdata'"]
LOST = 5
COMPRESSED = {1, 4, 11}
INVALID = "the header of the frame is not valid"


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
    lines = [line.split(maxsplit=1) for line in read_with_example(GOLDEN / "rich")]
    with splitdata.SplitDataLoader(GOLDEN / "rich") as dataset:
        assert [int(position) for position, _ in lines] == list(range(len(dataset)))
        shown = {int(position): text for position, text in lines if "NoZstdError" not in text}
        assert "unreadable: CorruptRecordError: lost" in shown.pop(LOST)
        assert shown == {position: f"{len(dataset[position])} {bytes(dataset[position][:30])!r}" for position in shown}
    hidden = set() if importlib.util.find_spec("_zstd") else COMPRESSED
    assert set(shown) == set(range(len(lines))) - {LOST} - hidden


def test_example_finds_records_by_their_keys() -> None:
    conformance = ROOT / "tests" / "conformance" / "datasets"
    ended = run_python(EXAMPLE, conformance / "keyed", "a/b.txt", "not there")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == ["'a/b.txt' is the key of record 2", "'not there' is the key of record None"]


@pytest.mark.parametrize(
    ("name", "offset", "new", "problem"),
    [
        pytest.param("000000.bin", 0x78, b"\x04", "entry and frame disagree", id="sequence"),
        pytest.param("000000.bin", 0x7C, b"\x05", INVALID, id="kind"),
        pytest.param("000000.bin", 0x7D, b"\x01", INVALID, id="codec"),
        pytest.param("000000.bin", 0x80, b"\x08", "entry and frame disagree", id="length"),
        pytest.param("index", 0xA5, b"\x01", "lost, or the entry is wrong", id="bin in the entry"),
        pytest.param("index", 0xA8, b"\x0a", "entry and frame disagree", id="length in the entry"),
    ],
)
def test_example_at_a_damaged_record_says_so_and_reads_the_others(
    damaged: Path, name: str, offset: int, new: bytes, problem: str
) -> None:
    overwrite(damaged / SEGMENT / name, offset, new)
    assert read_with_example(damaged) == [*TINY_LINES[:2], f"2 unreadable: CorruptRecordError: {problem}"]


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


def test_example_reads_what_a_damaged_header_leads_to(damaged: Path) -> None:
    # What the header says of another segment counts only where the header is intact.
    overwrite(damaged / SEGMENT / "000001.bin", 0x10, bytes(16))
    assert read_with_example(damaged) == TINY_LINES


@pytest.mark.skipif(sys.platform == "win32", reason="making links takes a privilege there")
def test_example_refuses_a_link_in_the_place_of_a_bin(damaged: Path) -> None:
    path = damaged / SEGMENT / "000001.bin"
    path.rename(damaged / "elsewhere")
    path.symlink_to(damaged / "elsewhere")
    assert read_with_example(damaged)[1].startswith("1 unreadable: FormatError: 000001.bin is no regular file")


@pytest.mark.skipif(sys.platform == "win32", reason="FIFOs, and links without a privilege, are not to be had there")
@pytest.mark.parametrize(
    "are_slow", [False, pytest.param(True, marks=pytest.mark.soak)], ids=["all others", "much to hash"]
)
def test_example_gives_the_verdict_of_each_conformance_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, are_slow: bool
) -> None:
    monkeypatch.syspath_prepend(EXAMPLE.parent)
    reader, opened = (importlib.import_module(name) for name in (EXAMPLE.stem, "stdlib_reader.files"))
    differing = {}
    for case in CASES:
        if (case["name"] in SLOW) is not are_slow:
            continue
        folder = tmp_path / case["name"]
        copy_with_edits(case, folder)
        verdict = {name: case["verdict"][name] for name in ("opens", *SAID) if name in case["verdict"]}
        if different := differences(verdict, say(reader, folder, verdict)):
            differing[case["name"]] = different
        opened.open_file.cache_clear()
        shutil.rmtree(folder)
    assert not differing, json.dumps(differing, indent=1)


def say(reader: Any, folder: Path, verdict: dict[str, Any]) -> dict[str, Any]:
    """Return what the example says of a dataset; where it needs zstd and has none, what the verdict says."""

    def outcome(expected: Any, ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except reader.Refusal as error:
            name = str(error).partition(":")[0]
            return expected if name == "NoZstdError" else name

    try:
        dataset = reader.Dataset(folder)
    except reader.Refusal as error:
        return {"opens": str(error).partition(":")[0]}
    return {"opens": True} | {name: SAID[name](dataset, outcome, verdict[name]) for name in verdict if name != "opens"}


def of_each(ask: Callable[[Any, int], Any]) -> Callable[[Any, Any, list[Any]], list[Any]]:
    """Return what asks for each record of a dataset."""

    def say_of_each(dataset: Any, outcome: Any, verdicts: list[Any]) -> list[Any]:
        places = list(dataset.places())
        assert len(places) == len(verdicts)
        return [outcome(one, partial(ask, *place)) for place, one in zip(places, verdicts, strict=True)]

    return say_of_each


# Many hashes are computed in Python, or hashes of 17 MiB.
SLOW = {"large-plain", "large-plain-block", "many-keys", "segments-10000"}
SAID: dict[str, Callable[..., Any]] = {
    "records": of_each(lambda segment, sequence: f"{hash64(segment.record(sequence)):016x}"),
    "keys": of_each(lambda segment, sequence: segment.key(sequence)),
    "find": lambda dataset, outcome, found: {
        key: outcome(position, partial(dataset.find, key)) for key, position in found.items()
    },
    "metadata": lambda dataset, *_: exact(dataset.manifest["metadata"]),
    "fingerprint": lambda dataset, *_: dataset.fingerprint(),
}
