"""The kinds of records that are deleted here: those of all tests, and groups."""

from __future__ import annotations

from tests.dataset.record_kinds import KINDS, RecordKind

_MANY = tuple(b"small record %d" % number for number in range(100))

GROUPED = tuple(kind for kind in KINDS if "group" in kind.options) or (
    RecordKind("grouped", _MANY, options={"group": 16}),
    RecordKind("grouped_keyed_zstd", _MANY, has_keys=True, options={"group": 32, "compression": "zstd"}),
)
ALL_KINDS = (*KINDS, *(kind for kind in GROUPED if kind not in KINDS))
SMALL_KINDS = tuple(kind for kind in ALL_KINDS if kind.name != "large")
