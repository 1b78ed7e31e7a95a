"""A dataset directory as a whole: which manifest is current, and what may be touched in it.

All who remove or cut what a writer has left, even their own, keep one rule: what the newest manifest lists is
not theirs. They ask `listing`, or let `remove_segment` ask, at that moment. Their own memory is no proof: a
commit that failed, or was interrupted, may have been made.

    DIR/manifest.0000000041.json
        manifest.0000000042.json     <- highest number = current
        segments/<32 hex>/           folders that the manifest lists, and those of writers at work
        README, .DS_Store, ...       strays: ignored, and left alone
        anything else                is foreign: then nobody writes here, and nothing is removed
"""

from __future__ import annotations

import math
import os
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Final

from splitdata._local_path import local_path
from splitdata.errors import DatasetNotFoundError, FormatError, ManifestError, UnsupportedVersionError
from splitdata.format import spec
from splitdata.format.index import IndexHeader
from splitdata.format.manifest import Manifest, SegmentInfo
from splitdata.storage import files
from splitdata.storage.folder import Folder
from splitdata.storage.paths import DatasetPaths, is_stray

if TYPE_CHECKING:
    from collections.abc import Iterator

    from splitdata.storage.locked_file import LockedFile

__all__ = ["DatasetDirectory"]

# A manifest may vanish between listing and opening, when writers commit fast; each try sees a newer one.
_MAX_TRIES: Final = 100


class DatasetDirectory:
    """Looks at one directory; keeps no state, and holds nothing open but for what `held` gives."""

    def __init__(self, folder: str | os.PathLike[str], root: Folder | None = None) -> None:
        """Take the path, and the folder itself if it is open already; the caller closes that."""
        self.paths = DatasetPaths(local_path(folder))
        self._root = root

    @property
    def folder(self) -> str:
        """The directory, as an absolute path."""
        return self.paths.folder

    @property
    def is_held(self) -> bool:
        """Whether the folder itself is open: then it is there, and what has its path is not asked for."""
        return self._root is not None

    @contextmanager
    def opened(self) -> Iterator[Folder]:
        """Open the directory: what is in it is reached through this, and through no link.

        Raises:
            FileNotFoundError, NotADirectoryError: If there is none.
        """
        if self._root is not None:
            yield self._root
            return
        with Folder.open(self.folder) as root:
            yield root

    @contextmanager
    def held(self) -> Iterator[DatasetDirectory]:
        """Give this directory, of which all steps lead to the folder that has its name now.

        Raises:
            DatasetNotFoundError: If there is no such directory.
        """
        with ExitStack() as stack:
            with self._told_of_none():
                root = stack.enter_context(self.opened())
            yield DatasetDirectory(self.folder, root)

    @contextmanager
    def _told_of_none(self) -> Iterator[None]:
        """Turn the error for a missing directory into one that says so."""
        try:
            yield
        except FileNotFoundError:
            raise DatasetNotFoundError(f"{self.folder} does not exist", path=self.folder) from None
        except NotADirectoryError:
            raise DatasetNotFoundError(
                f"{self.folder} is a file; a splitdata dataset is a directory", path=self.folder
            ) from None

    def open_segments(self) -> Folder:
        """Open the folder of all segments; the caller closes it.

        Raises:
            FormatError: If it is a link.
            FileNotFoundError, NotADirectoryError: If there is none.
        """
        with self.opened() as root:
            return root.sub(spec.SEGMENTS_FOLDER)

    def open_segment(self, segment_id: str) -> Folder:
        """Open the folder of a segment; the caller closes it. Raises as `open_segments`."""
        with self.open_segments() as segments:
            return segments.sub(segment_id)

    def has_segment(self, segment_id: str) -> bool:
        """Say whether there is the folder of a segment; FormatError if the one of all segments is a link."""
        try:
            with self.open_segments() as segments:
                return segments.has_folder(segment_id)
        except (FileNotFoundError, NotADirectoryError):
            return False

    def generations(self) -> list[int]:
        """Return the numbers of all manifests, ascending.

        Raises:
            DatasetNotFoundError: If there is no such directory.
        """
        with self._told_of_none(), self.opened() as root:
            names = root.names()
        numbers = (self.paths.generation_of_name(name) for name in names)
        return sorted(number for number in numbers if number is not None)

    def read(self, generation: int) -> Manifest:
        """Return the manifest with a number; FileNotFoundError if there is none."""
        path = self.paths.manifest(generation)
        try:
            manifest = Manifest.decode(self.manifest_bytes(generation))
            if manifest.generation != generation:
                raise ManifestError(f"the manifest says that it is generation {manifest.generation}")
        except ManifestError as error:
            raise ManifestError(
                f"{path}: {error}; nothing was changed, `splitdata repair {self.folder}` makes it again from the data",
                path=path,
            ) from None
        except FormatError as error:
            hint = "" if isinstance(error, UnsupportedVersionError) else "; move it away"
            raise type(error)(f"{path}: {error}{hint}", path=path) from None
        return manifest

    def manifest_bytes(self, generation: int) -> bytes:
        """Return what the manifest with a number holds, unchecked; FileNotFoundError if there is none."""
        with self.opened() as root:
            descriptor = root.open_file(self.paths.manifest_name(generation))
        try:
            return files.read_at(descriptor, spec.MAX_MANIFEST_BYTES + 1, 0)
        finally:
            files.close(descriptor)

    def newest(self) -> Manifest:
        """Return the current manifest.

        Raises:
            DatasetNotFoundError: If there is no dataset here.
            ManifestError: If the current manifest is damaged, or all manifests are gone.
        """
        for _ in range(_MAX_TRIES):
            generations = self.generations()
            if not generations:
                has_lost_it = self.has_committed_segments()
                # The first commit may have been made between the two looks, so it is looked again.
                if has_lost_it and self.generations():
                    continue
                raise self._without_manifest(has_lost_it=has_lost_it)
            try:
                return self.read(generations[-1])
            except FileNotFoundError:
                continue
        raise ManifestError(f"{self.folder}: the manifests change faster than they can be read", path=self.folder)

    def newest_or_none(self) -> Manifest | None:
        """Return the current manifest, None where nothing was committed yet."""
        return self.newest() if self.generations() else None

    def _without_manifest(self, *, has_lost_it: bool) -> Exception:
        if has_lost_it:
            return ManifestError(
                f"{self.folder} holds segments but no manifest: it was deleted; "
                f"`splitdata repair --adopt {self.folder}` makes it again from them",
                path=self.folder,
            )
        unfinished = ""
        ids = self.segment_ids()
        if any(map(self.is_waiting_part, ids)):
            unfinished = "; parts of one wait here for their commit: `splitdata commit` or commit_parts makes it"
        elif ids:
            unfinished = (
                "; a writer began here and has not committed yet, or else the manifest was deleted: then "
                f"`splitdata repair --adopt {self.folder}` makes it again from what is left"
            )
        return DatasetNotFoundError(
            f"{self.folder} is not a splitdata dataset: it has no manifest.*.json{unfinished}", path=self.folder
        )

    def segment_ids(self) -> list[str]:
        """Return the ids of all segment folders, listed in a manifest or not, sorted."""
        try:
            with self.open_segments() as segments:
                names = segments.names()
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(name for name in names if self.paths.is_segment(name))

    def index_header(self, segment_id: str) -> IndexHeader | None:
        """Return the header of a segment's index, None where it cannot be read."""
        try:
            with self.open_segment(segment_id) as folder:
                descriptor = folder.open_file(spec.INDEX_NAME)
            try:
                return IndexHeader.unpack(files.read_at(descriptor, spec.INDEX_HEADER_BYTES, 0))
            finally:
                files.close(descriptor)
        except (FormatError, OSError):
            return None

    def is_waiting_part(self, segment_id: str) -> bool:
        """Say whether a segment is a sealed part that no commit has listed yet, by its own files."""
        try:
            with self.open_segment(segment_id) as folder:
                if not folder.has(spec.PART_NAME):
                    return False
        except (FormatError, OSError):
            return False
        header = self.index_header(segment_id)
        return header is not None and header.awaits_first_commit

    def is_unfinished_part(self, segment_id: str) -> bool:
        """Say whether a segment is a part that is being written, or that a killed writer has left."""
        try:
            with self.open_segment(segment_id) as folder:
                return folder.has(spec.PART_SCRATCH_NAME) and not folder.has(spec.PART_NAME)
        except (FormatError, OSError):
            return False

    def sizes_in(self, segment_id: str) -> dict[str, int]:
        """Return the sizes of the files of a segment, by their names: what can be a segment's, whoever lists it.

        Raises:
            FormatError: If its folder is a link.
            FileNotFoundError: If there is none.
        """
        is_own = self.paths.segment(segment_id).is_own_name
        with self.open_segment(segment_id) as folder:
            return {name: folder.size_of(name) for name in folder.names() if is_own(name)}

    def size_of(self, path: str) -> int:
        """Return the bytes of a file, 0 if there is none."""
        with suppress(OSError):
            return os.stat(path).st_size
        return 0

    def has_committed_segments(self) -> bool:
        """Say whether any segment lies in what was a dataset: its index header counts records, and says so."""
        headers = (self.index_header(segment_id) for segment_id in self.segment_ids())
        return any(header and header.num_records and not header.awaits_first_commit for header in headers)

    def names(self) -> list[str]:
        """Return all that lies in the directory, but for strays."""
        with self.opened() as root:
            return [name for name in root.names() if not is_stray(name)]

    def foreign_names(self) -> list[str]:
        """Return what lies in the directory, or among the segments, that is not splitdata's."""
        with self.opened() as root:
            foreign = []
            for name in root.names():
                if name == spec.SEGMENTS_FOLDER:
                    # The writer that has made it may take it away meanwhile: so a folder first, then nothing at all.
                    is_known = root.has_folder(name) or not root.has(name)
                else:
                    is_known = self.paths.generation_of_name(name) is not None or self.paths.is_scratch(name)
                if not is_known and not is_stray(name):
                    foreign.append(name)
            if spec.SEGMENTS_FOLDER not in foreign:
                with suppress(FileNotFoundError, NotADirectoryError), root.sub(spec.SEGMENTS_FOLDER) as segments:
                    foreign += [f"{spec.SEGMENTS_FOLDER}/{name}" for name in self._foreign_segments(segments)]
        return sorted(foreign)

    def _foreign_segments(self, segments: Folder) -> list[str]:
        foreign = []
        for name in segments.names():
            # A segment may be removed, by the writer that folded it, while this looks around: so in this order.
            is_other = not segments.has_folder(name) and segments.has(name)
            if not is_stray(name) and (is_other or not self.paths.is_segment(name)):
                foreign.append(name)
        return foreign

    def listing(self, segment_id: str) -> SegmentInfo | None:
        """Return what the newest manifest says of a segment, None if it does not list it, or there is none.

        Raises:
            OSError, FormatError: If it cannot be read; then nothing may be removed or cut.
        """
        newest = self.newest_or_none()
        return newest.find(segment_id) if newest else None

    def remove_manifest(self, generation: int) -> None:
        """Remove a manifest; whose it is, and that nobody needs it, is for the caller to know."""
        with self.opened() as root:
            root.remove(self.paths.manifest_name(generation))

    def remove_segment(self, segment_id: str, *, if_damaged: bool = False, part_seconds: float = math.inf) -> bool:
        """Remove a segment, unless the newest manifest lists it or a writer is at work in it; True if it is gone.

        Where that manifest is damaged, or all are gone, nothing is removed, unless `if_damaged` says so: a repair
        that makes it again has found out what it lists. A sealed part may still be committed: it is removed if it was
        sealed, or last taken for a commit, `part_seconds` ago.

        Raises:
            FormatError: If its folder, or that of all segments, is a link; nothing was removed.
        """
        try:
            segments = self.open_segments()
        except FileNotFoundError:
            return not self._is_kept(segment_id, if_damaged=if_damaged)
        with segments:
            try:
                folder = segments.sub(segment_id)
            except FileNotFoundError:
                return not self._is_kept(segment_id, if_damaged=if_damaged)
            with folder:
                is_gone = self._empty_segment(folder, segment_id, if_damaged=if_damaged, part_seconds=part_seconds)
            if is_gone:
                with suppress(OSError):
                    # A stray in it stays, and so does the folder, in which nothing of ours is left.
                    segments.remove_directory(segment_id)
        return is_gone

    def _empty_segment(self, folder: Folder, segment_id: str, *, if_damaged: bool, part_seconds: float) -> bool:
        """Remove what is ours from the folder of a segment, under its lock; False if it must stay."""
        lock: LockedFile | None = None
        with suppress(FileNotFoundError):
            lock = folder.open_locked(spec.INDEX_NAME)
            if lock is None:
                return False
        try:
            # Asked under the lock: its last holder may have committed just before it released the lock.
            if self._is_kept(segment_id, if_damaged=if_damaged) or _is_young_part(folder, part_seconds):
                return False
            is_own = self.paths.segment(segment_id).is_own_name
            # A folder by the name of a file is a stray, with all in it.
            names = [name for name in folder.names() if is_own(name) and not folder.has_folder(name)]
            # The index, which holds the lock, goes last: without it the bins would look like a lost segment.
            for name in sorted(names, key=lambda name: name == spec.INDEX_NAME):
                folder.remove(name)
        finally:
            if lock is not None:
                lock.close()
        return True

    def _is_kept(self, segment_id: str, *, if_damaged: bool) -> bool:
        """Say whether the newest manifest lists a segment, or may do so as it cannot be read."""
        try:
            return self.listing(segment_id) is not None
        except FormatError:
            return not if_damaged


def _is_young_part(folder: Folder, part_seconds: float) -> bool:
    """Say whether the folder of a segment is that of a part which was sealed, or taken for a commit, since then."""
    if part_seconds <= 0 or not folder.has(spec.PART_NAME):
        return False
    with suppress(FileNotFoundError):
        # A commit writes the header of the index, under the lock that is held here.
        return time.time() - folder.written_at(spec.INDEX_NAME) < part_seconds
    return False
