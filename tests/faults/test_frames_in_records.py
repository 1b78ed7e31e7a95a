"""Records that hold whole frames of their own bin, made by one who knew where they would lie: no repair takes one.

record 4    junk | frame of "record 6" | junk          with every check and hash right
whatever is damaged beside it, each record that can be read afterwards is the one that was written
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import zstandard

from splitdata import FormatError, RepairReport, SplitDataLoader, SplitWriter, repair, verify
from splitdata.dataset.segments.dictionary import control_frame
from splitdata.format import spec
from splitdata.format.bins import BinHeader
from splitdata.format.checksum import bin_salt, hash64
from splitdata.format.frames import FrameHeader
from tests.dataset.record_kinds import kill, overwrite, place_of, segments_of, tree_of
from tests.faults.file_faults import fast_folder

CARRIER = 4
COUNT = 12
COMMITTED = 9
SIZE = 4000
RECORDS = [b"record %d " % number * (number % 5 + 1) for number in range(COUNT)]
METADATA = {"who": "me"}
OPTIONS: dict[str, Any] = {"bins": 1, "durability": "none", "reproducible": "as foretold", "metadata": METADATA}


@dataclass(frozen=True)
class Place:
    """Where the carrier's payload will lie, and what will lie behind it: all that an attacker can foretell."""

    segment_id: str
    offset: int
    behind: bytes

    @property
    def salt(self) -> int:
        """Of bin 0, the only one."""
        return bin_salt(self.segment_id, 0)

    def frame(self, at: int, sequence: int, stored: bytes, key: bytes = b"", **fields: Any) -> bytes:
        """Return a frame that is right at a byte of the payload."""
        values = {"stored_length": len(stored), "raw_length": len(stored), "payload_hash": hash64(stored + key)}
        header = FrameHeader(**({"sequence": sequence, "key_length": len(key)} | values | fields))
        return header.pack(self.salt, self.offset + at) + stored + key

    def chain(self, at: int, sequences: list[int], key: str = "") -> bytes:
        """Return frames that stand end to end."""
        made = b""
        for sequence in sequences:
            made += bytes(-len(made) % 8)
            made += self.frame(at + len(made), sequence, b"nobody wrote %d" % sequence, key.encode())
        return made


def padded(parts: dict[int, bytes]) -> bytes:
    """Return a payload with these parts at these bytes of it."""
    payload = bytearray(random.Random(1).randbytes(SIZE))
    for at, part in parts.items():
        payload[at : at + len(part)] = part
    assert len(payload) == SIZE
    return bytes(payload)


def at_the_end(place: Place, sequence: int) -> bytes:
    """Return a frame that ends where the payload does."""
    return padded({SIZE - 72: place.frame(SIZE - 72, sequence, b"nobody wrote this".ljust(40))})


def over_others(place: Place) -> bytes:
    """Return a frame that begins in the payload and goes on over the next two records, up to the third."""
    payload = padded({})
    at = SIZE - 160
    # As the writer lays them out, with alignment 8.
    sizes = [(32 + len(RECORDS[number]) + 7) // 8 * 8 for number in (CARRIER + 1, CARRIER + 2)]
    body = payload[at + 32 :] + place.behind[: sum(sizes)]
    return padded({at: place.frame(at, CARRIER + 2, body)[:32]})


def everything_else(place: Place) -> bytes:
    """Return a bin, an index and a manifest of this segment, one behind the other."""
    header = BinHeader(segment_id=place.segment_id, bin_index=0, num_bins=1).pack()
    manifest = json.dumps({"format": "splitdata", "segments": [{"id": place.segment_id, "records": 99}]}).encode()
    index = (8).to_bytes(8, "little") + bytes(8)
    return padded({0: header + place.chain(64, [0, 1, 2, 5]), 800: index * 20, 1600: manifest + b"\n"})


def claims_of_length(place: Place) -> bytes:
    """Return headers, all of them right, that claim all that follows."""
    parts = {}
    for at in range(0, SIZE - 48, 48):
        length = spec.LARGE_RECORD_BYTES + 8 * at
        fields: dict[str, Any] = {
            "stored_length": length,
            "raw_length": length,
            "kind": spec.KIND_LARGE,
            "payload_hash": at,
        }
        parts[at] = place.frame(at, 5 + at // 48 % 3, b"", **fields)
    return padded(parts)


def control_frames(place: Place) -> bytes:
    """Return a dictionary and metadata where bin 0 has its own for another alignment, and elsewhere."""
    metadata = json.dumps({"who": "somebody else"}).encode()
    made = control_frame(spec.KIND_DICTIONARY, b"d" * 64, place.salt, place.offset)
    at = len(made)
    made += control_frame(spec.KIND_METADATA, metadata, place.salt, place.offset + at)
    return padded({0: made, 800: control_frame(spec.KIND_METADATA, metadata, place.salt, place.offset + 800)})


ATTACKS: dict[str, Callable[[Place], bytes]] = {
    "earlier number": lambda place: padded({0: place.chain(0, [0])}),
    "next number": lambda place: padded({0: place.chain(0, [5])}),
    "own number": lambda place: padded({0: place.chain(0, [4])}),
    "own number, ending together": lambda place: at_the_end(place, 4),
    "number behind, ending together": lambda place: at_the_end(place, 5),
    "whole run": lambda place: padded({8: place.chain(8, list(range(12)))}),
    "run of later numbers": lambda place: padded({16: place.chain(16, [5, 6, 7, 8])}),
    "uncommitted numbers": lambda place: padded({0: place.chain(0, [9, 10, 11, 12, 13])}),
    "far number": lambda place: padded({0: place.chain(0, [10_000, 2**32 - 2])}),
    "stolen keys": lambda place: padded({0: place.chain(0, [6], "key 6") + bytes(8)}),
    "zstd": lambda place: padded(
        {0: place.frame(0, 6, zstandard.compress(bytes(500)), raw_length=500, codec=spec.CODEC_ZSTD)}
    ),
    "over others": over_others,
    "everything else": everything_else,
    "claims of length": claims_of_length,
    "control frames": control_frames,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with fast_folder(tmp_path_factory.mktemp("carriers")) as path:
        yield path


@pytest.fixture(scope="module")
def place(folder: Path) -> Place:
    path = write(folder / "foretold", bytes(SIZE))
    file, offset = place_of(path, CARRIER)
    behind = file.read_bytes()[offset + spec.FRAME_HEADER_BYTES + SIZE :]
    return Place(segments_of(path)[0][0].id, offset + spec.FRAME_HEADER_BYTES, behind)


def key_of(number: int) -> str | None:
    return f"key {number}" if number % 3 == 0 else None


def written(payload: bytes) -> list[bytes]:
    return [payload if number == CARRIER else record for number, record in enumerate(RECORDS)]


def write(path: Path, payload: bytes, *, is_open: bool = False) -> Path:
    """Write all records, sealed, or as a run that was killed after it had committed some of them."""
    writer = SplitWriter(path, **OPTIONS)
    for number, record in enumerate(written(payload)):
        if is_open and number == COMMITTED:
            writer.commit()
        writer.write(record, key_of(number))
    if is_open:
        kill(writer)
    else:
        writer.close()
    return path


def check(path: Path, payload: bytes, *, most: int, num_found_alone: int = 0) -> None:
    """Compare whatever can be read with what was written; a record may be forged that is said to be found alone."""
    records = written(payload)
    others = []
    with SplitDataLoader(path) as loader:
        assert len(loader) <= most
        assert loader.metadata == METADATA
        for number in range(len(loader)):
            try:
                record, key = loader[number], loader.key(number)
            except FormatError:
                continue
            if (record, key) != (records[number], key_of(number)):
                others.append(number)
        assert len(others) <= min(1, num_found_alone)
        for number in range(0, len(loader), 3):
            try:
                assert loader.find(str(key_of(number))) == number
            except (KeyError, FormatError):
                continue


Damage = Callable[[Path], None]


def no_index(path: Path) -> None:
    Path(segments_of(path)[0][1].index).unlink()


def no_sure_index(path: Path) -> None:
    """Leave half of the entries, and no checksum that proves them."""
    index = Path(segments_of(path)[0][1].index)
    content = index.read_bytes()
    overwrite(index, 128, b"".join(content[at : at + 16] if at % 32 else bytes(16) for at in range(128, 320, 16)))


def without(*numbers: int) -> Damage:
    """Return what destroys the headers of some frames."""

    def damage(path: Path) -> None:
        for number in numbers:
            overwrite(*place_of(path, number), b"\xa5" * 32)

    return damage


def flipped_payload(path: Path) -> None:
    file, offset = place_of(path, CARRIER)
    overwrite(file, offset + 32 + SIZE - 200, b"\x5a")


def both(*damages: Damage) -> Damage:
    """Return several damages, one after the other."""

    def damage(path: Path) -> None:
        for one in damages:
            one(path)

    return damage


DAMAGES: dict[str, Damage] = {
    "nothing": lambda path: None,
    "index": no_index,
    "half of the index": no_sure_index,
    "carrier": without(CARRIER),
    "carrier, index": both(without(CARRIER), no_index),
    "carrier, half of the index": both(without(CARRIER), no_sure_index),
    "payload": flipped_payload,
    "payload, index": both(flipped_payload, no_index),
    "carrier, the one before, index": both(without(CARRIER - 1, CARRIER), no_index),
    "carrier, the one behind, index": both(without(CARRIER, CARRIER + 1), no_index),
    "first ones, index": both(without(0, 1), no_index),
    "last committed, index": both(without(COMMITTED - 1), no_index),
}


def repaired(path: Path, *, adopt: bool) -> RepairReport:
    """Repair; a second run must then change no byte."""
    report = repair(path, adopt=adopt)
    before = tree_of(path)
    again = repair(path, adopt=adopt)
    assert (again.actions, again.findings, again.num_adopted) == ((), report.findings, 0)
    assert tree_of(path) == before
    assert verify(path).num_damaged_records == report.num_lost_records
    return report


@pytest.mark.parametrize("is_open", [False, True], ids=["sealed", "open"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_frame_inside_of_a_record_is_never_taken_for_one(
    folder: Path, place: Place, attack: str, is_open: bool
) -> None:
    payload = ATTACKS[attack](place)
    for number, (name, damage) in enumerate(DAMAGES.items()):
        for adopt in (False, True):
            path = write(folder / f"{attack} {is_open} {number} {adopt}", payload, is_open=is_open)
            before = tree_of(path)
            damage(path)

            report = repaired(path, adopt=adopt)

            # With two headers in a row gone, and the index, nothing says where the second begins.
            alone = report.num_found_alone if "the one" in name else 0
            check(path, payload, most=COUNT if adopt or not is_open else COMMITTED, num_found_alone=alone)
            if name in ("nothing", "index", "half of the index"):
                assert report.is_whole, name
                assert report.num_found_alone == 0
                assert adopt or is_open or tree_of(path) == before


@pytest.mark.parametrize("attack", ATTACKS)
def test_run_that_never_committed_is_adopted_without_what_its_records_hold(
    folder: Path, place: Place, attack: str
) -> None:
    payload = ATTACKS[attack](place)
    for number, damage in enumerate([without(), without(CARRIER), flipped_payload]):
        path = write(folder / f"never {attack} {number}", payload)
        damage(path)
        for file in [*path.glob("manifest.*"), *path.glob("segments/*/index")]:
            file.unlink()

        report = repaired(path, adopt=True)

        assert report.num_records == (COUNT if number == 0 else CARRIER)
        check(path, payload, most=COUNT)


def test_frames_inside_of_a_large_record_are_not_taken(folder: Path, place: Place) -> None:
    def large(forged: bytes) -> bytes:
        return forged + bytes(spec.LARGE_RECORD_BYTES)

    first = SplitWriter(folder / "large, foretold", **OPTIONS)
    first.write_many([b"a", large(bytes(SIZE)), b"c", b"d"])
    first.close()
    offset = place_of(folder / "large, foretold", 1)[1] + spec.LARGE_FRAME_HEADER_BYTES
    there = Place(segments_of(folder / "large, foretold")[0][0].id, offset, b"")
    for number, damage in enumerate([no_index, without(1), both(without(1), no_index), both(without(0, 1), no_index)]):
        path = folder / f"large {number}"
        payload = large(padded({16: there.chain(16, [0, 1, 2, 3, 4])}))
        with SplitWriter(path, **OPTIONS) as writer:
            writer.write_many([b"a", payload, b"c", b"d"])
        damage(path)

        repair(path, adopt=True)

        with SplitDataLoader(path) as loader:
            assert len(loader) == 4
            for position, record in enumerate([b"a", payload, b"c", b"d"]):
                try:
                    assert loader[position] == record
                except FormatError:
                    continue


def test_frames_compressed_with_the_dictionary_are_not_taken(folder: Path) -> None:
    records = [json.dumps({"number": n, "words": [f"word{n * 7919 % 97}"] * 5}).encode() for n in range(200)]
    carrier = 50

    def write_all(path: Path, payload: bytes) -> Path:
        options = OPTIONS | {"compression": "zstd", "dictionary": True}
        with SplitWriter(path, **options) as writer:
            writer.write_many([payload if n == carrier else record for n, record in enumerate(records)])
        return path

    # Incompressible, so that it is stored as it is; the dictionary is the same, whatever these bytes are.
    foretold = write_all(folder / "dictionary, foretold", padded({}))
    info, _ = segments_of(foretold)[0]
    offset = place_of(foretold, carrier)[1] + spec.FRAME_HEADER_BYTES
    there = Place(info.id, offset, b"")
    raw = json.dumps({"number": 51, "words": ["nobody wrote"] * 5}).encode()
    stored = zstandard.ZstdCompressor(write_dict_id=False).compress(raw)
    forged = there.frame(0, 51, stored, raw_length=len(raw), codec=spec.CODEC_ZSTD_DICTIONARY)
    for number, damage in enumerate([no_index, without(carrier), both(without(carrier, carrier + 1), no_index)]):
        payload = padded({0: forged})
        path = write_all(folder / f"dictionary {number}", payload)
        damage(path)

        repair(path)

        with SplitDataLoader(path) as loader:
            for position, record in enumerate(records):
                try:
                    assert loader[position] == (payload if position == carrier else record)
                except FormatError:
                    continue


# -- what a search alone can say ---------------------------------------------------------------------------


def test_forged_record_in_a_hole_is_named_where_others_are_lost_and_refused_where_the_digest_is_known(
    folder: Path, place: Place
) -> None:
    """Three headers in a row are gone, and the index: nothing shows that this frame is not the middle one."""
    payload = padded({8: place.chain(8, [5])})
    path = write(folder / "hole", payload)
    both(without(CARRIER, 5, 6), no_index)(path)

    report = repaired(path, adopt=False)

    assert report.num_found_alone == 10
    assert "found by searching alone" in report.notes[0]


def test_records_that_contradict_the_digest_are_reported_and_nothing_is_changed(folder: Path) -> None:
    path = folder / "other digest"
    with SplitWriter(path, **OPTIONS) as writer:
        writer.write_many(RECORDS)
    other = folder / "another digest"
    with SplitWriter(other, **OPTIONS) as writer:
        writer.write_many([record.replace(b"r", b"R") for record in RECORDS])
    # The bin of another dataset that was made under the same ids, and no index that tells them apart.
    bin_0 = Path(segments_of(path)[0][1].bin(0))
    bin_0.write_bytes(Path(segments_of(other)[0][1].bin(0)).read_bytes())
    no_index(path)
    before = tree_of(path)

    report = repaired(path, adopt=False)

    assert report.num_lost_records == COUNT
    assert "contradicted by the digest" in report.findings[0].problem
    assert tree_of(path) == before
