"""A dataset in an object store as a whole: which manifest is current, and what each lists; for readers.

Manifests are found by listing, and read past the cache. A web server does not list: there the file CURRENT holds the
number of the newest manifest, which may be an older one for a while.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from splitdata._place import is_url
from splitdata.dataset.manifests.directory import DatasetDirectory
from splitdata.errors import FormatError, ManifestError, StoreError
from splitdata.format import spec
from splitdata.format.index import IndexHeader
from splitdata.storage.remote.store_access import StoreAccess

if TYPE_CHECKING:
    from splitdata.format.manifest import Manifest
    from splitdata.storage.folder import Folder
    from splitdata.storage.remote.remote_files import RemoteFiles

__all__ = ["CURRENT_NAME", "RemoteDirectory", "directory_at"]

CURRENT_NAME: Final = "CURRENT"
_MOST_DIGITS: Final = 32


class RemoteDirectory(DatasetDirectory):
    """Looks at one dataset in a store; what only folders have is refused.

    Attributes:
        files: Of the dataset.
    """

    def __init__(self, files: RemoteFiles) -> None:
        self.files = files
        self.paths = files.paths
        self._root = None

    @property
    def is_held(self) -> bool:
        """True: nothing at its path can be taken for a folder of this machine."""
        return True

    @contextmanager
    def opened(self) -> Iterator[Folder]:
        """Refuse: a store has no folders.

        Raises:
            StoreError: Always.
        """
        raise StoreError(
            f"{self.folder} is in an object store, where this cannot be done; `splitdata copy` brings it to this "
            "machine"
        )
        yield  # pragma: no cover

    @contextmanager
    def held(self) -> Iterator[DatasetDirectory]:
        """Give this directory: what a store has stays."""
        yield self

    def generations(self) -> list[int]:
        """Return the numbers of all manifests, ascending; where the store cannot list, of the one that is current.

        Raises:
            StoreError: If the store fails.
        """
        try:
            names = self.files.names()
        except NotImplementedError:
            return self._current()
        numbers = (self.paths.generation_of_name(name) for name in names)
        return sorted(number for number in numbers if number is not None)

    def _current(self) -> list[int]:
        try:
            text = self.files.read_small(CURRENT_NAME, _MOST_DIGITS).decode("ascii", "replace").strip()
        except FileNotFoundError:
            return []
        if not text.isdigit() or not int(text):
            raise ManifestError(f"{self.folder}/{CURRENT_NAME} does not hold the number of a manifest")
        return [int(text)]

    def manifest_bytes(self, generation: int) -> bytes:
        """Return what the manifest with a number holds, unchecked; FileNotFoundError if there is none."""
        return self.files.read_small(self.paths.manifest_name(generation), spec.MAX_MANIFEST_BYTES + 1)

    def read(self, generation: int) -> Manifest:
        """Return the manifest with a number; FileNotFoundError if there is none.

        One that is damaged is asked for once more: the way may have done it.
        """
        with suppress(ManifestError):
            return super().read(generation)
        return super().read(generation)

    def segment_ids(self) -> list[str]:
        """Return the ids of all segments, listed in a manifest or not, sorted; none where the store cannot list."""
        try:
            keys = self.files.keys()
        except NotImplementedError:
            return []
        parts = (key.split("/") for key in keys)
        found = {part[1] for part in parts if len(part) == 3 and part[0] == spec.SEGMENTS_FOLDER}
        return sorted(name for name in found if self.paths.is_segment(name))

    def index_header(self, segment_id: str) -> IndexHeader | None:
        """Return the header of a segment's index, None where it cannot be read."""
        try:
            source = self.files.open(self.paths.segment(segment_id).index)
            return IndexHeader.unpack(source.read(0, spec.INDEX_HEADER_BYTES))
        except (FormatError, OSError):
            return None

    def identify(self, manifest: Manifest) -> None:
        """Have blocks of the segments of a manifest kept under their content, not their names alone."""
        for info in manifest.segments:
            self.files.identify(info.id, f"{info.digest:016x} {info.num_records} {info.stored_bytes} {info.num_bins}")

    def sizes_in(self, segment_id: str) -> dict[str, int]:
        """Return the sizes of the objects of a segment, by their names."""
        is_own = self.paths.segment(segment_id).is_own_name
        return {name: size for name, size in self.files.sizes_in(segment_id).items() if is_own(name)}

    def size_of(self, path: str) -> int:
        """Return the bytes of a file, 0 if there is none."""
        try:
            return self.files.open(path).size
        except FileNotFoundError:
            return 0


def directory_at(place: str, access: StoreAccess | None = None) -> DatasetDirectory:
    """Return how a dataset is reached: in a folder, or in a store.

    Args:
        place: Its name, as `dataset_place` returns it.
        access: To the store; by the environment alone, if not given.
    """
    return RemoteDirectory((access or StoreAccess()).open(place)) if is_url(place) else DatasetDirectory(place)
