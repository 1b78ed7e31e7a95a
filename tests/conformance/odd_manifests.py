"""Oddities of the file of a manifest, its version and its limits, and of what lies beside it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

from tests.conformance.case import CORRUPT, CUT, FORMAT, MANIFEST, NEWER, Case, hash_of
from tests.conformance.dataset_editor import DatasetEditor, manifest_of, text_of
from tests.conformance.golden_datasets import PLAIN
from tests.conformance.odd_fields import replaced, set_fields, set_segment_fields

__all__ = ["lost_manifest_cases", "manifest_cases", "write_pieces"]

_PLAIN: Final = [hash_of(record) for record in PLAIN]
_FINGERPRINT: Final = "7-09104eee9e3bb6a2"


def _whole(change: Callable[[bytes], bytes]) -> Callable[[DatasetEditor], object]:
    def edit(dataset: DatasetEditor) -> None:
        file = dataset.files[dataset.manifest_name]
        file[:] = change(bytes(file))

    return edit


def _whole_line(change: Callable[[bytes], bytes]) -> Callable[[DatasetEditor], object]:
    return _whole(lambda data: manifest_of(change(data.partition(b"\n")[0])))


def manifest_cases() -> Iterator[Case]:
    """Yield all of them."""
    yield from _of_the_file()
    yield from _of_versions()
    yield from _of_limits()
    yield from _of_the_folder()


def _of_the_file() -> Iterator[Case]:
    wrong: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
        "no-last-newline": ("the second line has no line end", lambda data: data[:-1]),
        "bytes-behind": ("a third line follows", lambda data: data + b"\n"),
        "carriage-returns": ("lines end with CR LF", lambda data: data.replace(b"\n", b"\r\n")),
        "upper-case-hash": (
            "the hash has upper-case digits",
            lambda data: data[:-20] + data[-20:-3].upper() + data[-3:],
        ),
        "wrong-hash": (
            "the hash is another one",
            lambda data: data[:-4] + (b"0" if data[-4:-3] != b"0" else b"1") + data[-3:],
        ),
        "blank-in-second-line": ("the second line has a blank", lambda data: data.replace(b'"xxh3":"', b'"xxh3": "')),
        "one-line": ("the second line is missing", lambda data: data.partition(b"\n")[0] + b"\n"),
        "empty-file": ("the manifest has no byte", lambda _: b""),
    }
    for name, (what, change) in wrong.items():
        yield Case(f"manifest-{name}", 5, what, _whole(change), opens=MANIFEST)
    lines: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
        "byte-order-mark": ("line 1 begins with a byte order mark", lambda line: b"\xef\xbb\xbf" + line),
        "not-utf-8": ("a text of the metadata is Latin-1", lambda line: line.replace(b"plain", b"pl\xe4in")),
        "utf-16": ("line 1 is UTF-16", lambda line: line.decode().encode("utf-16-le").replace(b"\n", b"")),
        "nothing-in-it": ("line 1 is empty", lambda _: b""),
        "array": ("line 1 is an array", lambda line: b"[" + line + b"]"),
    }
    for name, (what, change) in lines.items():
        yield Case(
            f"manifest-{name}",
            5,
            what,
            _whole_line(change),
            opens=MANIFEST,
        )


def _of_versions() -> Iterator[Case]:
    for name, version in (("2-0", [2, 0]), ("0-2", [0, 2]), ("0-0", [0, 0])):
        yield Case(
            f"version-{name}", 15, f"the manifest is of version {version}", set_fields(version=version), opens=NEWER
        )
    yield Case("version-1-7", 15, "the manifest is of a later minor", set_fields(version=[1, 7]))
    yield Case(
        "version-2-0-other-fields",
        15,
        "the manifest is of version 2.0, and all but its format is otherwise",
        lambda dataset: dataset.set_line('{"format":"splitdata","version":[2,0],"segments":3}'),
        opens=NEWER,
    )
    yield Case(
        "version-2-0-other-format",
        15,
        "the manifest is of version 2.0 of another format",
        set_fields(version=[2, 0], format="other"),
        opens=MANIFEST,
    )
    for count, value in enumerate(([1], [1, 0, 0], ["1", "0"], "1.0", [1, None], [1, -1], [1, 1 << 16])):
        yield Case(
            f"version-no-pair-{count}",
            5,
            f"the version is {json.dumps(value)}",
            set_fields(version=value),
            opens=MANIFEST,
        )
    yield Case(
        "feature-of-dataset",
        15,
        "the dataset has the reserved feature pages",
        set_fields(must_understand=["pages"]),
        opens=NEWER,
    )
    yield Case(
        "feature-of-dataset-unknown",
        15,
        "the dataset has a feature that nobody knows",
        set_fields(must_understand=["colours"]),
        opens=NEWER,
    )
    yield Case(
        "feature-of-dataset-groups",
        15,
        "the dataset has a feature that only segments have",
        set_fields(must_understand=["groups"]),
        opens=NEWER,
    )
    unknown = {position: NEWER for position in range(7)}
    for name in ("colours", "encryption", "hash"):
        yield Case(
            f"feature-of-segment-{name}",
            15,
            f"the first of four segments has the feature {name}",
            set_segment_fields(must_understand=[name]),
            base="several",
            records=unknown,
            keys=unknown,
            find={"not there": NEWER},
        )
    yield Case(
        "unknown-names",
        5,
        "names of a later minor in the manifest and in a segment",
        lambda dataset: (set_fields(later={"a": [1]})(dataset), set_segment_fields(later=True)(dataset))[0],
    )


def _nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def _of_limits() -> Iterator[Case]:
    # The metadata themselves are the first level.
    yield Case(
        "depth-100",
        5,
        "the metadata are nested 100 deep",
        replaced('"nested":', f'"deep":{_nested(99)},"nested":'),
        metadata={"deep": json.loads(_nested(99))},
    )
    yield Case(
        "depth-101",
        5,
        "the metadata are nested 101 deep",
        replaced('"nested":', f'"deep":{_nested(100)},"nested":'),
        opens=MANIFEST,
    )
    yield Case(
        "depth-100-of-unknown",
        5,
        "an unknown name has arrays 100 deep, and a number in the last",
        replaced('"metadata":', f'"later":{"[" * 100}7{"]" * 100},"metadata":'),
    )
    yield Case(
        "depth-101-of-unknown",
        5,
        "an unknown name has arrays 101 deep",
        replaced('"metadata":', f'"later":{_nested(101)},"metadata":'),
        opens=MANIFEST,
    )
    yield Case(
        "depth-of-unknown",
        5,
        "an unknown name has arrays 100,000 deep",
        _repeated('"metadata":', [["[", 100_000], ["]", 100_000]]),
        opens=MANIFEST,
    )
    used = len('{"name":"plain","größe":7,"nested":{"list":[1,2.5,null,true]},"text":""}'.encode())
    limits: tuple[tuple[str, int, dict[str, Any]], ...] = (
        ("1-mib", 0, {"metadata_bytes": 1 << 20}),
        ("above-1-mib", 1, {"opens": MANIFEST}),
    )
    for name, more, fields in limits:
        length = (1 << 20) - used + more
        edit = _repeated('"nested":', [['"', 1], ["a", length], ['"', 1]], name="text")
        yield Case(f"metadata-{name}", 4, f"the metadata have {(1 << 20) + more:,} bytes", edit, **fields)
    yield Case(
        "manifest-above-16-mib",
        4,
        "the manifest is longer than a reader may take",
        _repeated('"metadata":', [['"', 1], ["a", 16 << 20], ['"', 1]]),
        opens=MANIFEST,
    )
    # Whether a segment without records needs an index, the format leaves open.
    segments: tuple[tuple[int, dict[str, Any]], ...] = (
        (10_000, {"intact": None}),
        (10_001, {"opens": MANIFEST}),
    )
    for count, fields in segments:
        yield Case(
            f"segments-{count}",
            4,
            f"the manifest lists {count:,} segments, without records",
            _many_segments(count),
            base="nothing",
            **fields,
        )


def _repeated(before: str, pieces: list[list[Any]], name: str = "later") -> Callable[[DatasetEditor], object]:
    """Put a long value into the manifest; the edit says it by pieces."""

    def edit(dataset: DatasetEditor) -> None:
        line = dataset.files[dataset.manifest_name].partition(b"\n")[0].decode()
        head, old, rest = line.partition(before)
        write_pieces(dataset, [head + f'"{name}":', *pieces, "," + old + rest])

    return edit


def _many_segments(count: int) -> Callable[[DatasetEditor], object]:
    def edit(dataset: DatasetEditor) -> None:
        line = dataset.files[dataset.manifest_name].partition(b"\n")[0].decode()
        head, old, rest = line.partition('"segments":[')
        segment = '{"id":"%ID%","records":0,"bins":1,"sealed":true,'
        segment += '"digest":"0000000000000000","raw_bytes":0,"stored_bytes":0}'
        write_pieces(dataset, [head + old, [segment + ",", count - 1], segment.replace("%ID%", "f" * 32) + rest])

    return edit


def write_pieces(dataset: DatasetEditor, pieces: list[Any]) -> None:
    """Give the newest manifest a first line that its edit says by pieces."""
    name = dataset.manifest_name
    line = text_of(pieces).encode()
    whole = manifest_of(line)
    pieces = [*pieces, whole[len(line) :].decode()]
    dataset.others.append({"file": name, "text": pieces})


def _of_the_folder() -> Iterator[Case]:
    ignored = (
        "manifest.1.json",
        "manifest.00000000042.json",
        "manifest.0000000042.json.tmp",
        "manifest.0000000042.0001.json",
        "CURRENT",
        "Manifest.0000000042.json",
        "manifest.+000000042.json",
        "segments/index",
    )
    for number, name in enumerate(ignored):
        yield Case(f"ignored-name-{number}", 4, f"a file with the name {name}", _new_file(name))
    yield Case(
        "ignored-name-arabic",
        4,
        "digits in a manifest's name that are not ASCII",
        _new_file("manifest.000000004\u0662.json"),
    )
    yield Case(
        "generation-zero",
        4,
        "the only manifest has the number 0",
        lambda dataset: _renamed(dataset, "manifest.0000000000.json"),
        opens=MANIFEST,
    )
    yield Case(
        "generation-renamed",
        6,
        "the manifest has the name of another generation",
        lambda dataset: _renamed(dataset, "manifest.0000000002.json"),
        opens=MANIFEST,
    )
    yield Case(
        "generation-zero-beside",
        4,
        "a broken manifest of number 0 beside the right one",
        _new_file("manifest.0000000000.json"),
    )
    yield Case(
        "no-fallback", 6, "the newest manifest is damaged, the one before is intact", _damaged_newest, opens=MANIFEST
    )
    for kind, edit in (
        ("link", {"link": "manifest.0000000001.json"}),
        ("folder", {"folder": True}),
        ("fifo", {"fifo": True}),
    ):
        yield Case(
            f"manifest-is-{kind}",
            4,
            f"what has the name of the newest manifest is a {kind}",
            _other("manifest.0000000002.json", **edit),
            opens=FORMAT,
        )
    yield Case(
        "more-records",
        7,
        "a sealed segment counts two records more than it has",
        set_segment_fields(records=9),
        records=[*_PLAIN, [CORRUPT, CUT], [CORRUPT, CUT]],
        fingerprint=_FINGERPRINT.replace("7-", "9-"),
    )
    yield Case(
        "fewer-records",
        7,
        "a sealed segment counts two records less than it has",
        set_segment_fields(records=5),
        records=[*_PLAIN[:5]],
        fingerprint=_FINGERPRINT.replace("7-", "5-"),
    )
    yield Case("manifest-lost", 6, "no manifest, but a segment with records", _remove_manifest, opens=MANIFEST)
    yield Case(
        "never-committed",
        6,
        "no manifest, and a segment that awaits its first commit",
        _uncommitted,
        opens="DatasetNotFoundError",
    )
    yield Case(
        "manifest-only-lost",
        6,
        "no manifest, and no segment",
        _remove_manifest,
        base="nothing",
        opens="DatasetNotFoundError",
    )


def lost_manifest_cases() -> Iterator[Case]:
    """Yield what a reader says without a manifest, by what the index of the only segment says."""
    none = "DatasetNotFoundError"
    headers: tuple[tuple[str, str, int, bytes, bool, str], ...] = (
        ("other-segment", "is of another segment", 16, b"\xaa" * 16, True, MANIFEST),
        ("version-2", "is of version 2.0", 8, b"\2\0\0\0", True, none),
        ("feature", "has a feature that nobody knows", 32, b"\x80", True, none),
        ("no-records", "counts no records", 40, bytes(8), True, none),
        ("many-records", "counts more records than a segment may have", 40, b"\xff" * 8, True, none),
        ("damaged", "is not intact", 40, b"\1", False, none),
    )
    for name, what, offset, data, intact, error in headers:

        def edit(dataset: DatasetEditor, change: Any = (offset, data, intact)) -> None:
            dataset.segment().set_header("index", change[0], change[1], intact=change[2])
            _remove_manifest(dataset)

        yield Case(f"manifest-lost-{name}", 6, f"no manifest, and the index header {what}", edit, opens=error)
    links: tuple[tuple[str, str, str], ...] = (
        ("index", "the index", none),
        ("segment", "the folder of the segment", none),
        ("segments", "the folder of segments", FORMAT),
    )
    for name, what, error in links:

        def move(dataset: DatasetEditor, name: str = name) -> None:
            segment = dataset.segment()
            path = {"index": segment.path("index"), "segment": segment.path("")[:-1], "segments": "segments"}[name]
            target = "../" * path.count("/") + "elsewhere"
            _remove_manifest(dataset)
            dataset.others += [{"file": path, "rename": "elsewhere"}, {"file": path, "link": target}]

        yield Case(f"manifest-lost-{name}-is-link", 6, f"no manifest, and {what} is a link to it", move, opens=error)


def _new_file(name: str) -> Callable[[DatasetEditor], object]:
    return lambda dataset: dataset.files.update({name: bytearray(b"{}\n")})


def _other(name: str, **edit: Any) -> Callable[[DatasetEditor], object]:
    return lambda dataset: dataset.others.append({"file": name, **edit})


def _renamed(dataset: DatasetEditor, name: str) -> None:
    dataset.files[name] = dataset.files.pop(dataset.manifest_name)


def _damaged_newest(dataset: DatasetEditor) -> None:
    data = bytearray(dataset.files[dataset.manifest_name].replace(b'"generation":1', b'"generation":2'))
    dataset.files["manifest.0000000002.json"] = data


def _remove_manifest(dataset: DatasetEditor) -> None:
    del dataset.files[dataset.manifest_name]


def _uncommitted(dataset: DatasetEditor) -> None:
    dataset.segment().set_header("index", 62, b"\1")
    _remove_manifest(dataset)
