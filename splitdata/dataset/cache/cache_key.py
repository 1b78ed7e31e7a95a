"""The key of cached samples: all that the samples of one generation depend on, and the file that holds it.

The key is compared as a whole before anything is read under it.

    dataset, num_records, transform, code, version, seed, codec ──> lineage: 16 hex digits
    epoch: whose randomness the samples have                  one generation of it

    key.json    {"splitdata_cache": 2, "code": "...", "codec": 1, "dataset": "...", "epoch": 5, ...}
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Final

from splitdata.errors import FormatError
from splitdata.format.checksum import hash64

__all__ = ["CacheKey"]

# 1 knew the transform by its name alone: what lies under such a key may be of any function of that name.
_VERSION: Final = 2
_VERSION_FIELD: Final = "splitdata_cache"


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheKey:
    """The key of one generation. Samples of another key are never taken for its own.

    Attributes:
        dataset: Fingerprint of the records; the type of a dataset that has none.
        num_records: Its length.
        transform: Name of the function, for people; empty where there is none.
        code: Identity of the function with its arguments, empty where there is none or `version` stands for it.
        version: What the user calls it, None for nothing.
        seed: Of the loader.
        codec: Version of the sample codec.
        epoch: Whose randomness the samples have.
    """

    dataset: str
    num_records: int
    transform: str
    code: str
    version: str | None
    seed: int
    codec: int
    epoch: int

    @property
    def lineage(self) -> str:
        """Name of all generations that differ in nothing but the epoch; 16 hex digits."""
        return f"{hash64(dataclasses.replace(self, epoch=0).encode()):016x}"

    def at(self, epoch: int) -> CacheKey:
        """Return the key of another generation of this lineage."""
        return dataclasses.replace(self, epoch=epoch)

    def encode(self) -> bytes:
        """Return the key as its file has it."""
        content = {_VERSION_FIELD: _VERSION} | dataclasses.asdict(self)
        return json.dumps(content, indent=2, sort_keys=True).encode() + b"\n"

    @classmethod
    def decode(cls, data: bytes) -> CacheKey:
        """Read a key.

        Raises:
            FormatError: If it is damaged, or of another version.
        """
        try:
            content = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise FormatError(f"the key of a cache is no JSON: {error}") from None
        if not isinstance(content, dict) or content.pop(_VERSION_FIELD, None) != _VERSION:
            raise FormatError("this is no key of a cache, or one of another version of splitdata")
        kinds = {field.name: field.type for field in dataclasses.fields(cls)}
        if set(content) != set(kinds) or any(_is_other(content[name], str(kind)) for name, kind in kinds.items()):
            raise FormatError("the key of a cache has other fields than it must have")
        return cls(**content)


def _is_other(value: object, kind: str) -> bool:
    """Tell whether a value is not of the kind that an annotation names."""
    allowed = {"str": (str,), "int": (int,), "str | None": (str, type(None))}[kind]
    return type(value) not in allowed
