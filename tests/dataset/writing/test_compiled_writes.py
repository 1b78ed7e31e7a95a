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
from splitdata.dataset.segments import framing
from splitdata.dataset.segments.given_sizes import given_sizes
from splitdata.format.digest import digest_factor
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
    monkeypatch.setattr(framing, "pack_group", refuse)
    for group in (1, 4):
        with SplitWriter(tmp_path / f"{group}", group=group, bins=2, durability="none") as writer:
            writer.write_many([b"%d" % number for number in range(50)])


def test_what_is_not_usual_is_left_to_python() -> None:
    compiled = speedups()
    assert compiled is not None
    entries, key_hashes = np.empty(8, np.uint32), np.empty(1, np.uint64)

    def framed(
        records: Any,
        keys: Any = None,
        *,
        group: Any = 1,
        alignment: int = 8,
        log2: int = 0,
        bins: int = 1,
        words: int = 4,
    ) -> tuple[list[bytes], int, int, int, int] | None:
        places = np.array([[0, 1, 96]], np.uint64)[:bins]
        layout = 0, 0, alignment, group, log2, digest_factor(1), 100
        return compiled.frame(records, keys, layout, places, entries[:words], key_hashes[: 0 if keys is None else 1])

    assert framed([b"a"]) is not None
    assert framed([b"a"], [b"k"]) is not None
    assert framed([bytearray(b"a")]) is None
    assert framed([b"a" * 200]) is None
    assert framed([b"a"], []) is None
    assert framed([b"a"], [b"k" * 65536]) is None
    assert framed([b"a"], [b""]) is None  # more room for hashes of keys than there are keys
    assert framed([b"a"], alignment=24) is None
    assert framed([], words=0) is None
    assert framed([b"a"], words=0) is None
    assert framed([b"a"], bins=0) is None
    assert framed([b"a"], group=2, words=6) is not None
    assert framed([b"a"], [b"k"], group=2, words=6) is None
    assert framed([bytearray(b"a")], group=2, words=6) is None
    assert framed([b"a"], group=2, words=4) is None
    assert framed([b"a"], group=0) is None
    assert framed([b"a"], group=1 << 63) is None
    assert framed([b"a"], group=2, log2=7, words=6) is None
    with pytest.raises(TypeError):
        framed([b"a"], group="x")


def test_groups_of_16_mib_are_left_to_python() -> None:
    compiled = speedups()
    assert compiled is not None
    records, entries = [bytes(9 << 20)] * 2, np.empty(6, np.uint32)
    layout = 3, 0, 8, 2, 0, digest_factor(1), 1 << 40
    places = np.array([[0, 1, 96]], np.uint64)
    assert compiled.frame(records, None, layout, places, entries, np.empty(0, np.uint64)) is None
    assert compiled.frame(records[:1], None, layout, places, entries, np.empty(0, np.uint64)) is not None


@pytest.mark.parametrize("path", PATHS)
def test_sizes_are_those_of_bytes_alone(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    take_path(monkeypatch, path)
    assert given_sizes([]) == (0, 0)
    assert given_sizes([b"abc", b"", b"ab"]) == given_sizes((b"abc", b"", b"ab")) == (5, 3)
    assert given_sizes([b"abc", bytearray(b"ab")]) is None
    assert given_sizes(["abc"]) is None
