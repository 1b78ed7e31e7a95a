"""The schemas of a segment as its file and the manifest have them; each is made again from the other.

The manifest says what counts, where it lists the segment as it is; the file is what remains where it was lost.

    manifest lists the segment    ──its schemas──> file, made again where it does not begin with them
    lost, or records are adopted  <──all intact ones of the file──
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from splitdata.dataset.segments.schema_file import read_schemas, write_schemas
from splitdata.errors import FormatError
from splitdata.format.schemas import fit_together

if TYPE_CHECKING:
    from splitdata.format.manifest import SegmentInfo
    from splitdata.storage.folder import Folder

__all__ = ["SchemasOnDisk"]


class SchemasOnDisk:
    """The file of a segment, and what the manifest is going to list.

    Attributes:
        info: The segment with its schemas, more than before where records came that nobody had listed.
        declared: The schema that the file says the dataset declares, None if it says none.
        is_intact: Whether the file begins with what the manifest lists.
    """

    def __init__(self, folder: Folder, info: SegmentInfo, *, is_grown: bool) -> None:
        """Read the file.

        Args:
            folder: Of the segment.
            info: As it is going to be listed.
            is_grown: It has records that no intact manifest lists, whose schemas only the file may have.
        """
        self._folder = folder
        found: list[bytes] = []
        is_declared = False
        # One that is damaged, or missing, counts as empty.
        with suppress(FormatError):
            found, is_declared = read_schemas(folder, info.id)
        if is_grown and len(found) > len(info.schemas) and fit_together(found, info.schemas):
            info = replace(info, schemas=tuple(found))
        self.info = info
        self.declared = found[0] if found and is_declared else None
        self.is_intact = tuple(found[: len(info.schemas)]) == info.schemas

    def rebuild(self, declared: bytes | None) -> None:
        """Make the file again from what the manifest lists, in a dataset that declares a schema, or none."""
        schemas = self.info.schemas
        write_schemas(self._folder, self.info.id, schemas, is_declared=bool(schemas) and schemas[0] == declared)
