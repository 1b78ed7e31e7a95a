"""Every way to read x every kind of record x every damage: all of them give the same verdict on each record.

    flip one bit of     the frame: header, payload, key        the index entry of the record
    or write            another codec, kind, sequence, length; a tombstone; nothing (the bin is cut, or gone)
    then read by        [i] fresh and warm, [[...]], slices, view, views, gather, walks, read_range, verify

A way that returns what another one refuses would hand out records that nobody wrote.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitdata import (
    FormatError,
    RecordDeletedError,
    SplitDataLoader,
    compact,
    delete,
    verify,
)
from splitdata.format import spec
from splitdata.format.checksum import bin_salt, frame_check, hash64, sync_word
from splitdata.format.frames import FrameHeader, lengths_word
from splitdata.format.index import entry_bytes, entry_offset
from tests.dataset.record_kinds import (
    GROUPED_KINDS,
    KINDS,
    RecordKind,
    overwrite,
    place_of,
    segments_of,
    set_foreign_frame,
)
from tests.faults.file_faults import fast_folder

VICTIM = 3
OTHERS = (1, 2, 4)
Way = Callable[[SplitDataLoader, int], object]

SMALL_KINDS = (*(kind for kind in KINDS if kind.name != "large"), *GROUPED_KINDS)
LARGE_KINDS = (
    RecordKind("large_plain", (b"a", b"b", b"c", random.Random(2).randbytes(spec.LARGE_RECORD_BYTES + 9), b"d", b"e")),
    RecordKind(
        "large_zstd",
        (b"a", b"b", b"c", bytes(spec.LARGE_RECORD_BYTES + 9), b"d", b"e"),
        has_keys=True,
        options={"compression": "zstd"},
    ),
)


def of_walk(walk: Iterable[Any], position: int) -> object:
    """Return what a walk gives at a position, or raise what it raises there."""
    steps = iter(walk)
    for number in range(position + 1):
        try:
            record = next(steps)
        except FormatError:
            if number == position:
                raise
    return record


def of_binwise(loader: SplitDataLoader, position: int, *, as_views: bool = False, shuffle: bool = False) -> object:
    """Return what a walk by bins gives for a position; what it refuses on the way to others does not count."""
    steps: Iterator[tuple[int, Any]] = iter(
        loader.iterate_binwise(with_positions=True, as_views=as_views, shuffle=shuffle, seed=3)
    )
    failed: list[FormatError] = []
    found = {}
    while True:
        try:
            number, record = next(steps)
        except StopIteration:
            break
        except FormatError as error:
            failed.append(error)
            continue
        found[number] = record
    if position not in found:
        assert failed, f"record {position} is left out in silence"
        raise failed[0]
    return found[position]


# Of hundreds of records each walk takes a while: one of a kind is enough for those.
MANY = 100
WAYS: dict[str, Way] = {
    "[i]": lambda loader, i: loader[i],
    "[i] numpy": lambda loader, i: loader[np.int64(i)],
    "[[i]]": lambda loader, i: loader[[i]][0],
    "[[i, ...]]": lambda loader, i: loader[[i, *([5] * 70)]][0],
    "[i:i+1]": lambda loader, i: loader[i : i + 1][0],
    "__getitems__": lambda loader, i: loader.__getitems__([i])[0],
    "view": lambda loader, i: loader.view(i),
    "views": lambda loader, i: loader.views([i, i])[1],
    "gather": lambda loader, i: loader.gather([i])[0].tobytes(),
    "read_range": lambda loader, i: loader.read_range(i, 0, 1 << 40),
    "iter": lambda loader, i: of_walk(loader, i),
    "binwise": lambda loader, i: of_binwise(loader, i),
    "binwise views": lambda loader, i: of_binwise(loader, i, as_views=True),
    "binwise shuffled": lambda loader, i: of_binwise(loader, i, shuffle=True),
}


def verdict(way: Way, loader: SplitDataLoader, position: int, expected: bytes) -> str:
    """Return "whole" or "damaged"; bytes that nobody wrote are an answer of their own."""
    try:
        found = way(loader, position)
    except FormatError:
        return "damaged"
    return "whole" if bytes(found) == expected else f"wrong: {bytes(found)[:40]!r}"  # type: ignore[call-overload]


def verdicts(path: Path, kind: RecordKind, ways: dict[str, Way], position: int) -> dict[str, str]:
    """Return the verdict of each way on a record: of a fresh reader, of one that has more open, in both directions."""
    report = verify(path, num_workers=1)
    found = {"verify": "damaged" if report.num_damaged_records else "whole"}
    record = kind.records[position]
    for io in ("mmap", "pread"):
        for names in (list(ways), list(ways)[::-1]):
            with SplitDataLoader(path, io=io) as loader:
                for name in names:
                    found[f"{name} {io} after {len(found)}"] = verdict(ways[name], loader, position, record)
                for other in OTHERS:
                    group = kind.options.get("group", 1)
                    if (other // group - position // group) % 2:
                        # Of another bin, so that no damage concerns it.
                        assert verdict(ways["[i]"], loader, other, kind.records[other]) == "whole"
                found[f"[i] {io} warm"] = verdict(ways["[i]"], loader, position, record)
    return found


# -- damages -----------------------------------------------------------------------------------------

Damage = Callable[[Path], None]


def flip(file: Path, offset: int, bit: int) -> None:
    overwrite(file, offset, bytes([file.read_bytes()[offset] ^ 1 << bit]))


def frame_of(path: Path) -> tuple[Path, int, FrameHeader]:
    file, offset = place_of(path, VICTIM)
    return file, offset, FrameHeader.unpack(file.read_bytes()[offset : offset + spec.LARGE_FRAME_HEADER_BYTES])


def entry_of(path: Path) -> tuple[Path, int]:
    info, paths = segments_of(path)[0]
    return Path(paths.index), entry_offset(VICTIM // info.group, info.group)


def header_flip(number: int) -> Damage:
    def damage(path: Path) -> None:
        file, offset = place_of(path, VICTIM)
        flip(file, offset + number // 8, number % 8)

    return damage


def entry_flip(number: int) -> Damage:
    def damage(path: Path) -> None:
        file, offset = entry_of(path)
        flip(file, offset + number // 8, number % 8)

    return damage


def body_flip(share: float) -> Damage:
    """One bit of what lies behind the header: payload, table of hashes, key."""

    def damage(path: Path) -> None:
        file, offset, header = frame_of(path)
        size = header.stored_length + header.key_length + (8 if header.kind == spec.KIND_LARGE else 0)
        if size:
            flip(file, offset + header.size + int(share * (size - 1)), 2)

    return damage


def forged(**fields: int) -> Damage:
    """Another header in the same place, whose check is right; what is proven by nobody but the reader of the record."""

    def damage(path: Path) -> None:
        info = segments_of(path)[0][0]
        file, offset, header = frame_of(path)
        changed = {name: getattr(header, name) for name in header.__slots__} | fields
        salt = bin_salt(info.id, header.sequence % info.num_bins)
        overwrite(file, offset, FrameHeader(**changed).pack(salt, offset)[: header.size])

    return damage


def forged_lengths(path: Path) -> None:
    """Header and entry agree on a stored length that is not the raw one, and the hash is that of the raw length."""
    file, offset, header = frame_of(path)
    content = file.read_bytes()
    index, place = entry_of(path)
    salt = bin_salt(segments_of(path)[0][0].id, header.sequence % segments_of(path)[0][0].num_bins)
    raw = header.raw_length
    start = offset + header.size
    words = [
        hash64(content[start : start + raw]),
        header.sequence | header.kind << 32,
        lengths_word(max(0, raw - 1), raw),
    ]
    check = frame_check(salt, offset, tuple(words))
    overwrite(file, offset, struct.pack("<4Q", sync_word(salt) | check << 32, *words))
    overwrite(index, place + 8, words[2].to_bytes(8, "little"))


def of_another_segment(path: Path) -> None:
    set_foreign_frame(path, VICTIM)


def tombstone(path: Path) -> None:
    overwrite(*entry_of(path), spec.TOMBSTONE.to_bytes(8, "little") + bytes(8))


def cut_in_frame(path: Path) -> None:
    """The bin ends in the middle of the frame, and with it go the records behind."""
    file, offset, header = frame_of(path)
    with file.open("r+b") as stream:
        stream.truncate(offset + header.size + (header.stored_length + 1) // 2 - 1)


def no_bin(path: Path) -> None:
    place_of(path, VICTIM)[0].unlink()


def leads_to_neighbor(path: Path) -> None:
    """The entry of another record of the same bin, as a rewritten index may have it."""
    index, offset = entry_of(path)
    content = index.read_bytes()
    other = offset + 2 * entry_bytes(segments_of(path)[0][0].group)
    overwrite(index, offset, content[other : other + spec.INDEX_ENTRY_BYTES])


def intact(path: Path) -> None:
    """Nothing."""


DAMAGES: dict[str, Damage] = {
    "intact": intact,
    "tombstone": tombstone,
    "cut in the frame": cut_in_frame,
    "no bin": no_bin,
    "leads to a neighbor": leads_to_neighbor,
    # The first bit of each byte in turn, then the second ...: all words of header and entry, and all their bits.
    **{f"header bit {number}": header_flip(number) for number in range(1, 8 * spec.FRAME_HEADER_BYTES, 9)},
    **{f"entry bit {number}": entry_flip(number) for number in range(3, 8 * spec.INDEX_ENTRY_BYTES, 21)},
    **{f"body at {share}": body_flip(share) for share in (0.0, 0.5, 1.0)},
    **{f"codec {codec}": forged(codec=codec) for codec in (0, 1, 2, 3)},
    **{f"kind {kind}": forged(kind=kind) for kind in (0, 2, 3)},
    "sequence 5": forged(sequence=5),
    "control sequence": forged(sequence=spec.CONTROL_SEQUENCE),
    "no key": forged(key_length=0),
    "forged lengths": forged_lengths,
    "of another segment": of_another_segment,
    "a key": forged(key_length=3),
}


@pytest.mark.parametrize(
    "kind",
    # Hundreds of records: those with keys, too, are read in every run.
    [pytest.param(kind, id=kind.name, marks=[pytest.mark.soak] * (kind.name == "dictionary")) for kind in SMALL_KINDS],
)
def test_every_way_of_reading_gives_the_same_verdict_on_every_damage(tmp_path: Path, kind: RecordKind) -> None:
    with fast_folder(tmp_path) as folder:
        path = folder / "data"
        kind.write_sealed(path)
        check(path, kind, DAMAGES)


@pytest.mark.parametrize("is_compacted", [False, True], ids=["marked", "compacted"])
@pytest.mark.parametrize("kind", SMALL_KINDS, ids=lambda kind: kind.name)
def test_every_way_of_reading_says_of_a_deleted_record_that_it_was_deleted_whatever_else_is_wrong_with_it(
    tmp_path: Path, kind: RecordKind, is_compacted: bool
) -> None:
    path = tmp_path / "data"
    kind.write_sealed(path)
    delete(path, positions=[VICTIM])
    if is_compacted:
        compact(path, erase=True)
    ways = WAYS if len(kind.records) < MANY else {name: WAYS[name] for name in ("[i]", "[[i, ...]]", "view", "gather")}
    damages = ("intact", "tombstone", "header bit 73", "body at 0.5", "cut in the frame", "no bin", "codec 1")
    _, paths = segments_of(path)[0]
    files = [Path(paths.index), *map(Path, path.rglob("*.bin"))]
    content = {file: file.read_bytes() for file in files}
    for damage in damages[: 2 if is_compacted else None]:
        DAMAGES[damage](path)
        for io in ("mmap", "pread"):
            for names in (list(ways), list(ways)[::-1]):
                with SplitDataLoader(path, io=io) as loader:
                    for name in names:
                        # On the way to it a walk may meet others that a cut bin has lost, or its group.
                        takes_others = damage in ("cut in the frame", "no bin") or kind in GROUPED_KINDS
                        if damage != "intact" and takes_others and name.startswith(("iter", "binwise")):
                            continue
                        with pytest.raises(RecordDeletedError):
                            ways[name](loader, VICTIM)
                    assert loader.sizes[VICTIM] == 0
        for file, data in content.items():
            file.write_bytes(data)


@pytest.mark.parametrize("kind", LARGE_KINDS, ids=lambda kind: kind.name)
def test_every_way_of_reading_gives_the_same_verdict_on_damages_of_large_records(
    tmp_path: Path, kind: RecordKind
) -> None:
    assert len(kind.records[3]) > spec.LARGE_RECORD_BYTES
    names = [
        "intact",
        "tombstone",
        "of another segment",
        "header bit 73",
        "header bit 136",
        "entry bit 66",
        "body at 0.5",
        "body at 1.0",
    ]
    with fast_folder(tmp_path) as folder:
        path = folder / "data"
        kind.write_sealed(path)
        check(path, kind, {name: DAMAGES[name] for name in names})


@pytest.mark.soak
@pytest.mark.parametrize("kind", SMALL_KINDS, ids=lambda kind: kind.name)
def test_every_way_of_reading_gives_the_same_verdict_on_every_bit(tmp_path: Path, kind: RecordKind) -> None:
    bits = {f"header bit {number}": header_flip(number) for number in range(8 * spec.FRAME_HEADER_BYTES)}
    bits |= {f"entry bit {number}": entry_flip(number) for number in range(8 * spec.INDEX_ENTRY_BYTES)}
    with fast_folder(tmp_path) as folder:
        path = folder / "data"
        kind.write_sealed(path)
        check(path, kind, bits)


def check(path: Path, kind: RecordKind, damages: dict[str, Damage]) -> None:
    ways = {
        name: way
        for name, way in WAYS.items()
        if len(kind.records) < MANY or name not in ("iter", "binwise views", "binwise shuffled")
    }
    _, paths = segments_of(path)[0]
    files = [Path(paths.index), place_of(path, VICTIM)[0]]
    content = [file.read_bytes() for file in files]
    odd: dict[str, dict[str, list[str]]] = {}
    for name, damage in damages.items():
        damage(path)
        found = verdicts(path, kind, ways, VICTIM)
        if len(set(found.values())) > 1 or found["verify"].startswith("wrong"):
            sides: dict[str, list[str]] = {}
            for way, answer in found.items():
                sides.setdefault(answer, []).append(way)
            odd[name] = sides
        for file, data in zip(files, content, strict=True):
            file.write_bytes(data)
    assert odd == {}
