"""Verifying by the compiled path: the same findings as Python alone has, whatever is damaged.

dataset ─┬─ compiled ─> report ─┐
         └─ python ───> report ─┴─ equal
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitdata import SplitWriter, VerifyReport, delete, verify
from splitdata._compiled import speedups
from splitdata.dataset.verify.frame_run import FrameProver
from splitdata.format import spec
from splitdata.format.checksum import hash64
from splitdata.format.digest import digest_factor, digest_of_hashes
from splitdata.format.index import ENTRY_DTYPE
from tests.dataset.record_kinds import GROUPED_KINDS, KINDS, RecordKind, segments_of
from tests.paths import PATHS, needs_compiled, take_path

pytestmark = needs_compiled

KEYED_GROUPS = RecordKind(
    "keyed_groups", KINDS[0].records, has_keys=True, options={"group": 8, "alignment": 64, "metadata": {"who": "me"}}
)
# Hundreds of records with a dictionary take long, and Python proves all of them.
ALL_KINDS = [
    kind for kind in (*KINDS, *GROUPED_KINDS, KEYED_GROUPS) if len(kind.records) <= 80 and kind.name != "large"
]
# Of which Python proves no frame, but for a group that is not full.
FAST_KINDS = [KINDS[0], KINDS[1], KINDS[4], KINDS[8], GROUPED_KINDS[0], KEYED_GROUPS]


def reports(path: Path) -> VerifyReport:
    """Return the report of the compiled path, which must be that of Python."""
    found = {}
    for name in PATHS:
        with pytest.MonkeyPatch.context() as patch:
            take_path(patch, name)
            found[name] = verify(path, num_workers=1)
    assert found["compiled"] == found["python"]
    return found["compiled"]


def damages(data: bytes, source: random.Random) -> Iterator[bytes]:
    """Yield a file with some damage: bits, words, cut off."""
    for place in sorted(source.sample(range(spec.BIN_HEADER_BYTES, len(data)), 18)):
        changed = bytearray(data)
        changed[place] ^= 1 << source.randrange(8)
        yield bytes(changed)
    for place in source.sample(range(spec.BIN_HEADER_BYTES, len(data) - 8, 8), 3):
        yield data[:place] + source.choice((bytes(8), b"\xff" * 8, data[64:72])) + data[place + 8 :]
    for place in source.sample(range(spec.BIN_HEADER_BYTES, len(data)), 2):
        yield data[:place]
    yield data + bytes(8)


@pytest.mark.parametrize("kind", ALL_KINDS, ids=lambda kind: kind.name)
def test_every_damage_has_the_findings_that_python_has(kind: RecordKind, tmp_path: Path) -> None:
    kind.write_sealed(tmp_path / "d")
    assert reports(tmp_path / "d").is_intact
    ((_, paths),) = segments_of(tmp_path / "d")
    num_found = 0
    for file in (Path(paths.bin(0)), Path(paths.index)):
        original = file.read_bytes()
        for changed in damages(original, random.Random(len(original))):
            file.write_bytes(changed)
            num_found += not reports(tmp_path / "d").is_intact
        file.write_bytes(original)
    assert num_found > 40


@pytest.mark.parametrize("kind", FAST_KINDS, ids=lambda kind: kind.name)
def test_usual_frames_are_proven_by_the_compiled_path_alone(
    kind: RecordKind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind.write_sealed(tmp_path / "d")
    take_path(monkeypatch, "compiled")

    def refuse(*_: Any) -> None:
        raise AssertionError("Python was asked")

    monkeypatch.setattr(FrameProver, "all", refuse)
    assert verify(tmp_path / "d").is_intact


@pytest.mark.parametrize("group", [1, 4])
def test_deleted_records_and_frames_longer_than_a_piece_are_verified_alike(group: int, tmp_path: Path) -> None:
    records = [b"%d" % number * (number % 7) for number in range(60)]
    records[17] = bytes(1 << 19)
    records[41] = bytes(spec.LARGE_RECORD_BYTES) if group == 1 else bytes(100)
    with SplitWriter(tmp_path / "d", group=group, bins=3, durability="none") as writer:
        writer.write_many(records, keys=[f"κ {number}" if number % 2 else None for number in range(60)])
    assert reports(tmp_path / "d").is_intact
    delete(tmp_path / "d", positions=[3, 40, 59])

    assert reports(tmp_path / "d").is_intact


def proven(keys: list[bytes]) -> tuple[int, ...]:
    """Frame records of no bytes with keys, and have them proven."""
    compiled = speedups()
    assert compiled is not None
    count, salt = len(keys), 0x0123456789ABCDEF
    entries, key_hashes = np.empty(4 * count, np.uint32), np.empty(count, np.uint64)
    place = np.array([[0, salt, 96]], np.uint64)
    layout = 0, 0, 8, 1, 0, digest_factor(1), 1
    framed = compiled.frame([b""] * count, keys, layout, place, entries, key_hashes)
    assert framed is not None
    (part,), digest = framed[:2]
    frames, about = np.arange(count), (96, 96, 0, salt, 8, 1, digest_factor(1), digest_factor(1), 0)
    found = compiled.prove(part, frames, entries.view(ENTRY_DTYPE), frames[:0], about)
    if found[0] == count:
        assert found[1] == place[0, 2]
        assert found[2] == digest
        assert digest % (2**61 - 1) == digest_of_hashes(np.full(count, hash64(b""), np.uint64))
        assert found[3] == count
    return found


# Where the encoding of a text has its borders.
BORDERS = bytes.fromhex("00 61 7f 80 8f 90 9f a0 bf c0 c1 c2 df e0 e1 ec ed ee ef f0 f1 f3 f4 f5 ff")


def test_keys_are_text_where_python_decodes_them() -> None:
    tails = [bytes(tail) for length in (1, 2, 3) for tail in product(BORDERS, repeat=length)]
    tails += [bytes(tail) for tail in product(b"\xef\xf0\xf1\xf4\xf5", BORDERS, b"\x7f\x80\xbf\xc0", b"\x7f\x80\xbf")]
    texts = []
    for number, tail in enumerate(tails):
        key = b"abcdefgh"[: number % 9] + tail
        try:
            key.decode()
        except UnicodeDecodeError:
            if number % 5 == 0:
                assert proven([b"before", key])[0] == 1, key
        else:
            texts.append(key)
    assert proven(texts)[0] == len(texts) > 300


def test_what_a_run_says_that_cannot_be_proves_nothing() -> None:
    compiled = speedups()
    assert compiled is not None
    entries, frames, lengths = np.zeros(1, ENTRY_DTYPE), np.zeros(1, np.int64), np.zeros(1, np.int64)
    usual = [96, 96, 0, 1, 8, 1, 1, 1, 0]
    most = (1 << 64) - 1

    def count_of(
        data: bytes = bytes(64), entries: Any = entries, lengths: Any = lengths, changed: tuple[int, int] = (0, 96)
    ) -> int:
        about = [changed[1] if number == changed[0] else word for number, word in enumerate(usual)]
        return compiled.prove(data, frames, entries, lengths, tuple(about))[0]

    assert count_of() == 0
    for number in range(6):
        for word in (0, 1, 95, 97, 161, 1 << 24, 1 << 32, 1 << 63, most - 31, most):
            assert count_of(changed=(number, word)) == 0
    assert count_of(b"") == 0
    assert count_of(entries=entries[:0]) == 0
    assert count_of(lengths=lengths[:0], changed=(5, 2)) == 0
    with pytest.raises(TypeError):
        compiled.prove(b"", frames, entries, lengths, (1, 2))
