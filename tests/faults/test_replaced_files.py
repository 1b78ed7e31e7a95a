"""Something else in place of a file: nothing hangs, nothing wrong is read, what is not affected stays readable.

gone, empty, longer | a link, pipe, socket or directory | another file of the same kind | a newer version
"""

from __future__ import annotations

import os
import shutil
import stat
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from splitdata import (
    DatasetNotFoundError,
    FormatError,
    ManifestError,
    MissingBinError,
    SplitDataError,
    SplitDataLoader,
    SplitWriter,
    TruncatedFileError,
    UnsupportedVersionError,
    verify,
)
from splitdata.format.checksum import hash64
from tests.dataset.disk import files_of
from tests.faults.file_faults import fast_folder
from tests.faults.small_dataset import FIRST_SEGMENT, RECORDS, Io, read_everything, segment_folders, write_small

pytestmark = pytest.mark.time_limit(60)
IOS: list[Io] = ["mmap", "pread"]


@pytest.fixture
def dataset(tmp_path: Path) -> Iterator[Path]:
    with fast_folder(tmp_path) as folder:
        write_small(folder / "data")
        yield folder / "data"


def parts(dataset: Path) -> list[tuple[Path, set[int]]]:
    """Return each file behind the manifest with the positions that cannot be read without it."""
    found = []
    for number, folder in enumerate(segment_folders(dataset)):
        own = range(number * FIRST_SEGMENT, (number + 1) * FIRST_SEGMENT)
        found.append((folder / "index", set(own)))
        found += [(folder / f"00000{name}.bin", set(own[name::2])) for name in (0, 1)]
    return found


def replace_by_symlink(file: Path) -> None:
    outside = file.rename(next(parent for parent in file.parents if parent.name == "data").with_name("outside"))
    file.symlink_to(outside)


def replace_by_fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def replace_by_directory(file: Path) -> None:
    file.unlink()
    file.mkdir()


def replace_by_socket(file: Path) -> None:
    file.unlink()
    os.mknod(file, stat.S_IFSOCK | 0o600)


def empty(file: Path) -> None:
    file.write_bytes(b"")


REPLACEMENTS = [Path.unlink, empty, replace_by_symlink, replace_by_fifo, replace_by_directory, replace_by_socket]


@pytest.mark.skipif(os.name == "nt", reason="no such files there")
@pytest.mark.parametrize("replace", REPLACEMENTS, ids=lambda replace: replace.__name__)
@pytest.mark.parametrize("io", IOS)
def test_replaced_file_costs_its_own_records_only(dataset: Path, io: Io, replace: Callable[[Path], None]) -> None:
    original = dataset.with_name("original")
    shutil.copytree(dataset, original)
    for file, affected in parts(dataset):
        replace(file)
        reading = read_everything(dataset, io=io)
        assert reading.refused is None
        assert set(reading.errors) == affected, (file, reading)
        assert {type(error) for error in reading.errors.values()} <= {MissingBinError, TruncatedFileError, FormatError}
        report = verify(dataset, num_workers=1)
        assert {finding.path for finding in report.findings} >= {str(file)}
        assert report.num_damaged_records == len(affected)
        shutil.rmtree(dataset)
        shutil.copytree(original, dataset)


@pytest.mark.skipif(os.name == "nt", reason="no such files there")
@pytest.mark.parametrize("replace", REPLACEMENTS, ids=lambda replace: replace.__name__)
def test_replaced_manifest_refuses_the_dataset_and_writers(dataset: Path, replace: Callable[[Path], None]) -> None:
    (manifest,) = dataset.glob("manifest.*.json")
    replace(manifest)

    for attempt in (
        lambda: SplitDataLoader(dataset),
        lambda: SplitWriter(dataset, mode="append"),
        lambda: verify(dataset),
    ):
        with pytest.raises(FormatError, match="manifest"):
            attempt()


@pytest.mark.parametrize("io", IOS)
def test_file_with_bytes_behind_its_end_reads_as_before(dataset: Path, io: Io) -> None:
    for file, _ in parts(dataset):
        with file.open("ab") as end:
            end.write(b"\xff" * 100)
    reading = read_everything(dataset, io=io)

    assert (reading.refused, reading.errors) == (None, {})


def swap(one: Path, other: Path) -> None:
    """Exchange two files."""
    aside = one.with_name("aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


@pytest.mark.parametrize("io", IOS)
def test_swapped_bins_of_a_segment_are_errors(dataset: Path, io: Io) -> None:
    first, _ = segment_folders(dataset)
    swap(first / "000000.bin", first / "000001.bin")

    assert set(read_everything(dataset, io=io).errors) == set(range(FIRST_SEGMENT))


@pytest.mark.parametrize("checked", [True, False])
@pytest.mark.parametrize("io", IOS)
def test_swapped_bins_of_two_like_segments_are_errors(tmp_path: Path, io: Io, checked: bool) -> None:
    records = [bytes([number]) * 20 for number in range(12)]
    for start in (0, 6):
        with SplitWriter(tmp_path / "data", bins=2, mode="append", durability="none") as writer:
            writer.write_many(records[start : start + 6])
    first, second = segment_folders(tmp_path / "data")
    swap(first / "000001.bin", second / "000001.bin")

    with SplitDataLoader(tmp_path / "data", io=io, verify=checked) as loader:
        for position, record in enumerate(records):
            if position % 2 == 0:
                assert loader[position] == record
                continue
            for read in (lambda at: loader[at], lambda at: loader[[at, at]], loader.view):
                with pytest.raises(FormatError, match=r"000001\.bin"):
                    read(position)
        with pytest.raises(FormatError):
            list(loader)
        with pytest.raises(FormatError):
            list(loader.iterate_binwise())


@pytest.mark.parametrize("io", IOS)
def test_swapped_indexes_of_two_segments_are_errors(dataset: Path, io: Io) -> None:
    first, second = segment_folders(dataset)
    swap(first / "index", second / "index")
    reading = read_everything(dataset, io=io)

    assert reading.refused is None
    assert reading.errors


HEADERS = [("index", 128), ("000000.bin", 64)]


@pytest.mark.parametrize("io", IOS)
@pytest.mark.parametrize(("name", "length"), HEADERS)
@pytest.mark.parametrize("field", ["major", "must-understand"])
def test_intact_header_of_a_newer_version_is_refused(dataset: Path, io: Io, name: str, length: int, field: str) -> None:
    file = segment_folders(dataset)[0] / name
    data = bytearray(file.read_bytes())
    # FORMAT.md: major u16 at 8, flags that must be understood behind the segment's id.
    offset, layout = (8, "<H") if field == "major" else (32 if name == "index" else 40, "<I")
    # A major, or a feature, that nobody knows.
    more = 1 if field == "major" else 1 << 2
    struct.pack_into(layout, data, offset, more + struct.unpack_from(layout, data, offset)[0])
    data[length - 8 : length] = hash64(bytes(data[: length - 8])).to_bytes(8, "little")
    file.write_bytes(data)
    errors = read_everything(dataset, io=io).errors

    assert set(errors) == (set(range(FIRST_SEGMENT)) if name == "index" else {0, 2, 4})
    for error in errors.values():
        assert type(error) is UnsupportedVersionError
        assert str(file) in str(error)


@pytest.mark.parametrize("content", ["nothing", "foreign file", "not a folder", "missing"])
def test_foreign_directory_is_no_dataset(tmp_path: Path, content: str) -> None:
    path = tmp_path / "foreign"
    if content == "not a folder":
        path.write_bytes(b"manifest")
    elif content != "missing":
        path.mkdir()
    if content == "foreign file":
        (path / "model.bin").write_bytes(b"\x89SDB")

    with pytest.raises(DatasetNotFoundError, match="foreign"):
        SplitDataLoader(path)


def test_name_with_digits_of_another_script_is_no_manifest(dataset: Path) -> None:
    (dataset / "manifest.\u0661\u0661\u0661\u0661\u0661\u0661\u0661\u0661\u0661\u0661.json").write_bytes(b"{}")

    assert read_everything(dataset, io="pread").refused is None


def test_last_possible_generation_is_refused_by_writers_and_read(dataset: Path) -> None:
    (manifest,) = dataset.glob("manifest.*.json")
    line = manifest.read_bytes().split(b"\n")[0].replace(b'"generation":2', b'"generation":9999999999')
    manifest.unlink()
    written = line + b'\n{"xxh3":"' + f"{hash64(line):016x}".encode() + b'"}\n'
    (dataset / "manifest.9999999999.json").write_bytes(written)

    assert read_everything(dataset, io="pread").refused is None
    with SplitWriter(dataset, mode="append") as writer:
        writer.write(b"one more")
        with pytest.raises(ManifestError, match="9999999999"):
            writer.commit()
        writer.abort()
    assert read_everything(dataset, io="pread").refused is None


def test_overwriting_a_damaged_dataset_succeeds(dataset: Path) -> None:
    for folder in segment_folders(dataset):
        replace_by_directory(folder / "index")
    with SplitWriter(dataset, mode="overwrite") as writer:
        writer.write_many(RECORDS)

    assert read_everything(dataset, io="pread").errors == {}


def test_every_error_of_a_replaced_file_is_the_librarys_own(dataset: Path) -> None:
    shutil.rmtree(dataset / "segments")
    (dataset / "segments").write_bytes(b"a file")
    reading = read_everything(dataset, io="pread")

    assert all(isinstance(error, SplitDataError) for error in reading.errors.values())
    assert len(reading.errors) == len(RECORDS)


def replace_by_other(path: Path) -> None:
    path.rename(path.with_name("aside"))
    shutil.copytree(path.with_name("other"), path)


def replace_by_copy(path: Path) -> None:
    path.rename(path.with_name("aside"))
    shutil.copytree(path.with_name("aside"), path)


def link_to_other(path: Path) -> None:
    path.rename(path.with_name("aside"))
    path.symlink_to(path.with_name("other"), target_is_directory=True)


def empty_segments(path: Path) -> None:
    shutil.rmtree(path / "segments")
    (path / "segments").mkdir()


REPLACED: dict[str, Callable[[Path], None]] = {
    "other dataset": replace_by_other,
    "copy": replace_by_copy,
    "link": link_to_other,
    "no segment": empty_segments,
}


@pytest.mark.skipif(os.name == "nt", reason="a folder with open files cannot be moved there")
@pytest.mark.parametrize("commits", [0, 1])
@pytest.mark.parametrize("mode", ["create", "append", "overwrite", "resume"])
@pytest.mark.parametrize("how", REPLACED)
def test_writer_commits_no_segment_that_is_not_where_the_manifest_says(
    tmp_path: Path,
    how: str,
    mode: Any,  # the modes are SplitWriter's
    commits: int,
) -> None:
    path, other = tmp_path / "data", tmp_path / "other"
    for dataset in (other, path)[: 1 if mode == "create" else 2]:
        with SplitWriter(dataset, durability="none") as writer:
            writer.write_many([b"a", b"b"])
    before = files_of(other)
    writer = SplitWriter(path, mode=mode, durability="none")
    for _ in range(commits):
        writer.write(b"committed")
        writer.commit()
    writer.write(b"flushed")
    writer._guarded(writer._flush)
    REPLACED[how](path)

    with pytest.raises(SplitDataError):
        writer.close()
    assert files_of(other) == before
    if how == "other dataset":
        assert files_of(path) == before
