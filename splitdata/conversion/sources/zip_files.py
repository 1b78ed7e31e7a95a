"""A zip archive: each file in it is a record, its path the key, in the order of the archive.

The names of all members are held, as zip keeps them in one list at its end. Checksums of members are checked.

    photos.zip   a/1.jpg  a/2.jpg  .DS_Store  ──>  a/1.jpg  a/2.jpg       left out: what is hidden, as in a folder
"""

from __future__ import annotations

import zipfile
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from splitdata.conversion.sources.archive_file import ArchiveFile
from splitdata.conversion.sources.archive_names import is_hidden, member_key
from splitdata.conversion.sources.seek import count_at
from splitdata.conversion.sources.sized_file import READ_WHOLE_BYTES, SizedFile
from splitdata.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from splitdata.conversion.sources.source import SourcePosition

__all__ = ["ZipSource"]

_ENCRYPTED: Final = 1
# What zipfile and the decompressors below it raise for bytes that are no such archive.
_DAMAGE: Final = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OverflowError,
)


class ZipSource(ArchiveFile):
    """The files of a zip archive; of 1 MiB and more as open files."""

    kind = "zip"

    def keyed_records(
        self, position: SourcePosition | None = None
    ) -> Generator[tuple[str, bytes | SizedFile], None, None]:
        """Yield the key of each file behind a position, and its content.

        Raises:
            SourceError: If the archive is damaged or encrypted, holds no file, has two of a name, or a name that leads
                out of it. What can be told from its list, before the first file.
        """
        first = count_at(position or {}, "record")
        self.skipped.clear()
        with self._input.open() as file, self._named_damage(), zipfile.ZipFile(file) as archive:
            members = self._members(archive)
            self._bytes_read = sum(member.compress_size for _, member in members[:first])
            for number, (key, member) in enumerate(members[first:], first):
                with archive.open(member) as content:
                    sized = SizedFile(
                        content.read, member.file_size, path=f"{self._input.shown}/{key}", position=number
                    )
                    whole = member.file_size < READ_WHOLE_BYTES
                    # An empty member has a checksum as well.
                    record: bytes | SizedFile = sized.read_whole() + content.read(1) if whole else sized
                    yield key, record
                self._bytes_read += member.compress_size

    def _members(self, archive: zipfile.ZipFile) -> list[tuple[str, zipfile.ZipInfo]]:
        members: dict[str, zipfile.ZipInfo] = {}
        for member in archive.infolist():
            if member.is_dir():
                continue
            key = member_key(member.filename, archive=self._input.shown)
            if is_hidden(key):
                self.skipped["hidden file"] += 1
                continue
            if member.flag_bits & _ENCRYPTED:
                raise self._refusal(f"is encrypted, at {key}: unpack it, and convert the folder")
            if key in members:
                raise self._refusal(f"has two files of the name {key}, and two records cannot have the same key")
            members[key] = member
        if not members:
            raise self._refusal("holds no file to convert")
        return list(members.items())

    @contextmanager
    def _named_damage(self) -> Iterator[None]:
        try:
            yield
        except SourceError:
            raise
        except _DAMAGE as error:
            raise self._refusal(f"is no zip archive that can be read: {error}") from error
