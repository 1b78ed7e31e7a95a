"""The newest manifest of a dataset, with everything refused that FORMAT.md does not allow."""

import base64
import json
import re
from pathlib import Path
from typing import Any

from stdlib_reader.files import Refusal, check_header, demand, open_file, refuse
from stdlib_reader.xxh3 import xxh3

HALF, WORD, MAX_MANIFEST_BYTES = (1 << 32) - 1, (1 << 64) - 1, 1 << 24


def integer(least: int, most: int) -> Any:
    return lambda value: type(value) is int and least <= value <= most


def text(pattern: str) -> Any:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value, re.DOTALL)


def texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


FIELDS: dict[str, Any] = {
    "format": text("splitdata"),
    "generation": integer(1, 9_999_999_999),
    "dataset": text("[0-9a-f]{32}"),
    "must_understand": texts,
    "metadata": lambda value: isinstance(value, dict),
    "segments": lambda value: isinstance(value, list) and len(value) <= 10_000,
}
OPTIONAL: dict[str, Any] = {
    "writer": text(".{0,200}"),
    "time": text(".{0,200}"),
    "schemas": lambda value: texts(value) and len({*value}) == len(value) <= 4096,
    "schema": integer(0, 4095),
}
SEGMENT_FIELDS: dict[str, Any] = {
    "id": text("[0-9a-f]{32}"),
    "records": integer(0, HALF - 1),
    "bins": integer(1, 1 << 24),
    "sealed": lambda value: isinstance(value, bool),
    "digest": lambda value: text("[0-9a-f]{16}")(value) and int(value, 16) < (1 << 61) - 1,
    "raw_bytes": integer(0, WORD >> 1),
    "stored_bytes": integer(0, WORD >> 1),
}
SEGMENT_OPTIONAL: dict[str, Any] = {
    "group": lambda value: value in [1 << n for n in range(1, 17)] and type(value) is int,
    "keys": integer(1, HALF - 1),
    "keys_bytes": integer(0, WORD >> 1),
    "deleted": integer(1, HALF - 1),
    "deleted_hash": text("[0-9a-f]{16}"),
    "schemas": lambda value: isinstance(value, list) and len(value) <= 1024,
    "must_understand": texts,
}


def check_fields(value: Any, required: dict[str, Any], optional: dict[str, Any]) -> None:
    demand(isinstance(value, dict) and required.keys() <= value.keys(), "ManifestError", "a field is missing")
    for name, is_right in (required | optional).items():
        demand(name not in value or bool(is_right(value[name])), "ManifestError", f"{name} is {value.get(name)!r:.99}")
    for name, part in value.items():
        demand(name == "segments" or depth(part) <= 100, "ManifestError", f"{name:.99} is nested too deep")


def depth(value: Any) -> int:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if parts is None else 1 + max(map(depth, parts), default=0)


def check_segment(segment: Any) -> None:
    """Refuse what is wrong with one segment, or between two of its fields."""
    check_fields(segment, SEGMENT_FIELDS, SEGMENT_OPTIONAL)
    group, features = segment.get("group", 1), segment.get("must_understand", ())
    for name, other in ("keys", "keys_bytes"), ("deleted", "deleted_hash"):
        right = (name in segment) == (other in segment) and segment.get(name, 0) <= segment["records"]
        demand(right, "ManifestError", f"{name} is wrong")
    for name, is_there in ("groups", group > 1), ("deleted", "deleted" in segment):
        demand((name in features) == is_there, "ManifestError", f"the feature {name} is wrong")
    demand(segment["sealed"] or segment["records"] % group == 0, "ManifestError", "an open group is not full")


def decode_schemas(manifest: dict[str, Any]) -> None:
    """Put bytes in the place of the schemas of samples, and in that of their numbers in segments."""
    try:
        schemas = [base64.b64decode(one, validate=True) for one in manifest.get("schemas", ())]
    except ValueError:
        refuse("ManifestError", "a schema is not base64")
    right = all(schemas) and sum(map(len, schemas)) <= 4 << 20 and manifest.get("schema", -1) < len(schemas)
    demand(right, "ManifestError", "a schema is empty, or the declared one is not there, or they are too long")
    right = [base64.b64encode(one).decode() for one in schemas] == manifest.get("schemas", [])
    demand(right, "ManifestError", "a schema in base64 has another last digit than it must")
    is_place = integer(0, len(schemas) - 1)
    for segment in manifest["segments"]:
        own = segment.get("schemas", [])
        right = all(map(is_place, own)) and len({*own}) == len(own)
        right = right and ("schema" not in manifest or own[:1] in ([], [manifest["schema"]]))
        demand(right, "ManifestError", "schemas of a segment are wrong")
        segment["schemas"] = [schemas[number] for number in own]


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    demand(len(dict(pairs)) == len(pairs), "ManifestError", "a key is twice in an object")
    return dict(pairs)


def number(digits: str) -> int | float:
    value = float(digits) if re.search("[.eEIN]", digits) else int(digits) if len(digits) < 21 else 1 << 64
    demand(abs(value) < (1 << 63 if isinstance(value, int) else float("inf")), "ManifestError", "a number is too large")
    return value


def is_committed(index: Path) -> bool:
    """Say whether an index counts records, and not those of a first commit that was interrupted."""
    try:
        head = open_file(index)[:128]
        return check_header(head, b"I", b"", 128) and any(head[40:48]) and not head[62]
    except Refusal:
        return False


class Spelling(str):
    """A number of JSON as it stands in the file."""


def num_spellings(value: Any) -> int:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return isinstance(value, Spelling) + sum(map(num_spellings, parts))


def check_metadata(line: str) -> None:
    """Refuse metadata that are too long; numbers count as they stand there, and have no quotes."""
    metadata = json.loads(line, parse_float=Spelling, parse_int=Spelling)["metadata"]
    data = json.dumps(metadata, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    demand(len(data) - 2 * num_spellings(metadata) <= 1 << 20, "ManifestError", "the metadata are too long")


def read_manifest(dataset: Path) -> dict[str, Any]:
    """Return the newest manifest; none that is older is read where it is damaged."""
    names = [path.name for path in dataset.iterdir() if re.fullmatch(r"manifest\.[0-9]{10}\.json", path.name)]
    if not names:
        demand(not (dataset / "segments").is_symlink(), "FormatError", "the folder of segments is a link")
        lost = any(map(is_committed, (dataset / "segments").glob("*/index")))
        refuse(*(("ManifestError", "lost") if lost else ("DatasetNotFoundError", "there is no manifest")))
    data = open_file(dataset / max(names))
    found = re.fullmatch(rb'([^\n]*)\n\{"xxh3":"([0-9a-f]{16})"\}\n', data if len(data) <= MAX_MANIFEST_BYTES else b"")
    if found is None or xxh3(found[1]) != int(found[2], 16):
        refuse("ManifestError", "it is damaged")
    try:
        line = found[1].decode()
        manifest: Any = json.loads(
            line, object_pairs_hook=unique, parse_constant=number, parse_float=number, parse_int=number
        )
    except (ValueError, RecursionError) as error:
        refuse("ManifestError", f"it is no JSON: {error}")
    right = isinstance(manifest, dict) and manifest.get("format") == "splitdata"
    version: Any = manifest.get("version") if right else None
    right = (
        isinstance(version, list)
        and len(version) == 2
        and all(type(part) is int and 0 <= part <= 0xFFFF for part in version)
    )
    demand(right, "ManifestError", "format or version is wrong")
    demand(version[0] == 1, "UnsupportedVersionError", f"it is of version {version}")
    demand(texts(manifest.get("must_understand")), "ManifestError", "must_understand is wrong")
    demand(not manifest["must_understand"], "UnsupportedVersionError", f"{manifest['must_understand']} is not known")
    check_fields(manifest, FIELDS, OPTIONAL)
    for segment in manifest["segments"]:
        check_segment(segment)
    decode_schemas(manifest)
    ids = {segment["id"] for segment in manifest["segments"]}
    right = len(ids) == len(manifest["segments"]) and manifest["generation"] == int(max(names)[9:19])
    demand(right, "ManifestError", "generation or a segment's id is wrong")
    check_metadata(line)
    return dict(manifest)
