"""A zip archive: each file in it is a record, its path the key, in the order of the archive.

The names of all members are held, as zip keeps them in one list at its end. Checksums of members are checked.

    photos.zip   a/1.jpg  a/2.jpg  .DS_Store  ──>  a/1.jpg  a/2.jpg       left out: what is hidden, as in a folder
"""

from __future__ import annotations

import zipfile
import zlib
from collections import Counter
from contextlib import contextmanager
from copy import copy
from typing import TYPE_CHECKING, Final

from splitdata.conversion.sources.archives.archive_file import ArchiveFile
from splitdata.conversion.sources.archives.archive_names import is_hidden, member_key
from splitdata.conversion.sources.files.sized_file import READ_WHOLE_BYTES, SizedFile
from splitdata.conversion.sources.seek import count_at
from splitdata.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from splitdata.conversion.sources.source import RecordSource, SourcePosition

__all__ = ["ZipSource"]

_ENCRYPTED: Final = 1
_MOST_PARTS: Final = 16
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
    _range: range | None = None

    def keyed_records(
        self, position: SourcePosition | None = None
    ) -> Generator[tuple[str, bytes | SizedFile], None, None]:
        """Yield the key of each file behind a position, and its content.

        Raises:
            SourceError: If the archive is damaged or encrypted, holds no file, has two of a name, or a name that leads
                out of it. What can be told from its list, before the first file.
        """
        first = count_at(position or {}, "record") + (self._range.start if self._range else 0)
        stop = self._range.stop if self._range else None
        self.skipped.clear()
        with self._input.open() as file, self._named_damage(), zipfile.ZipFile(file) as archive:
            members = self._members(archive)
            self._bytes_read = sum(member.compress_size for _, member in members[:first]) if stop is None else 0
            for number, (key, member) in enumerate(members[first:stop], first):
                with archive.open(member) as content:
                    sized = SizedFile(
                        content.read, member.file_size, path=f"{self._input.shown}/{key}", position=number
                    )
                    whole = member.file_size < READ_WHOLE_BYTES
                    # An empty member has a checksum as well.
                    record: bytes | SizedFile = sized.read_whole() + content.read(1) if whole else sized
                    yield key, record
                self._bytes_read += member.compress_size

    def parts(self, max_bytes: int) -> Generator[RecordSource, None, None]:
        """Yield some of its files each; sixteen parts at most, as each reads the list of all."""
        with self._input.open() as file, self._named_damage(), zipfile.ZipFile(file) as archive:
            sizes = [member.compress_size for _, member in self._members(archive)]
        most = max(max_bytes, -(-sum(sizes) // _MOST_PARTS))
        start, num_bytes = 0, 0
        for number, size in enumerate(sizes, 1):
            num_bytes += size
            if num_bytes >= most or number == len(sizes):
                part = copy(self)
                part._range, part.skipped = range(start, number), Counter()
                yield part
                start, num_bytes = number, 0

    def _members(self, archive: zipfile.ZipFile) -> list[tuple[str, zipfile.ZipInfo]]:
        members: dict[str, zipfile.ZipInfo] = {}
        for member in archive.infolist():
            # Not `is_dir`, which fails at an empty name.
            if member.filename.endswith("/"):
                continue
            key = member_key(member.filename, archive=self._input.shown)
            if is_hidden(key):
                # Those of a part were counted when it was cut.
                self.skipped["hidden file"] += self._range is None
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
