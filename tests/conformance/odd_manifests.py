"""Oddities of the manifest, and of what lies beside it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

from tests.conformance.case import Case
from tests.conformance.dataset_editor import DatasetEditor, manifest_of

__all__ = ["manifest_cases"]

_BROKEN: Final = "ManifestError"
_NEWER: Final = "UnsupportedVersionError"
_ONES: Final = "1" * 32


def _line(old: str, new: str) -> Callable[[DatasetEditor], object]:
    return lambda dataset: dataset.replace_in_line(old, new)


def _set(**fields: Any) -> Callable[[DatasetEditor], object]:
    return lambda dataset: dataset.change_manifest(lambda manifest: manifest.update(fields))


def _set_segment(number: int = 0, **fields: Any) -> Callable[[DatasetEditor], object]:
    return lambda dataset: dataset.change_manifest(lambda manifest: manifest["segments"][number].update(fields))


def _without(name: str) -> Callable[[DatasetEditor], object]:
    return lambda dataset: dataset.change_manifest(
        lambda manifest: (manifest if name in manifest else manifest["segments"][0]).pop(name)
    )


def _whole(change: Callable[[bytes], bytes]) -> Callable[[DatasetEditor], object]:
    def edit(dataset: DatasetEditor) -> None:
        file = dataset.files[dataset.manifest_name]
        file[:] = change(bytes(file))

    return edit


def _whole_line(change: Callable[[bytes], bytes]) -> Callable[[DatasetEditor], object]:
    return _whole(lambda data: manifest_of(change(data.partition(b"\n")[0])))


def _number(text: str) -> Callable[[DatasetEditor], object]:
    """Put a number among the metadata, as it is written."""
    return _line('"nested":', f'"number":{text},"nested":')


def manifest_cases() -> Iterator[Case]:
    """Yield all of them."""
    yield from _of_the_file()
    yield from _of_json()
    yield from _of_fields()
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
        yield Case(f"manifest-{name}", 5, what, _whole(change), opens=_BROKEN)
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
            opens=_BROKEN,
        )


def _of_json() -> Iterator[Case]:
    refused = {
        "key-twice": ("a key twice", '"generation":', '"generation":1,"generation":'),
        "key-twice-escaped": ("a key twice, once escaped", '"nested":', '"\\u006eested":1,"nested":'),
        "key-twice-in-segment": ("a key of a segment twice", '"bins":', '"bins":2,"bins":'),
        "key-twice-in-unknown": (
            "a key twice in an object of an unknown name",
            '"metadata":',
            '"later":{"a":1,"a":1},"metadata":',
        ),
        "trailing-comma": ("a comma behind the last value", '"segments":[', '"later":[1,],"segments":['),
        "leading-zero": ("an integer with a leading zero", '"bins":2', '"bins":02'),
        "comment": ("a comment", '"metadata":', '/**/"metadata":'),
        "control-character": ("a tab within a text", '"name":"plain"', '"name":"pl\tain"'),
        "two-values": ("two values in line 1", '{"format"', '{}{"format"'),
    }
    for name, (what, old, new) in refused.items():
        yield Case(f"json-{name}", 5, what, _line(old, new), opens=_BROKEN)
    for name, text in {
        "nan": "NaN",
        "infinity": "-Infinity",
        "1e400": "1e400",
        "two-to-63": str(2**63),
        "minus-two-to-63": str(-(2**63)),
        "twenty-digits": "1" * 20,
    }.items():
        yield Case(f"json-{name}", 5, f"a number of the metadata is {text}", _number(text), opens=_BROKEN)
    for name, text, value in (
        ("1e-400", "1e-400", 0.0),
        ("largest", str(2**63 - 1), None),
        ("least", str(1 - 2**63), None),
    ):
        # Integers beyond 2**53 are shown as text: many JSON parsers have no other numbers than floats.
        shown = {"number": text if value is None else value}
        yield Case(f"json-{name}", 5, f"a number of the metadata is {text}", _number(text), metadata=shown)
    yield Case("json-blanks", 5, "blanks and a tab between values", _line('"bins":2', '"bins" : \t2 '))
    yield Case(
        "json-escaped",
        5,
        "letters of a key and of a value escaped",
        _line('"format":"splitdata"', '"\\u0066ormat":"split\\u0064ata"'),
    )


def _of_fields() -> Iterator[Case]:
    for name in ("format", "version", "generation", "dataset", "must_understand", "metadata", "segments"):
        yield Case(f"manifest-without-{name}", 5, f"{name} is missing", _without(name), opens=_BROKEN)
    for name in ("id", "records", "bins", "sealed", "digest", "raw_bytes", "stored_bytes"):
        yield Case(f"segment-without-{name}", 5, f"{name} of a segment is missing", _without(name), opens=_BROKEN)
    tops: dict[str, Any] = {
        "format": "splitdatas",
        "generation": 2,
        "dataset": "A" * 32,
        "metadata": [],
        "segments": {},
        "must_understand": "none",
        "writer": 1,
        "time": None,
    }
    for name, value in tops.items():
        yield Case(f"manifest-wrong-{name}", 5, f"{name} is {json.dumps(value)}", _set(**{name: value}), opens=_BROKEN)
    yield Case(
        "manifest-short-dataset", 5, "the id of the dataset has 31 digits", _set(dataset="a" * 31), opens=_BROKEN
    )
    yield Case(
        "manifest-feature-number", 5, "a feature of the dataset is a number", _set(must_understand=[1]), opens=_BROKEN
    )
    values: list[tuple[str, Any]] = [
        ("id", "../" + "a" * 29),
        ("id", "A" * 32),
        ("id", "a" * 31),
        ("records", -1),
        ("records", True),
        ("records", "7"),
        ("records", 2**32 - 1),
        ("bins", 0),
        ("bins", 2**24 + 1),
        ("sealed", 1),
        ("digest", "1" + "f" * 15),
        ("digest", "0" * 15),
        ("digest", 0),
        ("raw_bytes", -1),
        ("stored_bytes", None),
        ("group", 3),
        ("group", 1),
        ("group", None),
        ("group", 131072),
        ("keys", 1),
        ("keys_bytes", 64),
        ("deleted", 1),
        ("deleted_hash", "0" * 16),
        ("must_understand", {}),
        ("must_understand", [["deleted"]]),
    ]
    for count, (name, value) in enumerate(values):
        what = f"{name} of a segment is {json.dumps(value)}"
        yield Case(
            f"segment-wrong-{name}-{count}".replace("_", "-"), 5, what, _set_segment(**{name: value}), opens=_BROKEN
        )
    for name, value in (("keys", 0), ("keys", 8)):
        what = f"keys of a segment is {value}"
        yield Case(f"segment-{value}-keys", 5, what, _set_segment(**{name: value}), base="keyed", opens=_BROKEN)
    for value in (0, 8):
        yield Case(
            f"segment-{value}-deleted",
            5,
            f"deleted of a segment is {value}",
            _set_segment(deleted=value),
            base="deleted",
            opens=_BROKEN,
        )
    for name, text in (("bins", "2.0"), ("bins", "2e0"), ("generation", "1.0")):
        what = f"{name} is {text}"
        old = '"bins":2' if name == "bins" else '"generation":1'
        yield Case(f"json-float-{name}-{text}", 5, what, _line(old, f'"{name}":{text}'), opens=_BROKEN)
    yield Case(
        "segment-twice",
        5,
        "two segments have one id",
        lambda dataset: dataset.change_manifest(lambda manifest: manifest["segments"].append(manifest["segments"][0])),
        opens=_BROKEN,
    )
    yield Case(
        "segment-not-an-object", 5, "a segment is null", _line('"segments":[{', '"segments":[null,{'), opens=_BROKEN
    )
    yield Case(
        "open-group-not-full",
        11,
        "an open segment with groups, the last of which is not full",
        _set_segment(sealed=False),
        base="grouped",
        opens=_BROKEN,
    )


def _of_versions() -> Iterator[Case]:
    for name, version in (("2-0", [2, 0]), ("0-2", [0, 2]), ("0-0", [0, 0])):
        yield Case(f"version-{name}", 15, f"the manifest is of version {version}", _set(version=version), opens=_NEWER)
    yield Case("version-1-7", 15, "the manifest is of a later minor", _set(version=[1, 7]))
    yield Case(
        "version-2-0-other-fields",
        15,
        "the manifest is of version 2.0, and all but its format is otherwise",
        lambda dataset: dataset.set_line('{"format":"splitdata","version":[2,0],"segments":3}'),
        opens=_NEWER,
    )
    yield Case(
        "version-2-0-other-format",
        15,
        "the manifest is of version 2.0 of another format",
        _set(version=[2, 0], format="other"),
        opens=_BROKEN,
    )
    for count, value in enumerate(([1], [1, 0, 0], ["1", "0"], "1.0", [1, None])):
        yield Case(
            f"version-no-pair-{count}", 5, f"the version is {json.dumps(value)}", _set(version=value), opens=_BROKEN
        )
    yield Case(
        "feature-of-dataset",
        15,
        "the dataset has the reserved feature pages",
        _set(must_understand=["pages"]),
        opens=_NEWER,
    )
    yield Case(
        "feature-of-dataset-unknown",
        15,
        "the dataset has a feature that nobody knows",
        _set(must_understand=["colours"]),
        opens=_NEWER,
    )
    unknown = {position: _NEWER for position in range(7)}
    for name in ("colours", "encryption", "hash"):
        yield Case(
            f"feature-of-segment-{name}",
            15,
            f"the first of four segments has the feature {name}",
            _set_segment(must_understand=[name]),
            base="several",
            records=unknown,
            keys=unknown,
        )
    yield Case(
        "unknown-names",
        5,
        "names of a later minor in the manifest and in a segment",
        lambda dataset: (_set(later={"a": [1]})(dataset), _set_segment(later=True)(dataset))[0],
    )


def _nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def _of_limits() -> Iterator[Case]:
    # The metadata themselves are the first level.
    yield Case(
        "depth-100",
        5,
        "the metadata are nested 100 deep",
        _line('"nested":', f'"deep":{_nested(99)},"nested":'),
        metadata={"deep": json.loads(_nested(99))},
    )
    yield Case(
        "depth-101",
        5,
        "the metadata are nested 101 deep",
        _line('"nested":', f'"deep":{_nested(100)},"nested":'),
        opens=_BROKEN,
    )
    yield Case(
        "depth-of-unknown",
        5,
        "an unknown name has arrays 100,000 deep",
        _repeated('"metadata":', [["[", 100_000], ["]", 100_000]]),
        opens=_BROKEN,
    )
    used = len('{"name":"plain","größe":7,"nested":{"list":[1,2.5,null,true]},"text":""}'.encode())
    limits: tuple[tuple[str, int, dict[str, Any]], ...] = (
        ("1-mib", 0, {"metadata_bytes": 1 << 20}),
        ("above-1-mib", 1, {"opens": _BROKEN}),
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
        opens=_BROKEN,
    )
    segments: tuple[tuple[int, dict[str, Any]], ...] = ((10_000, {"records": []}), (10_001, {"opens": _BROKEN}))
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
        _write_pieces(dataset, [head + f'"{name}":', *pieces, "," + old + rest])

    return edit


def _many_segments(count: int) -> Callable[[DatasetEditor], object]:
    def edit(dataset: DatasetEditor) -> None:
        line = dataset.files[dataset.manifest_name].partition(b"\n")[0].decode()
        head, old, rest = line.partition('"segments":[')
        segment = '{"id":"%ID%","records":0,"bins":1,"sealed":true,'
        segment += '"digest":"0000000000000000","raw_bytes":0,"stored_bytes":0}'
        _write_pieces(dataset, [head + old, [segment + ",", count - 1], segment.replace("%ID%", "f" * 32) + rest])

    return edit


def _write_pieces(dataset: DatasetEditor, pieces: list[Any]) -> None:
    name = dataset.manifest_name
    line = text_of(pieces).encode()
    whole = manifest_of(line)
    pieces = [*pieces, whole[len(line) :].decode()]
    dataset.others.append({"file": name, "text": pieces})


def text_of(pieces: list[Any]) -> str:
    """Return the text that an edit says by pieces: a text, or a text and how often it stands there."""
    parts = []
    for piece in pieces:
        text, times = (piece, 1) if isinstance(piece, str) else piece
        if "%ID%" in text:
            parts += [text.replace("%ID%", f"{number:032x}") for number in range(times)]
        else:
            parts.append(text * times)
    return "".join(parts)


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
        opens=_BROKEN,
    )
    yield Case(
        "generation-renamed",
        6,
        "the manifest has the name of another generation",
        lambda dataset: _renamed(dataset, "manifest.0000000002.json"),
        opens=_BROKEN,
    )
    yield Case(
        "generation-zero-beside",
        4,
        "a broken manifest of number 0 beside the right one",
        _new_file("manifest.0000000000.json"),
    )
    yield Case(
        "no-fallback", 6, "the newest manifest is damaged, the one before is intact", _damaged_newest, opens=_BROKEN
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
            opens="FormatError",
        )
    yield Case("manifest-lost", 6, "no manifest, but a segment with records", _remove_manifest, opens=_BROKEN)
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
