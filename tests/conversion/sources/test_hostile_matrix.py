"""Each kind of binary input, damaged, cut, empty, gone or a loop of links: an error of ours, and DEST as it was.

one good input of each kind ──cut at many places──────────────────> SourceError or OSError, never fewer records
                            ──lengths and offsets made huge───────> the same, or what is not proven is other bytes
                            ──gone, or a link to itself, when read──> OSError, or SourceError
"""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from splitdata import SourceError, SplitDataError, SplitWriter, convert, export, open_source

NUM_RECORDS = 20
OURS = (SplitDataError, OSError)


def make_zip(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(NUM_RECORDS):
            archive.writestr(f"{number}.txt", b"text " * (number + 1))
    return folder / "a.zip"


def make_tar(folder: Path) -> Path:
    with tarfile.open(folder / "a.tar", "w") as archive:
        for number in range(NUM_RECORDS):
            member = tarfile.TarInfo(f"{number}.txt")
            member.size = number
            archive.addfile(member, io.BytesIO(b"x" * number))
    return folder / "a.tar"


def make_lines(folder: Path) -> Path:
    (folder / "a.jsonl.gz").write_bytes(gzip.compress(b"".join(b'{"a": %d}\n' % number for number in range(20))))
    return folder / "a.jsonl.gz"


def make_npy(folder: Path) -> Path:
    np.save(folder / "a.npy", np.arange(NUM_RECORDS * 3, dtype=np.int32).reshape(NUM_RECORDS, 3))
    return folder / "a.npy"


def make_npz(folder: Path) -> Path:
    np.savez(folder / "a.npz", x=np.arange(NUM_RECORDS), y=np.ones((NUM_RECORDS, 4), np.float32))
    return folder / "a.npz"


def make_megatron(folder: Path) -> Path:
    sizes = np.full(NUM_RECORDS, 4, np.int32)
    pointers = (np.arange(NUM_RECORDS) * 8).astype(np.int64)
    head = b"MMIDIDX\0\0" + (1).to_bytes(8, "little") + b"\x08"
    counts = NUM_RECORDS.to_bytes(8, "little") + (NUM_RECORDS + 1).to_bytes(8, "little")
    documents = np.arange(NUM_RECORDS + 1, dtype=np.int64)
    (folder / "a.idx").write_bytes(head + counts + sizes.tobytes() + pointers.tobytes() + documents.tobytes())
    (folder / "a.bin").write_bytes(np.arange(NUM_RECORDS * 4, dtype=np.uint16).tobytes())
    return folder / "a.bin"


def exported(to: str, name: str, *, is_bytes: bool) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        with SplitWriter(folder / "from", codec=None if is_bytes else "sample") as writer:
            for number in range(NUM_RECORDS):
                if is_bytes:
                    writer.write(b"x" * number)
                else:
                    writer.write_sample({"bin": b"x" * number, "id": number})
        export(folder / "from", folder / name, to=to)  # type: ignore[arg-type]  # one of the formats
        return folder / name

    return make


def shard_of(path: Path) -> Path:
    """Return the file of an input that is damaged."""
    if path.suffix == ".bin":
        return path.with_suffix(".idx")
    return next(iter(sorted(path.glob("*.mds")))) if path.is_dir() else path


KINDS: dict[str, Callable[[Path], Path]] = {
    "zip": make_zip,
    "tar": make_tar,
    "jsonl.gz": make_lines,
    "npy": make_npy,
    "npz": make_npz,
    "megatron": make_megatron,
    "tfrecord": exported("tfrecord", "a.tfrecord", is_bytes=True),
    "mds": exported("mds", "a", is_bytes=False),
    "webdataset": exported("webdataset", "b.tar", is_bytes=False),
}
ALL = pytest.mark.parametrize("kind", KINDS)


@ALL
def test_whole_input_has_all_records(tmp_path: Path, kind: str) -> None:
    assert convert(KINDS[kind](tmp_path), tmp_path / "data", durability="none").num_records == NUM_RECORDS


@ALL
def test_input_that_is_cut_anywhere_is_an_error_and_leaves_nothing(tmp_path: Path, kind: str) -> None:
    path = KINDS[kind](tmp_path)
    file = shard_of(path)
    data = file.read_bytes()
    # A tar has records of zeros behind its end, which nobody misses.
    size = len(data.rstrip(b"\0")) if kind in ("tar", "webdataset") else len(data)
    # Nothing is a TFRecord file without records.
    for length in sorted({int(kind == "tfrecord"), 1, 7, size // 3, size // 2, size - 9, size - 1}):
        file.write_bytes(data[:length])
        with pytest.raises(OURS):
            convert(path, tmp_path / "data", durability="none")
        assert not (tmp_path / "data").exists(), length


@ALL
def test_huge_or_negative_numbers_in_an_input_are_errors_of_ours_or_other_bytes(tmp_path: Path, kind: str) -> None:
    path = KINDS[kind](tmp_path)
    file = shard_of(path)
    data = file.read_bytes()
    num_refused = 0
    for number, start in enumerate(range(0, min(len(data), 700), 24)):
        for value in (b"\xff" * 8, b"\0\0\0\0\0\0\0\x80"):
            file.write_bytes(data[:start] + value + data[start + len(value) :])
            try:
                convert(path, tmp_path / f"data {number}", mode="overwrite", durability="none")
            except OURS:
                num_refused += 1

    assert num_refused > 3


@ALL
@pytest.mark.parametrize("what", ["gone", "loop"])
def test_input_that_is_gone_or_a_loop_when_it_is_read_is_named(tmp_path: Path, kind: str, what: str) -> None:
    path = KINDS[kind](tmp_path)
    source = open_source(path)
    file = shard_of(path)
    file.unlink()
    if what == "loop":
        file.symlink_to(file)

    with pytest.raises((SourceError, OSError), match=file.name.replace(".", r"\.")):
        convert(source, tmp_path / "data", durability="none")
    assert not (tmp_path / "data").exists()


def test_loop_of_links_in_place_of_a_dataset_is_an_error_of_the_system(tmp_path: Path) -> None:
    path = make_npy(tmp_path)
    loop = tmp_path / "loop"
    loop.symlink_to(loop)

    for action in (lambda: convert(path, loop), lambda: export(loop, tmp_path / "out.jsonl", to="jsonl")):
        with pytest.raises(OURS, match="loop"):
            action()
    assert sorted(found.name for found in tmp_path.iterdir()) == ["a.npy", "loop"]
