"""Every part of every file replaced as a whole, by zeros or by noise, as a lost block or a stray write does.

header | frame | zeros | frame ...        one part after the other ── verify ── restore
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from splitdata import ManifestError, repair, verify
from splitdata.format import spec
from splitdata.format.frames import FrameHeader, footprint
from splitdata.format.manifest import SegmentInfo
from splitdata.storage.paths import SegmentPaths
from tests.dataset.record_kinds import KINDS, RecordKind, overwrite, place_of, segments_of, tree_of
from tests.faults.file_faults import fast_folder

Part = tuple[Path, int, int]

# These take longer.
LONG = ("large", "dictionary")
# Of a run of small frames so many are looked at.
MOST_FRAMES = 6


def frame_at(file: Path, offset: int) -> Part:
    """Return the frame that begins there, without padding."""
    with file.open("rb") as stream:
        stream.seek(offset)
        header = FrameHeader.unpack(stream.read(spec.LARGE_FRAME_HEADER_BYTES))
    return file, offset, offset + footprint(header)


def head_parts(path: Path) -> list[Part]:
    """Return the control frames of bin 0, and all of them together."""
    file, first = place_of(path, 0)
    data = file.read_bytes()[:first]
    found, end = [], spec.BIN_HEADER_BYTES
    while stripped := data[end:].lstrip(b"\0"):
        # A sync word is odd: no zeros stand before it.
        found.append(frame_at(file, first - len(stripped)))
        end = found[-1][2]
    return [*found, *([(file, found[0][1], end)] if len(found) > 1 else [])]


def record_parts(path: Path, count: int) -> list[Part]:
    """Return some frames of records, each by itself and its header and body apart, and pairs of neighbours."""
    parts = []
    for number in sorted({*range(min(count, MOST_FRAMES)), *range(max(0, count - 2), count)}):
        file, start, end = frame_at(*place_of(path, number))
        parts += [(file, start, end), (file, start, start + 32), (file, start + 32, end)]
        if number + 2 < count:
            parts.append((file, start, frame_at(*place_of(path, number + 2))[2]))
    return parts


def table_parts(info: SegmentInfo, paths: SegmentPaths) -> list[Part]:
    """Return the parts of index and keys, and the headers of bins."""
    index, parts = Path(paths.index), []
    entries_end = spec.INDEX_HEADER_BYTES + spec.INDEX_ENTRY_BYTES * info.num_records
    parts += [(index, 0, spec.INDEX_HEADER_BYTES), (index, spec.INDEX_HEADER_BYTES, entries_end)]
    parts += [(index, start, start + 16) for start in range(spec.INDEX_HEADER_BYTES, entries_end, 16 * 97)]
    if info.is_sealed:
        size = index.stat().st_size
        cuts = [entries_end, entries_end + 8, entries_end + 8 + 8 * info.num_bins, size - 24, size - 16, size - 8, size]
        parts += [(index, *pair) for pair in itertools.pairwise(cuts)]
    parts += [(Path(paths.bin(number)), 0, spec.BIN_HEADER_BYTES) for number in range(info.num_bins)]
    keys = Path(paths.keys if info.is_sealed else paths.open_keys)
    if keys.exists():
        parts += [(keys, 0, 64), (keys, 64, keys.stat().st_size)]
        parts += [(keys, start, start + 8) for start in range(0, keys.stat().st_size, 8 * 97)]
    return [part for part in parts if part[1] < part[2]]


def all_parts(path: Path, kind: RecordKind) -> list[Part]:
    """Return every part of a dataset of one segment that means something."""
    ((info, paths),) = segments_of(path)
    newest = max(path.glob("manifest.*.json"))
    manifest = [(newest, 0, newest.stat().st_size), (newest, newest.stat().st_size - 29, newest.stat().st_size)]
    return manifest + head_parts(path) + record_parts(path, len(kind.records)) + table_parts(info, paths)


def is_intact(path: Path) -> bool:
    try:
        return verify(path, num_workers=1).is_intact
    except ManifestError:
        return False


def unnoticed(path: Path, parts: list[Part]) -> Iterator[tuple[str, int, int, str]]:
    """Replace each part, and yield those of which verify says nothing."""
    source = random.Random(1)
    for file, start, end in parts:
        before = file.read_bytes()[start:end]
        for what, data in (("zeros", bytes(end - start)), ("noise", source.randbytes(end - start))):
            if data != before:
                overwrite(file, start, data)
                if is_intact(path):
                    yield file.name, start, end, what
        overwrite(file, start, before)


def write(kind: RecordKind, path: Path, *, is_sealed: bool) -> None:
    """Write a dataset of one segment."""
    (kind.write_sealed if is_sealed else kind.write_open)(path)


@pytest.mark.parametrize("is_sealed", [True, False], ids=["sealed", "open"])
@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, id=kind.name, marks=[pytest.mark.soak] if kind.name in LONG else []) for kind in KINDS],
)
def test_verify_reports_every_part_that_was_replaced(tmp_path: Path, kind: RecordKind, is_sealed: bool) -> None:
    with fast_folder(tmp_path) as folder:
        path = folder / "d"
        write(kind, path, is_sealed=is_sealed)
        assert is_intact(path)

        assert list(unnoticed(path, all_parts(path, kind))) == []


def with_head() -> list[RecordKind]:
    """Return kinds with control frames, also where these are shorter than two alignments."""
    found = [kind for kind in KINDS if kind.name in ("dictionary", "keyed_dictionary", "aligned_64")]
    records = tuple(b"%d" % number for number in range(9))
    found += [
        RecordKind(f"aligned_{alignment}", records, options={"alignment": alignment, "metadata": {"a": 1}})
        for alignment in (8, 4096)
    ]
    return found


@pytest.mark.parametrize("is_sealed", [True, False], ids=["sealed", "open"])
@pytest.mark.parametrize("kind", with_head(), ids=lambda kind: kind.name)
def test_zeros_in_the_place_of_a_control_frame_are_reported_and_mended_or_named(
    tmp_path: Path, kind: RecordKind, is_sealed: bool
) -> None:
    path = tmp_path / "d"
    write(kind, path, is_sealed=is_sealed)
    whole = tree_of(path)
    has_dictionary = "dictionary" in kind.name

    for file, start, end in head_parts(path):
        before = file.read_bytes()
        overwrite(file, start, bytes(end - start))
        assert any("metadata" in one.problem for one in verify(path).findings)
        report = repair(path)
        is_of_dictionary = has_dictionary and start == 64
        is_all = is_of_dictionary and before[end - 1 : end] == b"}"
        if is_of_dictionary and is_sealed and not is_all:
            assert report.is_whole
            assert tree_of(path) == whole
            assert verify(path).is_intact
        else:
            assert any(f"{file}: what stands in bytes" in note for note in report.notes)
        file.write_bytes(before)
