"""Values of a BinaryBlob: bytes come as they are, pickled ones are refused, and a damaged index names what is wrong."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from splitdata import SourceError, SplitDataLoader, convert, open_source
from splitdata.conversion.sources.files.sized_file import READ_WHOLE_BYTES
from tests.command import run_cli


def blob_of(path: Path, values: dict[int, bytes], pickled: tuple[int, ...] = ()) -> Path:
    """Write the two files as mlproject does; the path is that of the .bin."""
    lines, begin = [], 0
    for key, value in values.items():
        lines.append(f"{key},{begin},{len(value)},{int(key in pickled)}\n")
        begin += len(value)
    path.write_bytes(b"".join(values.values()))
    path.with_suffix(".idx").write_text("".join(lines))
    return path


class Trap:
    """Unpickled, it would leave a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_values_come_in_the_order_of_their_keys(tmp_path: Path) -> None:
    large = bytes(range(256)) * (READ_WHOLE_BYTES >> 7)
    path = blob_of(tmp_path / "a.bin", {5: b"five", -1: b"minus", 9: b"", 7: large})

    report = convert(path, tmp_path / "data")

    assert list(SplitDataLoader(tmp_path / "data")) == [b"minus", b"five", large, b""]
    assert (open_source(path).kind, report.num_records) == ("binaryblob", 4)


def test_shards_of_a_cache_are_converted_one_after_another_by_the_command_line(tmp_path: Path) -> None:
    for number in range(3):
        blob_of(tmp_path / f"cache{number:09d}.bin", {2 * number + k: b"%d" % (2 * number + k) for k in range(2)})

    ended = run_cli("write", tmp_path / "cache*.bin", tmp_path / "data")

    assert ended.returncode == 0, ended.stderr
    assert list(SplitDataLoader(tmp_path / "data")) == [b"%d" % number for number in range(6)]


def test_pickled_values_are_refused_by_name_and_never_unpickled(tmp_path: Path) -> None:
    trap = pickle.dumps(Trap(tmp_path / "ran"))
    path = blob_of(tmp_path / "a.bin", {0: b"bytes", 3: trap, 4: trap}, pickled=(3, 4))

    with pytest.raises(SourceError, match=r"a\.idx says that 2 of 3 values were pickled, the first with key 3"):
        convert(path, tmp_path / "data")

    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("index", "text"),
    [
        ("0,0,3,0\n1,3,3,0", "ends within a line"),
        ("0,0,3,0\nx\n", "line 2 is not four whole numbers"),
        ("0,0,3,0\n1,3,3,0,0\n", "line 2 is not four whole numbers"),
        ("0,0,3,0\n1,3,-3,0\n", "line 2 is not four whole numbers"),
        ("0,0,3,0\n0,3,3,0\n", "the key 0 twice"),
        ("0,0,3,0\n8,4,3,0\n", "1 values that .* of 6 bytes, does not have; the first has key 8"),
        ("0,999999999999999999,999999999999999999,0\n", "does not have"),
    ],
)
def test_index_that_does_not_fit_is_named_before_anything_is_written(tmp_path: Path, index: str, text: str) -> None:
    path = blob_of(tmp_path / "a.bin", {0: b"abc", 1: b"def"})
    path.with_suffix(".idx").write_text(index)

    with pytest.raises(SourceError, match=text):
        convert(open_source(path, kind="binaryblob"), tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_bin_with_another_index_is_not_taken_for_a_blob(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"tokens")
    (tmp_path / "a.idx").write_bytes(b"other" + bytes(40))

    with pytest.raises(SourceError, match="say which kind"):
        open_source(tmp_path / "a.bin")
    assert open_source(tmp_path).kind == "folder"


def test_folder_of_blobs_and_the_name_of_an_index_say_what_to_name(tmp_path: Path) -> None:
    path = blob_of(tmp_path / "a.bin", {0: b"abc"})

    with pytest.raises(SourceError, match=r"/\*\.bin"):
        open_source(tmp_path)
    with pytest.raises(SourceError, match=r"its \.bin is named"):
        open_source(path.with_suffix(".idx"), kind="binaryblob")
    # All of them together would be read twice.
    with pytest.raises(SourceError, match="several kinds"):
        open_source(tmp_path / "a*")


def test_blob_that_has_changed_is_told_from_the_one_before(tmp_path: Path) -> None:
    path = blob_of(tmp_path / "a.bin", {0: b"abc", 1: b"def"})
    before = open_source(path).state(with_times=False)  # type: ignore[attr-defined]  # a source of files has it
    blob_of(path, {1: b"abc", 0: b"def"})

    assert open_source(path).state(with_times=False) != before  # type: ignore[attr-defined]  # as above
