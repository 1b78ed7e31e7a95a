"""The compiled framing: the same files, byte by byte, as Python alone writes.

records ─┬─ compiled ─> files ─┐
         └─ python ───> files ─┴─ equal, since `reproducible` leaves nothing to chance
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitdata import SplitDataLoader, SplitWriter, verify
from splitdata._compiled import speedups
from splitdata.dataset.segments import framing, group_buffer
from splitdata.format.index import ENTRY_DTYPE
from tests.dataset.record_kinds import GROUPED_KINDS, KINDS, RecordKind, tree_of
from tests.paths import PATHS, needs_compiled, take_path

pytestmark = needs_compiled

ALL_KINDS = [kind for kind in (*KINDS, *GROUPED_KINDS) if kind.name != "large"]
LAYOUTS: list[dict[str, Any]] = [
    {"bins": 1},
    {"bins": 7},
    {"bins": 3, "alignment": 512},
    {"bins": 2, "group": 8},
    {"bins": 2, "group": 8, "alignment": 64},
    {"bins": 40, "group": 2},
]


def files_of(path: Path) -> dict[str, bytes]:
    """Return the files of a dataset; of manifests without the time and what follows from it."""
    return {name: data for name, data in tree_of(path).items() if not name.startswith("manifest.")}


@pytest.mark.parametrize("kind", ALL_KINDS, ids=lambda kind: kind.name)
def test_every_kind_of_record_is_written_alike(kind: RecordKind, tmp_path: Path) -> None:
    found = {}
    for name in PATHS:
        with pytest.MonkeyPatch.context() as patch:
            take_path(patch, name)
            with SplitWriter(tmp_path / name, reproducible=True, durability="none", **kind.options) as writer:
                kind.write(writer, 0, len(kind.records))
        found[name] = files_of(tmp_path / name)

    assert found["compiled"] == found["python"]


@pytest.mark.parametrize("options", LAYOUTS, ids=str)
@pytest.mark.parametrize("has_keys", [False, True])
def test_every_layout_is_written_alike_in_several_commits(
    options: dict[str, Any], has_keys: bool, tmp_path: Path
) -> None:
    generator = np.random.default_rng(1)
    records = [generator.bytes(length) for length in generator.integers(0, 300, 130).tolist()]
    keys = [f"key {number}" * (number % 3) or None for number in range(130)] if has_keys else [None] * 130
    found = {}
    for name in PATHS:
        with pytest.MonkeyPatch.context() as patch:
            take_path(patch, name)
            with SplitWriter(tmp_path / name, reproducible=True, durability="none", **options) as writer:
                for start, stop in ((0, 1), (1, 20), (20, 128), (128, 130)):
                    writer.write_many(records[start:stop], keys=keys[start:stop])
                    writer.commit()
        found[name] = files_of(tmp_path / name)

    assert found["compiled"] == found["python"]
    assert verify(tmp_path / "compiled").is_intact
    with SplitDataLoader(tmp_path / "compiled") as reader:
        assert list(reader) == records


def test_usual_records_are_framed_by_the_compiled_path_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    take_path(monkeypatch, "compiled")

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("Python was asked")

    monkeypatch.setattr(framing, "pack_headers", refuse)
    monkeypatch.setattr(group_buffer, "pack_group", refuse)
    for group in (1, 4):
        with SplitWriter(tmp_path / f"{group}", group=group, bins=2, durability="none") as writer:
            writer.write_many([b"%d" % number for number in range(50)])


def test_what_is_not_usual_is_left_to_python() -> None:
    compiled = speedups()
    assert compiled is not None
    entries, hashes, key_hashes = np.empty(1, ENTRY_DTYPE), np.empty(1, np.uint64), np.empty(1, np.uint64)

    def framed(
        records: Any, keys: Any = None, kind: Any = 0, alignment: int = 8, bins: int = 1, rows: int = 1
    ) -> list[bytes] | None:
        places = np.array([[0, 1, 96]], np.uint64)[:bins]
        given = places, entries[:rows], hashes[:rows], key_hashes[: 0 if keys is None else rows]
        return compiled.frame(records, keys, kind, 0, alignment, 100, *given)

    assert framed([b"a"]) is not None
    assert framed([b"a"], [b"k"]) is not None
    assert framed([bytearray(b"a")]) is None
    assert framed([b"a" * 200]) is None
    assert framed([b"a"], []) is None
    assert framed([b"a"], [b"k" * 65536]) is None
    assert framed([b"a"], [b""]) is None  # more room for hashes of keys than there are keys
    assert framed([b"a"], alignment=24) is None
    assert framed([], rows=0) is None
    assert framed([b"a"], rows=0) is None
    assert framed([b"a"], bins=0) is None
    lengths = np.zeros((1, 2), np.int64)
    assert compiled.pack_groups([b"a"], 2, 0, lengths, hashes) is not None
    assert compiled.pack_groups([bytearray(b"a")], 2, 0, lengths, hashes) is None  # type: ignore[list-item]  # on purpose
    assert compiled.pack_groups([b"a" * (9 << 20)] * 2, 2, 0, lengths, np.empty(2, np.uint64)) is None
    assert compiled.pack_groups([b"a"], 0, 0, lengths, hashes) is None
    assert compiled.pack_groups([b"a"], 2, 7, lengths, hashes) is None
    assert compiled.pack_groups([b"a"], 2, 0, lengths, hashes[:0]) is None
    assert compiled.pack_groups([b"a"], 2, 0, lengths[:0], hashes) is None
    with pytest.raises(TypeError):
        framed([b"a"], kind="x")
