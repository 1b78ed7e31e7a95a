"""A tar archive, plain or compressed, whose files are records, with their paths as keys, in the order of the archive.

It is read once from front to end, and no list of its names is held.

    photos.tar.gz   a/1.jpg  a/2.jpg  .DS_Store  ──>  a/1.jpg  a/2.jpg      left out: what is hidden, links, devices
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from splitdata.conversion.sources.archives.archive_file import ArchiveFile
from splitdata.conversion.sources.archives.archive_names import is_hidden, member_key
from splitdata.conversion.sources.archives.tar_members import TarMembers
from splitdata.conversion.sources.files.sized_file import READ_WHOLE_BYTES, SizedFile
from splitdata.conversion.sources.seek import count_at, counts_at

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from tarfile import TarInfo

    from splitdata.conversion.sources.source import Record, SourcePosition

__all__ = ["TarSource"]


class TarSource(ArchiveFile):
    """The files of a tar archive; of 1 MiB and more as open files. Names are not held."""

    kind = "tar"

    def __init__(self, path: str) -> None:
        """Take a path, "-" for standard input; raises as `InputFile` does."""
        super().__init__(path)
        self._num_given = 0
        self._next_byte = 0

    @property
    def bytes_read(self) -> int:
        """Bytes of the archive, as it is stored, read so far."""
        return self._input.bytes_read

    def position(self) -> SourcePosition:
        """Return where the next record begins, and what was counted up to there."""
        return {"byte": self._next_byte, "record": self._num_given, "skipped": dict(self.skipped)}

    def records_from(self, position: SourcePosition) -> Generator[Record, None, None]:
        """Yield the records behind a position."""
        with closing(self.keyed_records(position)) as pairs:
            for _, record in pairs:
                yield record

    def keyed_records(
        self, position: SourcePosition | None = None
    ) -> Generator[tuple[str, bytes | SizedFile], None, None]:
        """Yield the key of each file behind a position, and its content.

        Raises:
            SourceError: If the archive is damaged or truncated, holds no file, or has a name that leads out of it.
        """
        with closing(self._begun(position)) as members:
            for key, member in self._files(members):
                yield key, self._content(members, member, key)
        self._check_given()

    def _begun(self, position: SourcePosition | None) -> TarMembers:
        position = position or {}
        self.skipped.clear()
        self.skipped.update(counts_at(position, "skipped"))
        self._num_given = count_at(position, "record")
        self._next_byte = count_at(position, "byte")
        return TarMembers(self._input, self._next_byte)

    def _files(self, members: TarMembers) -> Iterator[tuple[str, TarInfo]]:
        """Yield the members that are files, and count what is left out."""
        for member in members:
            if member.isdir():
                continue
            key = member_key(member.name, archive=self._input.shown)
            if not member.isreg():
                self.skipped["link" if member.issym() or member.islnk() else "special file"] += 1
            elif is_hidden(key):
                self.skipped["hidden file"] += 1
            else:
                yield key, member

    def _content(self, members: TarMembers, member: TarInfo, key: str) -> bytes | SizedFile:
        sized = self._sized(members, member, key)
        content = sized.read_whole() if member.size < READ_WHOLE_BYTES else sized
        self._num_given += 1
        self._next_byte = members.byte
        return content

    def _sized(self, members: TarMembers, member: TarInfo, key: str) -> SizedFile:
        return SizedFile(members.read, member.size, path=f"{self._input.shown}/{key}", position=self._num_given)

    def _check_given(self) -> None:
        if not self._num_given:
            left_out = ", ".join(f"{what}: {number}" for what, number in self.skipped.items())
            raise self._refusal(f"holds no file to convert{f' (left out: {left_out})' if left_out else ''}")
