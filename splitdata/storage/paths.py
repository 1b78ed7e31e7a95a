"""Names: where the parts of a dataset lie. They are computed; none is ever read from a file.

So nothing that a file says can lead a reader or a writer out of the dataset's folder.

    DIR/manifest.0000000042.json
        segments/<32 hex>/index
                          keys, keys.open
                          deleted.<16 hex>
                          000000.bin
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from splitdata.errors import FormatError
from splitdata.format import spec

__all__ = ["DatasetPaths", "SegmentPaths", "is_stray"]

_MANIFEST: Final = re.compile(r"manifest\.([0-9]{10})\.json")
_SCRATCH: Final = re.compile(r"manifest\.[0-9a-f]{32}\.tmp")
_SEGMENT: Final = re.compile(r"[0-9a-f]{32}")
_SEGMENT_NAMES: Final = frozenset(
    (
        spec.INDEX_NAME,
        spec.INDEX_SCRATCH_NAME,
        spec.KEYS_NAME,
        spec.OPEN_KEYS_NAME,
        spec.KEYS_SCRATCH_NAME,
        spec.OPEN_KEYS_SCRATCH_NAME,
        spec.DELETED_SCRATCH_NAME,
        spec.SCHEMAS_NAME,
        spec.SCHEMAS_SCRATCH_NAME,
        spec.PART_NAME,
        spec.PART_SCRATCH_NAME,
    )
)
_DELETED: Final = re.compile(re.escape(spec.DELETED_PREFIX) + "([0-9a-f]{16})")
_BIN: Final = re.compile(r"([0-9]{6,8})\.bin")
# What file managers, file systems, version control and people put into any folder.
_STRAY: Final = re.compile(
    r"\._.*|\.DS_Store|\.localized|Thumbs\.db|desktop\.ini|\.directory|@eaDir|\.nfs.*|\.fuse_hidden.*|\.smbdelete.*"
    r"|lost\+found|\.snapshots?|\.Trash-.*|\.gitkeep|\.gitignore|\.gitattributes|README(\..*)?",
    re.DOTALL,
)


def is_stray(name: str) -> bool:
    """Say whether a file or folder of this name is nobody's data: it may lie beside ours, and is left alone."""
    return _STRAY.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class SegmentPaths:
    """The files of one segment."""

    folder: str

    @property
    def dataset_folder(self) -> str:
        """The directory of the dataset."""
        return os.path.dirname(os.path.dirname(self.folder))

    @property
    def index(self) -> str:
        """The index."""
        return os.path.join(self.folder, spec.INDEX_NAME)

    @property
    def keys(self) -> str:
        """The keys of a sealed segment."""
        return os.path.join(self.folder, spec.KEYS_NAME)

    @property
    def open_keys(self) -> str:
        """The keys of a segment that is not sealed."""
        return os.path.join(self.folder, spec.OPEN_KEYS_NAME)

    def deleted(self, list_hash: int) -> str:
        """The list of deleted records that has a hash."""
        return os.path.join(self.folder, self.deleted_name(list_hash))

    @staticmethod
    def deleted_name(list_hash: int) -> str:
        """The name of the list of deleted records that has a hash."""
        return f"{spec.DELETED_PREFIX}{list_hash:016x}"

    @staticmethod
    def deleted_of_name(name: str) -> int | None:
        """Return the hash of the list of deleted records that has this name, None if it is not the name of one."""
        match = _DELETED.fullmatch(name)
        return int(match[1], 16) if match else None

    @property
    def schemas(self) -> str:
        """The schemas of its samples."""
        return os.path.join(self.folder, spec.SCHEMAS_NAME)

    @property
    def part(self) -> str:
        """What makes the segment a part."""
        return os.path.join(self.folder, spec.PART_NAME)

    def bin(self, bin_index: int) -> str:
        """One bin."""
        return os.path.join(self.folder, self.bin_name(bin_index))

    @staticmethod
    def bin_name(bin_index: int) -> str:
        """The name of one bin; six digits, more where a segment has more than a million bins."""
        return f"{bin_index:06d}.bin"

    def refuse_links(self) -> None:
        """Raise FormatError if a folder on the way to the files is a link; only the dataset itself may be one."""
        folder = self._linked_folder()
        if folder is not None:
            raise FormatError(f"{folder} is a symbolic link; none is followed inside a dataset", path=folder)

    def _linked_folder(self) -> str | None:
        return next(filter(os.path.islink, (os.path.dirname(self.folder), self.folder)), None)

    def sizes_of_bins(self) -> dict[int, int]:
        """Return the sizes of the bins that exist, by number: what is there, whatever a manifest says of it.

        What lies behind a link is not there.
        """
        sizes: dict[int, int] = {}
        if self._linked_folder():
            return sizes
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(self.folder) as names:
            for entry in names:
                number = self.bin_of_name(entry.name)
                if number is not None:
                    with suppress(FileNotFoundError):
                        sizes[number] = entry.stat(follow_symlinks=False).st_size
        return sizes

    @staticmethod
    def bin_of_name(name: str) -> int | None:
        """Return the number of the bin that has this name, None if it is not the name of a bin."""
        match = _BIN.fullmatch(name)
        return int(match[1]) if match and SegmentPaths.bin_name(int(match[1])) == name else None

    @staticmethod
    def is_own_name(name: str) -> bool:
        """Say whether a file of this name can be a segment's."""
        if name in _SEGMENT_NAMES or SegmentPaths.deleted_of_name(name) is not None:
            return True
        return SegmentPaths.bin_of_name(name) is not None


@dataclass(frozen=True, slots=True)
class DatasetPaths:
    """The files of one dataset directory."""

    folder: str

    def manifest(self, generation: int) -> str:
        """The manifest with this number."""
        return os.path.join(self.folder, self.manifest_name(generation))

    @staticmethod
    def manifest_name(generation: int) -> str:
        """The name of the manifest with this number."""
        return f"manifest.{generation:010d}.json"

    @staticmethod
    def scratch_name(token: str) -> str:
        """The name under which a manifest is written before it gets its number, on systems without unnamed files."""
        return f"manifest.{token}.tmp"

    @property
    def segments(self) -> str:
        """The folder of all segments."""
        return os.path.join(self.folder, spec.SEGMENTS_FOLDER)

    def segment(self, segment_id: str) -> SegmentPaths:
        """The files of one segment."""
        return SegmentPaths(os.path.join(self.segments, segment_id))

    @staticmethod
    def generation_of_name(name: str) -> int | None:
        """Return the number of the manifest that has this name, None if it is not the name of a manifest."""
        match = _MANIFEST.fullmatch(name)
        # The first one has number 1.
        return (int(match[1]) or None) if match else None

    @staticmethod
    def is_scratch(name: str) -> bool:
        """Say whether this is the name of an unfinished manifest."""
        return _SCRATCH.fullmatch(name) is not None

    @staticmethod
    def is_segment(name: str) -> bool:
        """Say whether this can be the folder of a segment."""
        return _SEGMENT.fullmatch(name) is not None
