"""Feeds the compiled path with damaged segments, for as many rounds as are asked: a program of its own.

    python compiled_fuzzer.py COMPILED_FILE SEGMENTS ROUNDS SEED

COMPILED_FILE was built with sanitizers, which end the program where it reads what is not its own. SEGMENTS is JSON: for
each the arguments of `Frames`, the files in hexadecimal, and the records. Nothing but the standard library is loaded.

    files ─> some bytes changed, cut, or moved ─┬─> Frames ─> each read
                                                │              ├─ verified: None, or what was written
                                                │              └─ not verified: None, or bytes of some length
                                                └─> frames that are proven: bytes that were written
"""

from __future__ import annotations

import importlib.util
import json
import random
import sys
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# What is put in the place of a word now and then.
_WORDS = (0, 1, 8, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFFFE, 16777215, 16777216, 1 << 40, 1 << 63, (1 << 64) - 1, 3 << 32)
_MOST = 1 << 40


@dataclass(frozen=True)
class Segment:
    """A segment as it was written.

    Attributes:
        shape: Arguments of `Frames`.
        index: Its entries.
        bins: Its bins.
        salts: Of each bin; with the low half, made odd, each of its frames begins.
        alignment: Of payloads.
        records: What it holds.
    """

    shape: tuple[int, int, int, int]
    index: bytes
    bins: list[bytes]
    salts: list[int]
    alignment: int
    records: list[bytes]

    @classmethod
    def of(cls, stated: Any) -> Segment:
        """Return that of JSON."""
        files = [bytes.fromhex(one) for one in stated["files"]]
        return cls(
            tuple(stated["shape"]),
            files[0],
            files[1:],
            stated["salts"],
            stated["alignment"],
            list(map(bytes.fromhex, stated["records"])),
        )


def damaged(data: bytes, source: random.Random) -> bytes:
    """Return a file with some damage: mostly in one word, where it says most."""
    if not data:
        return data
    changed = bytearray(data)
    for _ in range(source.choice((1, 1, 1, 2, 5))):
        kind, place = source.random(), source.randrange(len(changed))
        if kind < 0.4:
            changed[place] ^= 1 << source.randrange(8)
        elif kind < 0.6:
            changed[place] = source.randrange(256)
        elif kind < 0.9:
            start, size = place & ~3, source.choice((4, 8))
            word = source.choice(_WORDS) if source.random() < 0.5 else source.randrange(2 * len(data))
            changed[start : start + size] = (word & (1 << 8 * size) - 1).to_bytes(size, "little")
        elif kind < 0.95:
            other = source.randrange(len(changed)) & ~7
            changed[place & ~7 : (place & ~7) + 16] = changed[other : other + 16]
        else:
            del changed[place:]
            if not changed:
                break
    return bytes(changed)


def with_other_length(segment: Segment, source: random.Random) -> list[bytes]:
    """Give a frame another length, in its entry too, and let its file end there: what is wrong is behind a bound."""
    num_records, num_bins, _, group = segment.shape
    stride = 16 + 4 * group if group > 1 else 16
    frame = source.randrange(-(-num_records // group))
    entry = bytearray(segment.index)
    place = int.from_bytes(entry[stride * frame :][:5], "little") * 8
    changed = bytearray(segment.bins[frame % num_bins])
    length = source.choice((source.randrange(12), source.randrange(8 + 8 * group), source.randrange(2 * len(changed))))
    lengths = length.to_bytes(4, "little") * 2
    entry[stride * frame + 8 : stride * frame + 16] = changed[place + 24 : place + 32] = lengths
    del changed[place + 32 + length - source.choice((0, 0, 0, 1, 8)) :]
    files = [bytes(entry), *segment.bins]
    files[1 + frame % num_bins] = bytes(changed)
    return files


def check(compiled: Any, segment: Segment, source: random.Random) -> int:
    """Damage a segment, read it in every way; return how many reads were answered."""
    is_cut = source.random() < 0.2
    files = with_other_length(segment, source) if is_cut else [segment.index, *segment.bins]
    for number in (
        ()
        if is_cut and source.random() < 0.7
        else {source.randrange(len(files)), 0 if source.random() < 0.5 else source.randrange(len(files))}
    ):
        files[number] = damaged(files[number], source)
    frames = compiled.Frames(*segment.shape)
    frames.put(-1, memoryview(files[0]), 0)
    for number, data in enumerate(files[1:]):
        frames.put(number, memoryview(data) if source.random() < 0.98 else None, segment.salts[number] & 0xFFFFFFFF | 1)
    count = len(segment.records)
    asked = [source.randrange(-1, count + 2) for _ in range(source.choice((1, 3, 40)))]
    row: Any = array("q", asked) if source.random() < 0.5 else asked
    most = source.choice((_MOST, _MOST, 20))
    num_answers = 0
    for verify in (True, False):
        size = frames.size(max(0, asked[0]))
        rows = bytearray((0 if size is None or size > 1 << 20 else size) * len(asked))
        is_gathered = frames.gather(row, rows, verify, most, _MOST)
        get = frames.getter(None, verify, most)
        answers = [frames.records(row, verify, most, _MOST), frames.views(row, verify, most, _MOST)]
        if is_gathered and size:
            answers.append([rows[start : start + size] for start in range(0, len(rows), size)])
        for found in filter(None, answers):
            num_answers += 1
            pairs = zip(found, asked, strict=True)
            assert not verify or all(record == segment.records[number] for record, number in pairs), "another record"
        for number in asked:
            record = get(number)
            assert record is None or not verify or record == segment.records[number], "another record"
    return num_answers + sum(prove(compiled, segment, files, number) for number in range(len(segment.bins)))


def prove(compiled: Any, segment: Segment, files: list[bytes], number: int) -> bool:
    """Have the frames of a bin proven; return whether some were, each of them as it was written."""
    num_records, num_bins, _, group = segment.shape
    stride = 16 + 4 * group if group > 1 else 16
    # The last group may hold fewer than a whole one.
    rows = range(number, min(num_records // group, len(files[0]) // stride), num_bins)
    entries = b"".join(files[0][stride * row : stride * row + 16] for row in rows)
    lengths = array("q")
    for row in rows:
        lengths.extend(array("I", files[0][stride * row + 16 : stride * (row + 1)]).tolist())
    begin = int.from_bytes(segment.index[stride * number :][:5], "little") * 8
    data = files[1 + number]
    about = min(begin, len(data)), begin, number, segment.salts[number], segment.alignment, group, 3, 5, 0
    found = compiled.prove(data[about[0] :], array("q", rows), entries, lengths, about)
    count, end = found[:2]
    assert count <= len(rows)
    if count and data[begin:end] != segment.bins[number][begin:end]:
        # Another key with its own hash, as chance has copied it here: that is what the sum of the keys is for.
        written = compiled.prove(segment.bins[number][begin:], array("q", rows[:count]), entries, lengths, about)
        assert found[:4] == written[:4], "other bytes"
        assert found[4] != written[4], "another key"
    return bool(count)


def check_written(compiled: Any, source: random.Random) -> None:
    """Write random records, in groups or not, and read them back."""
    count, group, alignment = source.randrange(1, 70), source.choice((1, 2, 8)), source.choice((8, 64, 512))
    records = [source.randbytes(source.choice((0, 1, 7, source.randrange(400)))) for _ in range(count)]
    keys = [source.randbytes(source.choice((0, 1, 9))) for _ in records] if source.random() < 0.5 else None
    num_bins, num_frames = source.choice((1, 3, 80)), -(-count // group)
    num_files = min(num_bins, num_frames)
    offset = -(-96 // alignment) * alignment - 32
    places = array("Q", [word for number in range(num_files) for word in (number, source.getrandbits(64), offset)])
    salts = places[1::3]
    keys = keys if group == 1 else None
    layout = 3 if group > 1 else 0, 0, alignment, group, source.randrange(7), 3, _MOST
    entries = bytearray(num_frames * (16 + 4 * group if group > 1 else 16))
    parts = compiled.frame(records, keys, layout, places, entries, bytearray(8 * sum(map(bool, keys or ()))))[0]
    frames = compiled.Frames(count, num_bins, num_files, group)
    frames.put(-1, memoryview(entries), 0)
    for number, part in enumerate(parts):
        frames.put(number, memoryview(bytes(offset) + part), salts[number] & 0xFFFFFFFF | 1)
    assert frames.records(list(range(count)), True, _MOST, _MOST) == records


def main() -> None:
    """Run; an error, or a sanitizer, ends the program with a code that is not 0."""
    path, segments_path, rounds, seed = sys.argv[1:]
    spec = importlib.util.spec_from_file_location("_speedups", path)
    assert spec is not None
    assert spec.loader is not None
    compiled = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(compiled)
    segments = list(map(Segment.of, json.loads(Path(segments_path).read_text())))
    source = random.Random(int(seed))
    for _ in range(int(rounds) // 50):
        check_written(compiled, source)
    num_answers = sum(check(compiled, source.choice(segments), source) for _ in range(int(rounds)))
    sys.stdout.write(f"{rounds} damaged segments, {num_answers} reads answered\n")


if __name__ == "__main__":
    main()
