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
    places = np.array([[0, 1, 96]], np.uint64)
    assert compiled.frame([b"a"], None, 0, 0, 8, places, 100) is not None
    assert compiled.frame([bytearray(b"a")], None, 0, 0, 8, places, 100) is None  # type: ignore[list-item]  # on purpose
    assert compiled.frame([b"a" * 200], None, 0, 0, 8, places, 100) is None
    assert compiled.frame([b"a"], [], 0, 0, 8, places, 100) is None
    assert compiled.frame([b"a"], [b"k" * 65536], 0, 0, 8, places, 100) is None
    assert compiled.frame([b"a"], None, 0, 0, 24, places, 100) is None
    assert compiled.frame([], None, 0, 0, 8, places, 100) is None
    assert compiled.frame([b"a"], None, 0, 0, 8, places[:0], 100) is None
    assert compiled.pack_groups([bytearray(b"a")], 2, 0) is None  # type: ignore[list-item]  # on purpose
    assert compiled.pack_groups([b"a" * (9 << 20)] * 2, 2, 0) is None
    assert compiled.pack_groups([b"a"], 0, 0) is None
    assert compiled.pack_groups([b"a"], 2, 7) is None
    with pytest.raises(TypeError):
        compiled.frame([b"a"], None, "x", 0, 8, places, 100)  # type: ignore[arg-type]  # on purpose
