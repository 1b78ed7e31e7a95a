"""The file of a segment's schemas: written before the records that need them, read by repair and verify alone.

A reader takes schemas from the manifest, so a damaged file costs nothing.

    SchemaTable of the session ──write─> schemas      header | what was there | what is new
    manifest "schemas"         <──commit──┘
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from splitdata.errors import FormatError
from splitdata.format import spec
from splitdata.format.schemas import SchemasHeader, pack_schemas, unpack_schemas
from splitdata.storage import files
from splitdata.storage.replace import replace_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from splitdata.storage.folder import Folder

__all__ = ["MAX_FILE_BYTES", "SchemaFile", "parse_schemas", "read_schemas", "write_schemas"]

# What a full one has, with hashes and padding; more is not looked at.
MAX_FILE_BYTES: Final = spec.SCHEMAS_HEADER_BYTES + spec.MAX_SCHEMAS_BYTES + 24 * spec.MAX_SEGMENT_SCHEMAS


def read_schemas(folder: Folder, segment_id: str) -> tuple[list[bytes], bool]:
    """Return the schemas that a segment's file holds, up to the first that is damaged, and whether one is declared.

    Raises:
        FormatError: If there is no file, or it is another's, or its header is damaged.
    """
    try:
        descriptor = folder.open_file(spec.SCHEMAS_NAME)
    except FileNotFoundError:
        raise FormatError("there is no file of schemas") from None
    try:
        data = files.read_at(descriptor, min(files.size_of(descriptor), MAX_FILE_BYTES), 0)
    finally:
        files.close(descriptor)
    return parse_schemas(data, segment_id)


def parse_schemas(data: bytes, segment_id: str) -> tuple[list[bytes], bool]:
    """Return what `read_schemas` does of the content of a file, of which `MAX_FILE_BYTES` are enough.

    Raises:
        FormatError: If it is another's, or its header is damaged.
    """
    header = SchemasHeader.unpack(data)
    if header.segment_id != segment_id:
        raise FormatError(f"it is the file of segment {header.segment_id}")
    return unpack_schemas(data[spec.SCHEMAS_HEADER_BYTES :]), header.is_declared


def write_schemas(folder: Folder, segment_id: str, schemas: Sequence[bytes], *, is_declared: bool) -> None:
    """Put a file with these schemas in the place of the one that is there, if any."""
    content = SchemasHeader(segment_id, is_declared).pack() + pack_schemas(schemas)
    replace_file(folder, spec.SCHEMAS_SCRATCH_NAME, spec.SCHEMAS_NAME, [content])


class SchemaFile:
    """The file while its segment is written: what the session's list has grown by is added before its records are."""

    def __init__(self, folder: Folder, segment_id: str, schemas: Sequence[bytes], *, is_declared: bool) -> None:
        """Take the list, which the session makes longer."""
        self._folder = folder
        self._segment_id = segment_id
        self._schemas = schemas
        self._is_declared = is_declared
        self._descriptor = -1
        self._num_written = 0
        self._end = 0
        self._is_synced = True

    @property
    def listed(self) -> tuple[bytes, ...]:
        """What a manifest lists of the segment: all schemas that are in the file."""
        return tuple(self._schemas[: self._num_written])

    def take_over(self, num_committed: int) -> None:
        """Begin with those that a manifest lists, in a file that has no other name."""
        if num_committed:
            first = self._schemas[:num_committed]
            write_schemas(self._folder, self._segment_id, first, is_declared=self._is_declared)
            self._num_written = num_committed
            self._end = spec.SCHEMAS_HEADER_BYTES + len(pack_schemas(first))
        elif self._folder.has(spec.SCHEMAS_NAME):
            self._folder.remove(spec.SCHEMAS_NAME)

    def write(self) -> None:
        """Add what is new: before the records that need it, which a repair may find without a manifest."""
        new = self._schemas[self._num_written :]
        if not new:
            return
        if self._descriptor < 0:
            self._open()
        data = pack_schemas(new)
        files.write_at(self._descriptor, data, self._end)
        self._is_synced = False
        self._end += len(data)
        self._num_written += len(new)

    def sync(self) -> None:
        """Wait for the medium."""
        if not self._is_synced:
            files.sync_data(self._descriptor)
            self._is_synced = True

    def close(self) -> None:
        """Close the file; safe to call again."""
        if self._descriptor >= 0:
            files.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> None:
        if self._num_written:
            self._descriptor = self._folder.open_file(spec.SCHEMAS_NAME, writable=True)
            return
        self._descriptor = self._folder.create(spec.SCHEMAS_NAME)
        head = SchemasHeader(self._segment_id, self._is_declared).pack()
        files.write_at(self._descriptor, head, 0)
        self._end = len(head)
