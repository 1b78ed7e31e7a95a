"""The manifest: JSON that lists the segments, in the order of their positions.

Nothing in it is a path: file names are computed from ids that must be 32 hex digits.
FORMAT.md section 5.

    line 1   {"format":"splitdata","version":[1,0],"generation":42,"dataset":"<32 hex>",
              "must_understand":[],"metadata":{...},"segments":[{"id":"<32 hex>","records":1000,...}]}
    line 2   {"xxh3":"<16 hex digits: xxh3-64 of line 1 without its newline>"}
"""

from __future__ import annotations

import base64
import json
import math
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from types import MappingProxyType
from typing import Any, Final, NoReturn

from splitdata.errors import ManifestError
from splitdata.format import spec
from splitdata.format.checksum import hash64
from splitdata.format.digest import EMPTY_DIGEST, fingerprint, is_digest, join_digests
from splitdata.format.index import entry_bytes
from splitdata.format.schemas import joined_lists, pack_lists
from splitdata.format.version import (
    GROUPS,
    are_known,
    check_features,
    check_no_features,
    check_version,
    check_written_here,
)

__all__ = ["Manifest", "SegmentInfo", "is_part_id"]

_ID: Final = re.compile(r"[0-9a-f]{32}")
_HASH: Final = re.compile(r"[0-9a-f]{16}")
_MAX_INT: Final = (1 << 63) - 1
# Of who made the commit, and when: for people, so nothing depends on what it says.
_ORIGIN: Final = re.compile(r".{0,200}", re.DOTALL)
_PART: Final = re.compile(r"[^\x00-\x1f\x7f]{1,200}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentInfo:
    """One segment as the manifest lists it.

    Attributes:
        group: Records of a frame: 1 where each has its own.
        num_keys: Records that have a key.
        keys_bytes: Where the table of keys ends in its file; 0 where no record has a key.
        schemas: Of its samples, by the numbers that those have for them.
        num_deleted: Records that were deleted.
        deleted_hash: Of the list of them, which is in the name of its file; 0 where none was deleted.
        features: Names of what a reader of this segment must understand, beside that it has deleted records.
        part: Text by which its writer tells it from the other parts of a dataset; None if it was no part.
        others: What else stands in the entry, under names that this version does not know; carried along.
        version: Of the manifest, so of the format of the segment's files.
    """

    id: str
    num_records: int
    num_bins: int
    is_sealed: bool
    digest: int
    raw_bytes: int
    stored_bytes: int
    group: int = 1
    num_keys: int = 0
    keys_bytes: int = 0
    num_deleted: int = 0
    deleted_hash: int = 0
    schemas: tuple[bytes, ...] = ()
    features: tuple[str, ...] = ()
    part: str | None = None
    others: dict[str, Any] = field(default_factory=dict, hash=False)
    version: tuple[int, int] = spec.FORMAT_VERSION

    @property
    def num_frames(self) -> int:
        """Frames, each with an entry of the index: records, or groups of them."""
        return -(-self.num_records // self.group)

    @property
    def num_bin_files(self) -> int:
        """Bins that hold a frame, and so must exist: frame `f` is in bin `f % num_bins`."""
        return min(self.num_bins, self.num_frames)

    @property
    def is_grouped(self) -> bool:
        """Whether frames are groups."""
        return self.group > 1

    @property
    def entry_bytes(self) -> int:
        """Length of an index entry: of a group it has the length of each record too."""
        return entry_bytes(self.group)

    def records_of(self, frame: int) -> range:
        """Return the sequence numbers of the records in a frame."""
        return range(frame * self.group, min((frame + 1) * self.group, self.num_records))

    def with_deletions(self, other: SegmentInfo) -> SegmentInfo:
        """Return this with the deleted records of another entry: who adds records does not know of them."""
        return replace(self, num_deleted=other.num_deleted, deleted_hash=other.deleted_hash)

    def to_json(self, numbers: Mapping[bytes, int] = MappingProxyType({})) -> dict[str, Any]:
        """Return the entry as it stands in the manifest, which has all schemas under these numbers."""
        group = {"group": self.group} if self.is_grouped else {}
        deleted: dict[str, Any] = {}
        names = list(self.features)
        if self.num_deleted:
            deleted = {"deleted": self.num_deleted, "deleted_hash": f"{self.deleted_hash:016x}"}
            names.append(spec.DELETED_FEATURE)
        keys = {"keys": self.num_keys, "keys_bytes": self.keys_bytes} if self.num_keys else {}
        features = {"must_understand": names} if names else {}
        return {
            "id": self.id,
            "records": self.num_records,
            "bins": self.num_bins,
            "sealed": self.is_sealed,
            "digest": f"{self.digest:016x}",
            "raw_bytes": self.raw_bytes,
            "stored_bytes": self.stored_bytes,
            **group,
            **keys,
            **({"schemas": [numbers[schema] for schema in self.schemas]} if self.schemas else {}),
            **deleted,
            **features,
            **({} if self.part is None else {"part": self.part}),
            **self.others,
        }

    @property
    def is_understood(self) -> bool:
        """Whether this version knows all features that its files have."""
        return are_known(self.features)

    def check_features(self) -> None:
        """Raise `UnsupportedVersionError` if the files of this segment have what this version does not know."""
        check_features(self.features, f"segment {self.id}")

    @classmethod
    def from_json(
        cls, value: object, version: tuple[int, int] = spec.FORMAT_VERSION, schemas: tuple[bytes, ...] = ()
    ) -> SegmentInfo:
        """Read and check one entry of a manifest with these schemas; raises `ManifestError`."""
        fields = _Fields(value, "a segment")
        digest = fields.text("digest", _HASH)
        num_deleted, deleted_hash = _deletions(fields)
        num_keys, keys_bytes = _keys(fields)
        features = fields.names("must_understand") if fields.has("must_understand") else ()
        info = cls(
            id=fields.text("id", _ID),
            num_records=fields.integer("records", spec.MAX_SEGMENT_RECORDS),
            num_bins=fields.integer("bins", spec.MAX_BINS, least=1),
            is_sealed=fields.boolean("sealed"),
            digest=int(digest, 16),
            raw_bytes=fields.integer("raw_bytes", _MAX_INT),
            stored_bytes=fields.integer("stored_bytes", _MAX_INT),
            group=fields.integer("group", spec.MAX_GROUP, least=2) if fields.has("group") else 1,
            num_keys=num_keys,
            keys_bytes=keys_bytes,
            schemas=_numbered(fields.get("schemas"), schemas) if fields.has("schemas") else (),
            num_deleted=num_deleted,
            deleted_hash=deleted_hash,
            features=tuple(name for name in features if name != spec.DELETED_FEATURE),
            part=_part(fields),
            others=fields.others(),
            version=version,
        )
        if not is_digest(info.digest):
            raise ManifestError(f"a segment of the manifest has the digest {digest}, which no records have")
        if bool(num_deleted) != (spec.DELETED_FEATURE in features):
            raise ManifestError(
                f"a segment of the manifest has {num_deleted} deleted records and the features {features}"
            )
        if info.group & (info.group - 1) or info.is_grouped != (GROUPS in info.features):
            raise ManifestError(
                f"a segment of the manifest has groups of {info.group} and the features {info.features}"
            )
        if info.is_grouped and not info.is_sealed and info.num_records % info.group:
            raise ManifestError("a segment of the manifest is open and its last group is not full")
        return info


def _deletions(fields: _Fields) -> tuple[int, int]:
    """Read what an entry says of deleted records: how many they are, and the hash of their list."""
    if not fields.has_both("deleted", "deleted_hash"):
        return 0, 0
    count = fields.integer("deleted", fields.integer("records", spec.MAX_SEGMENT_RECORDS), least=1)
    return count, int(fields.text("deleted_hash", _HASH), 16)


def _part(fields: _Fields) -> str | None:
    """Read the name of a part: a key that readers need not know, so what else stands there is carried along."""
    return str(fields.get("part")) if is_part_id(fields.value.get("part")) else None


def _keys(fields: _Fields) -> tuple[int, int]:
    """Read what an entry says of keys: how many records have one, and where their table ends."""
    if not fields.has_both("keys", "keys_bytes"):
        return 0, 0
    count = fields.integer("keys", fields.integer("records", spec.MAX_SEGMENT_RECORDS), least=1)
    return count, fields.integer("keys_bytes", _MAX_INT)


def is_part_id(value: object) -> bool:
    """Say whether a part may be called so: text of 1 to 200 code points, none of them a control character."""
    return isinstance(value, str) and _PART.fullmatch(value) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One committed state of a dataset.

    Attributes:
        generation: Its number.
        dataset_id: Of the dataset, for ever.
        segments: In the order of positions.
        metadata: The user's.
        schemas: Of samples, as segments have them; only ever added to. Those that only segments have are added when
            the manifest is encoded.
        schema: The one that the dataset declares for all of its samples, if it does.
        version: Of the format, as the manifest says it.
        writer, time: Which program made the commit, and when (UTC, RFC 3339); None where that is not said.
        replaced: Ids of segments of a dataset in whose place this one came, as far as they may still be there.
        others: What else stands in the manifest, under names that this version does not know; carried along.
    """

    generation: int
    dataset_id: str
    segments: tuple[SegmentInfo, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)
    version: tuple[int, int] = spec.FORMAT_VERSION
    schemas: tuple[bytes, ...] = ()
    schema: bytes | None = None
    writer: str | None = None
    time: str | None = None
    replaced: tuple[str, ...] = ()
    others: dict[str, Any] = field(default_factory=dict, hash=False)

    def check_writable(self) -> None:
        """Raise `UnsupportedVersionError` if the dataset is of a version that is read and not written."""
        check_written_here(self.version, "the dataset")

    @property
    def num_records(self) -> int:
        """Records of all segments."""
        return sum(segment.num_records for segment in self.segments)

    @property
    def digest(self) -> int:
        """Digest of all records in order."""
        digest = EMPTY_DIGEST
        for segment in self.segments:
            digest = join_digests(digest, segment.digest, segment.num_records)
        return digest

    @property
    def fingerprint(self) -> str:
        """Text that is equal for equal sequences of records, however they are stored."""
        return fingerprint(self.digest, self.num_records, pack_lists(joined_lists(self.schema_lists)))

    @property
    def schema_lists(self) -> list[tuple[bytes, ...]]:
        """The schemas of each segment that has records."""
        return [segment.schemas for segment in self.segments if segment.num_records]

    def position_of(self, segment_id: str) -> int | None:
        """Return the position of the first record of a segment, None if it is not listed."""
        position = 0
        for segment in self.segments:
            if segment.id == segment_id:
                return position
            position += segment.num_records
        return None

    def find(self, segment_id: str) -> SegmentInfo | None:
        """Return the entry of a segment, None if it is not listed."""
        return next((segment for segment in self.segments if segment.id == segment_id), None)

    @property
    def num_deleted(self) -> int:
        """Records of all segments that were deleted."""
        return sum(segment.num_deleted for segment in self.segments)

    def with_segment(self, info: SegmentInfo) -> Manifest:
        """Return this with one segment updated, or added at the end; what its entry has beside that stays.

        So does what was deleted of it: who adds records does not know of that.
        """
        known = self.find(info.id)
        if known is None:
            return replace(self, segments=(*self.segments, info))
        updated = replace(info.with_deletions(known), others=known.others | info.others)
        return replace(self, segments=tuple(updated if old is known else old for old in self.segments))

    def encode(self) -> bytes:
        """Return the two lines of the file.

        Raises:
            ValueError: If the metadata are larger than the format allows.
            ManifestError: If the whole is.
        """
        encode_metadata(self.metadata)
        if len(self.segments) > spec.MAX_SEGMENTS:
            raise ManifestError(f"the manifest would list {len(self.segments)} segments, the limit {spec.MAX_SEGMENTS}")
        origin = {"writer": self.writer, "time": self.time}
        numbers = self._numbers()
        schemas = {"schemas": [base64.b64encode(schema).decode() for schema in numbers]} if numbers else {}
        declared = {} if self.schema is None else {"schema": numbers[self.schema]}
        body = {
            "format": spec.FORMAT_NAME,
            "version": list(self.version),
            "generation": self.generation,
            "dataset": self.dataset_id,
            "must_understand": [],
            **{name: text for name, text in origin.items() if text is not None},
            "metadata": self.metadata,
            **schemas,
            **declared,
            "segments": [segment.to_json(numbers) for segment in self.segments],
            **({"replaced": list(self.replaced)} if self.replaced else {}),
            **self.others,
        }
        line = json.dumps(body, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()
        data = line + b'\n{"xxh3":"' + f"{hash64(line):016x}".encode() + b'"}\n'
        if len(data) > spec.MAX_MANIFEST_BYTES:
            raise ManifestError(f"the manifest would have {len(data)} bytes, the limit is {spec.MAX_MANIFEST_BYTES}")
        return data

    def _numbers(self) -> dict[bytes, int]:
        """Return the number of each schema: those that were there keep theirs."""
        declared = () if self.schema is None else (self.schema,)
        known = dict.fromkeys(chain(self.schemas, declared, *(segment.schemas for segment in self.segments)))
        numbers = {schema: number for number, schema in enumerate(known)}
        _check_schemas(tuple(numbers))
        return numbers

    @classmethod
    def decode(cls, data: bytes) -> Manifest:
        """Read, prove and check a manifest.

        Raises:
            ManifestError: If it is damaged or says what cannot be.
            UnsupportedVersionError: If it is intact and needs a newer splitdata.
        """
        line = _proven_line(data)
        fields = _Fields(_parse(line), "the manifest")
        if fields.get("format") != spec.FORMAT_NAME:
            raise ManifestError('the manifest does not say "format":"splitdata"')
        version = _checked_version(fields)
        segments = fields.get("segments")
        metadata = fields.get("metadata")
        if not isinstance(segments, list) or not isinstance(metadata, dict):
            raise ManifestError("the manifest has no list of segments or no metadata")
        if len(segments) > spec.MAX_SEGMENTS:
            raise ManifestError(f"the manifest lists {len(segments)} segments, the limit is {spec.MAX_SEGMENTS}")
        _check_depth([metadata])
        if len(data) > spec.MAX_METADATA_BYTES:
            _check_size(line)
        schemas = _decoded_schemas(fields.get("schemas")) if fields.has("schemas") else ()
        manifest = cls(
            generation=fields.integer("generation", spec.MAX_GENERATION, least=1),
            dataset_id=fields.text("dataset", _ID),
            segments=tuple(SegmentInfo.from_json(segment, version, schemas) for segment in segments),
            metadata=metadata,
            version=version,
            schemas=schemas,
            schema=schemas[fields.integer("schema", len(schemas) - 1)] if fields.has("schema") else None,
            writer=fields.text("writer", _ORIGIN) if fields.has("writer") else None,
            time=fields.text("time", _ORIGIN) if fields.has("time") else None,
            replaced=_checked_ids(fields.names("replaced")) if fields.has("replaced") else (),
            others=fields.others(),
        )
        if len({segment.id for segment in manifest.segments}) != len(manifest.segments):
            raise ManifestError("the manifest lists a segment twice")
        if manifest.schema is not None and any(
            one.schemas[:1] not in ((), (manifest.schema,)) for one in manifest.segments
        ):
            raise ManifestError("a segment has another first schema than the one that the dataset declares")
        return manifest


def _checked_ids(names: tuple[str, ...]) -> tuple[str, ...]:
    if not all(map(_ID.fullmatch, names)):
        raise ManifestError("the manifest: replaced is not a list of ids")
    return names


def _decoded_schemas(value: object) -> tuple[bytes, ...]:
    """Return the schemas that a manifest lists as base64."""
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
        raise ManifestError("the manifest: schemas is not a list of texts")
    try:
        schemas = tuple(base64.b64decode(one, validate=True) for one in value)
    except ValueError as error:
        raise ManifestError(f"the manifest has a schema that is not base64: {error}") from None
    if any(base64.b64encode(one).decode() != text for one, text in zip(schemas, value, strict=True)):
        raise ManifestError("the manifest has a schema in base64 whose last digit is not as it must be")
    if len(set(schemas)) != len(schemas):
        raise ManifestError("the manifest has a schema twice")
    _check_schemas(schemas)
    return schemas


def _check_schemas(schemas: tuple[bytes, ...]) -> None:
    """Raise if these are more than a manifest may have."""
    num_bytes = sum(map(len, schemas))
    if len(schemas) > spec.MAX_SCHEMAS or num_bytes > spec.MAX_SCHEMAS_BYTES:
        raise ManifestError(
            f"the manifest has {len(schemas)} schemas of {num_bytes} bytes together, the limits are "
            f"{spec.MAX_SCHEMAS} and {spec.MAX_SCHEMAS_BYTES}"
        )


def _numbered(value: object, schemas: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Return the schemas of a segment, which it lists by their numbers in the manifest."""
    if not isinstance(value, list) or not all(type(one) is int and 0 <= one < len(schemas) for one in value):
        raise ManifestError(f"a segment: schemas is not a list of numbers below {len(schemas)}")
    if len(value) > spec.MAX_SEGMENT_SCHEMAS or len(set(value)) != len(value):
        raise ManifestError(f"a segment has {len(value)} schemas, or one twice; at most {spec.MAX_SEGMENT_SCHEMAS}")
    return tuple(schemas[one] for one in value)


def encode_metadata(metadata: dict[str, Any]) -> bytes:
    """Return user metadata as JSON bytes, as they are copied into a bin.

    Raises:
        TypeError, ValueError: If it cannot be stored as JSON, is larger than 1 MiB, or nested more than 100 deep.
    """
    given: object = metadata
    if not isinstance(given, dict) or any(not isinstance(key, str) for key in given):
        raise TypeError("metadata must be a dict with text keys")
    try:
        data = json.dumps(metadata, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise type(error)(f"metadata must be values of JSON: {error}") from None
    except RecursionError:
        raise ValueError(f"metadata are nested more than {spec.MAX_METADATA_DEPTH} deep, which is the limit") from None
    if len(data) > spec.MAX_METADATA_BYTES:
        raise ValueError(f"metadata take {len(data)} bytes as JSON, the limit is {spec.MAX_METADATA_BYTES}")
    # Python writes more than a manifest may hold: numbers above 63 bits, the keys 1 and "1" beside each other.
    try:
        decode_metadata(data)
    except ManifestError as error:
        raise ValueError(f"these metadata could not be read back: {error}") from None
    return data


def decode_metadata(data: bytes) -> dict[str, Any]:
    """Read what `encode_metadata` made; raises `ManifestError`."""
    metadata = _Fields(_parse(data), "the metadata").value
    _check_depth([metadata])
    return metadata


class _Spelling(str):
    """A number of JSON as it stands in the file."""

    __slots__ = ()


def _check_size(line: bytes) -> None:
    """Raise if the metadata of a manifest that can be parsed are too long: with numbers as they stand in it."""
    metadata = json.loads(line, parse_int=_Spelling, parse_float=_Spelling)["metadata"]
    length = len(json.dumps(metadata, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass"))
    # Without the quotes, which numbers do not have.
    length -= 2 * _num_spellings(metadata)
    if length > spec.MAX_METADATA_BYTES:
        raise ManifestError(f"the metadata take {length} bytes as JSON, the limit is {spec.MAX_METADATA_BYTES}")


def _num_spellings(value: object) -> int:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return isinstance(value, _Spelling) + sum(map(_num_spellings, parts))


def _check_depth(values: list[Any]) -> None:
    """Raise if one is nested deeper than the limit; what Python can parse depends on how deep its calls are."""
    for _ in range(spec.MAX_METADATA_DEPTH + 1):
        level = [value for value in values if isinstance(value, (dict, list))]
        if not level:
            return
        values = [part for one in level for part in (one.values() if isinstance(one, dict) else one)]
    raise ManifestError(f"objects are nested more than {spec.MAX_METADATA_DEPTH} deep, which is the limit")


def _proven_line(data: bytes) -> bytes:
    if len(data) > spec.MAX_MANIFEST_BYTES:
        raise ManifestError(f"the manifest has {len(data)} bytes, the limit is {spec.MAX_MANIFEST_BYTES}")
    line, _, rest = data.partition(b"\n")
    if rest != b'{"xxh3":"' + f"{hash64(line):016x}".encode() + b'"}\n':
        raise ManifestError("the manifest is damaged: its checksum does not match")
    return line


def _parse(line: bytes) -> object:
    try:
        # Decoded here, since for bytes Python would also guess UTF-16 and UTF-32.
        parsed: object = json.loads(
            line.decode(), object_pairs_hook=_unique, parse_constant=_refuse, parse_int=_bounded, parse_float=_finite
        )
    except ManifestError:
        raise
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"the manifest is not the JSON it should be: {error}") from None
    return parsed


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ManifestError("the manifest has a key twice")
    return result


def _refuse(constant: str) -> NoReturn:
    raise ManifestError(f"the manifest has the number {constant}")


def _bounded(digits: str) -> int:
    # Python refuses to parse very long numbers by itself; this keeps what is left within 64 bits.
    number = int(digits) if len(digits) <= 20 else _MAX_INT + 1
    if abs(number) > _MAX_INT:
        raise ManifestError(f"the manifest has a number of {len(digits)} digits")
    return number


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ManifestError(f"the manifest has the number {digits:.40}, which no float can hold")
    return number


def _checked_version(fields: _Fields) -> tuple[int, int]:
    version = fields.get("version")
    # Headers have 16 bits for each.
    are_parts = isinstance(version, list) and all(type(part) is int and 0 <= part <= 0xFFFF for part in version)
    if not isinstance(version, list) or not are_parts or len(version) != 2:
        raise ManifestError("the manifest has no version")
    major, minor = version
    check_version(major, minor)
    check_no_features(fields.names("must_understand"), "this dataset")
    return major, minor


class _Fields:
    """Typed look-ups in one JSON object, which remember what was asked for."""

    def __init__(self, value: object, what: str) -> None:
        if not isinstance(value, dict):
            raise ManifestError(f"{what} is not a JSON object")
        self.value: dict[str, Any] = value
        self._what = what
        self._known: set[str] = set()

    def get(self, name: str) -> object:
        self._known.add(name)
        return self.value.get(name)

    def has(self, name: str) -> bool:
        """Say whether a field is there that need not be."""
        self._known.add(name)
        return name in self.value

    def has_both(self, name: str, other: str) -> bool:
        """Say whether two fields are there that belong together; raises `ManifestError` if one is missing."""
        has, has_other = self.has(name), self.has(other)
        if has != has_other:
            raise ManifestError(f"{self._what}: of {name} and {other} one is missing")
        return has

    def others(self) -> dict[str, Any]:
        """Return the fields that nobody has asked for: those of later versions, which this one carries along."""
        others = {name: value for name, value in self.value.items() if name not in self._known}
        _check_depth(list(others.values()))
        return others

    def integer(self, name: str, limit: int, *, least: int = 0) -> int:
        value = self.get(name)
        if type(value) is not int or not least <= value <= limit:
            raise ManifestError(
                f"{self._what}: {name} is {reprlib.repr(value)}, not a whole number from {least} to {limit}"
            )
        return value

    def text(self, name: str, pattern: re.Pattern[str]) -> str:
        value = self.get(name)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise ManifestError(f"{self._what}: {name} is {reprlib.repr(value)}, not {pattern.pattern}")
        return value

    def names(self, name: str) -> tuple[str, ...]:
        value = self.get(name)
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise ManifestError(f"{self._what}: {name} is {reprlib.repr(value)}, not a list of names")
        return tuple(value)

    def boolean(self, name: str) -> bool:
        value = self.get(name)
        if not isinstance(value, bool):
            raise ManifestError(f"{self._what}: {name} is {reprlib.repr(value)}, not true or false")
        return value
