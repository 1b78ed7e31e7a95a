"""Names in the folder of a cache of samples. They are computed; none is ever read from a file.

So nothing that others have put into the folder can lead out of it.

    DIR/generation.0000000005.0123456789abcdef/key.json            what the samples depend on
                                               writer.0003/        a dataset
                                               writer.0003.lock    held by its writer
        removed.<32 hex>/                                          a generation on its way out
        lock                                                       held by writers, where there is a limit
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Final

__all__ = ["KEY_NAME", "LOCK_NAME", "CacheGenerationPaths", "CachePaths"]

KEY_NAME: Final = "key.json"
LOCK_NAME: Final = "lock"

_GENERATION: Final = re.compile(r"generation\.([0-9]{10,})\.([0-9a-f]{16})")
_REMOVED: Final = re.compile(r"removed\.[0-9a-f]{32}")
_WRITER: Final = re.compile(r"writer\.([0-9]{4,6})")
_KEY_SCRATCH: Final = re.compile(r"key\.[0-9a-f]{32}\.tmp")
_LOCK_SUFFIX: Final = ".lock"


@dataclass(frozen=True, slots=True)
class CachePaths:
    """The folder of a cache."""

    folder: str

    @property
    def lock(self) -> str:
        """The file that is locked while something is written, where there is a limit."""
        return os.path.join(self.folder, LOCK_NAME)

    def generation(self, epoch: int, lineage: str) -> CacheGenerationPaths:
        """The generation that begins with an epoch, of one lineage: 16 hex digits."""
        return CacheGenerationPaths(os.path.join(self.folder, self.generation_name(epoch, lineage)))

    @staticmethod
    def generation_name(epoch: int, lineage: str) -> str:
        """The name of that generation's folder."""
        return f"generation.{epoch:010d}.{lineage}"

    @staticmethod
    def removed_name(token: str) -> str:
        """The name that a generation has while it is removed."""
        return f"removed.{token}"

    @staticmethod
    def generation_of_name(name: str) -> tuple[int, str] | None:
        """Return epoch and lineage of the generation that has this name, None if it is the name of something else."""
        match = _GENERATION.fullmatch(name)
        return (int(match[1]), match[2]) if match else None

    @staticmethod
    def is_removed(name: str) -> bool:
        """Say whether this is the name of a generation on its way out."""
        return _REMOVED.fullmatch(name) is not None

    @classmethod
    def is_own_name(cls, name: str) -> bool:
        """Say whether this can be a name in the folder of a cache."""
        return name == LOCK_NAME or cls.is_removed(name) or cls.generation_of_name(name) is not None


@dataclass(frozen=True, slots=True)
class CacheGenerationPaths:
    """The folder of one generation."""

    folder: str

    @property
    def key(self) -> str:
        """The key of its samples; locked by all that use them."""
        return os.path.join(self.folder, KEY_NAME)

    @staticmethod
    def key_scratch_name(token: str) -> str:
        """The name under which the key is written before it gets its own."""
        return f"key.{token}.tmp"

    def writer(self, number: int) -> str:
        """The dataset of one writer."""
        return os.path.join(self.folder, self.writer_name(number))

    @staticmethod
    def writer_name(number: int) -> str:
        """The name of that dataset's folder."""
        return f"writer.{number:04d}"

    @staticmethod
    def writer_lock_name(number: int) -> str:
        """The name of the file that the writer of that dataset locks."""
        return CacheGenerationPaths.writer_name(number) + _LOCK_SUFFIX

    @staticmethod
    def writer_of_name(name: str) -> int | None:
        """Return the number of the writer whose dataset has this name, None if it is the name of something else."""
        match = _WRITER.fullmatch(name)
        return int(match[1]) if match and CacheGenerationPaths.writer_name(int(match[1])) == name else None

    @classmethod
    def is_own_file(cls, name: str) -> bool:
        """Say whether this can be the name of a file, not a folder, of a generation."""
        is_lock = name.endswith(_LOCK_SUFFIX) and cls.writer_of_name(name.removesuffix(_LOCK_SUFFIX)) is not None
        return name == KEY_NAME or is_lock or _KEY_SCRATCH.fullmatch(name) is not None
