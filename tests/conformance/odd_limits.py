"""Oddities at the limits of a manifest and of what it lists: as much as there may be, and a little more."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

from tests.conformance.case import CORRUPT, FORMAT, MANIFEST, TOO_LARGE, Case, hash_of, in_segment
from tests.conformance.dataset_editor import DatasetEditor
from tests.conformance.odd_fields import replaced
from tests.conformance.odd_large import replace_large
from tests.conformance.odd_manifests import write_pieces
from tests.conformance.odd_samples import bound_to_new, sample_case
from tests.conformance.odd_zstd import zstd_frame
from tests.conformance.sample_bytes import NONE, dictionary, optional, parts, u64

__all__ = ["limit_cases"]

_MIB: Final = 1 << 20
_MOST_SCHEMAS: Final = 4096
_MOST_OF_SEGMENT: Final = 1024
_MOST_NODES: Final = 65536
_MOST_WINDOW: Final = 1 << 27


def limit_cases() -> Iterator[Case]:
    """Yield all of them."""
    yield from _of_metadata()
    yield from _of_schemas()
    yield from _of_a_schema()
    yield from _of_windows()
    yield from _of_names()


def _of_metadata() -> Iterator[Case]:
    # Each as it stands in the manifest, and the bytes that the limit counts for it.
    spellings: dict[str, tuple[str, str, int]] = {
        "control": (
            "control characters, with and without short escapes",
            '"\\u0001\\u000a\\n\\u001f"',
            2 + 6 + 2 + 2 + 6,
        ),
        "escapes": ("escapes that need not be", '"\\/\\u0061\\u007f\\u00e4\\ud83d\\ude00"', 2 + 1 + 1 + 1 + 2 + 4),
        "surrogates": ("halves of surrogate pairs", '"\\ud800x\\udc00"', 2 + 3 + 1 + 3),
        "numbers": ("numbers that could be shorter", "[1.500e+01,-0,0.10E1,100]", 25),
        "blanks": ("blanks between values", "[ 1 ,\t2 ]", 5),
    }
    used = len('{"name":"plain","größe":7,"nested":{"list":[1,2.5,null,true]},"odd":,"text":""}'.encode())
    for name, (what, text, counted) in spellings.items():
        for more, ending in ((0, ""), (1, "-beyond")):
            length = _MIB - used - counted + more
            yield Case(
                f"metadata-of-{name}{ending}",
                5,
                f"the metadata have {_MIB + more:,} bytes, with {what}",
                _with_metadata(f'"odd":{text},"text":"', ["a", length], '",'),
                **({"opens": MANIFEST} if more else {"metadata": None}),
            )


def _with_metadata(head: str, piece: list[Any], tail: str) -> Callable[[DatasetEditor], object]:
    def edit(dataset: DatasetEditor) -> None:
        line = dataset.files[dataset.manifest_name].partition(b"\n")[0].decode()
        before, old, rest = line.partition('"nested":')
        write_pieces(dataset, [before + head, piece, tail + old + rest])

    return edit


def _of_schemas() -> Iterator[Case]:
    # Thirty-two digits are 24 bytes in base64.
    for count in (_MOST_SCHEMAS, _MOST_SCHEMAS + 1):
        yield Case(
            f"schemas-{count}",
            4,
            f"the manifest has {count:,} schemas, which no segment lists",
            _with_schemas([['"%ID%",', count - 1], '"' + "f" * 32 + '"']),
            opens=True if count == _MOST_SCHEMAS else MANIFEST,
        )
    # Four of a MiB each, which differ in their last byte.
    most = [piece for last in ("AA", "AQ", "Ag", "Aw") for piece in ('"', ["A", 4 * (_MIB // 3)], f'{last}==",')]
    ends: tuple[tuple[str, str, str | bool], ...] = (
        ("4-mib", 'Aw=="', True),
        ("above-4-mib", 'Aw==","EA=="', MANIFEST),
    )
    for name, end, opens in ends:
        yield Case(
            f"schemas-of-{name}",
            4,
            f"the schemas of the manifest have {4 * _MIB + (name[0] == 'a'):,} bytes together",
            _with_schemas([*most[:-1], end]),
            opens=opens,
        )
    for count in (_MOST_OF_SEGMENT, _MOST_OF_SEGMENT + 1):
        yield Case(
            f"segment-schemas-{count}",
            4,
            f"a segment lists {count:,} schemas",
            _many_of_segment(count),
            base="samples",
            **({"intact": False, "fingerprint": None} if count == _MOST_OF_SEGMENT else {"opens": MANIFEST}),
        )


def _with_schemas(pieces: list[Any]) -> Callable[[DatasetEditor], object]:
    """Put schemas into a manifest that has none."""

    def edit(dataset: DatasetEditor) -> None:
        line = dataset.files[dataset.manifest_name].partition(b"\n")[0].decode()
        before, old, rest = line.partition('"segments":')
        write_pieces(dataset, [before + '"schemas":[', *pieces, "]," + old + rest])

    return edit


def _many_of_segment(count: int) -> Callable[[DatasetEditor], object]:
    def edit(dataset: DatasetEditor) -> None:
        manifest = dataset.manifest
        own = manifest["segments"][0]["schemas"]
        manifest["segments"][0]["schemas"] = list(range(count))
        line = json.dumps(manifest, separators=(",", ":"))
        write_pieces(dataset, [*_behind(line, len(own), count)])

    return edit


def _behind(line: str, num_own: int, count: int) -> Iterator[Any]:
    """Yield a line with more schemas behind those of the manifest."""
    place = line.index('],"segments":')
    yield line[:place]
    yield [',"%ID%"', count - num_own]
    yield line[place:]


def _of_a_schema() -> Iterator[Case]:
    # A part that is absent is not shown, and its schema counts.
    for count in (_MOST_NODES, _MOST_NODES + 1):
        right = count == _MOST_NODES
        yield sample_case(
            f"bound-nodes-{count}",
            f"it is bound to a schema of {count:,} nodes, all of them absent",
            optional(parts(16, *[NONE] * (count - 2))),
            bound_to_new(scalars=[u64(0)]),
            None if right else FORMAT,
        )
    used = len(optional(dictionary(("", NONE))))
    for length in (_MIB, _MIB + 1):
        right = length == _MIB
        yield sample_case(
            f"bound-schema-{length}",
            f"it is bound to a schema of {length:,} bytes, all of it absent",
            optional(dictionary(("\0" * (length - used), NONE))),
            bound_to_new(scalars=[u64(0)]),
            None if right else FORMAT,
        )


def _of_windows() -> Iterator[Case]:
    length = _MOST_WINDOW + (1 << 17)
    record = b"a" * length
    yield Case(
        "zstd-window-of-content",
        10,
        "a large record whose window is its content size, above 128 MiB",
        in_segment(lambda segment: replace_large(segment, zstd_frame(b"a", length), raw=length, codec=1)),
        base="large-zstd",
        records={1: [hash_of(record), TOO_LARGE]},
        intact=False,
    )
    small = (1 << 24) + 1
    yield Case(
        "zstd-window-above-content",
        10,
        "a large record with a window of 256 MiB, which is above its content size",
        in_segment(lambda segment: replace_large(segment, zstd_frame(b"a", small, window=28), raw=small, codec=1)),
        base="large-zstd",
        records={1: CORRUPT},
    )


def _of_names() -> Iterator[Case]:
    for depth in (100, 101):
        yield Case(
            f"depth-{depth}-of-unknown-in-segment",
            5,
            f"an unknown name of a segment has arrays {depth} deep",
            replaced('"bins":', f'"later":{"[" * depth}{"]" * depth},"bins":'),
            opens=True if depth == 100 else MANIFEST,
        )
