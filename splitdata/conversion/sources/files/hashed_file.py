"""The hashes that an index gives of its files: checked before anything of a file is taken.

Algorithms are known by the names that hashlib and xxhash have for them.

    {"sha1": "c83b...", "xxh64": "e730..."}  ──content──>  nothing, or an error
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import xxhash

from splitdata._shown import shown
from splitdata.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["check_hashes"]

_XXHASHES: Final = {
    "xxh32": xxhash.xxh32,
    "xxh64": xxhash.xxh64,
    "xxh128": xxhash.xxh3_128,
    "xxh3_64": xxhash.xxh3_64,
    "xxh3_128": xxhash.xxh3_128,
}


def check_hashes(content: Iterable[bytes], hashes: Mapping[str, object]) -> None:
    """Read a content to its end and compare.

    Raises:
        SourceError: If a hash differs, or is of an algorithm that is not known.
    """
    if not hashes:
        return
    digests = {name: _digest(name) for name in hashes}
    for block in content:
        for digest in digests.values():
            digest.update(block)
    for name, digest in digests.items():
        if digest.hexdigest() != hashes[name]:
            raise SourceError(
                f"has the {name} {digest.hexdigest()}, and its index says {shown(hashes[name])}: it is damaged, or was "
                "replaced; make or fetch it again"
            )


def _digest(name: str) -> Any:
    if name in _XXHASHES:
        return _XXHASHES[name]()
    # Those of variable length need to be told one.
    if name in hashlib.algorithms_guaranteed and not name.startswith("shake"):
        return hashlib.new(name, usedforsecurity=False)
    raise SourceError(f"has a hash {shown(name)} in its index, which is not known here")
