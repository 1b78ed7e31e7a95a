"""The folder that a session writes in: found by its path once, held open from then on.

    path ── made, or allowed by the mode? ──> open ──> all steps of the session go through it
                                               |
        moved, another in its place  <── commit: has it its path still? ──> ManifestError
        taken away while it was empty, by a writer that gave up ──> made again

So what takes the path meanwhile, be it a link, is neither written to nor cleared away.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from splitdata.dataset.manifests.directory import DatasetDirectory
from splitdata.dataset.writing.destination import check_destination
from splitdata.errors import DatasetExistsError, DatasetNotFoundError, ManifestError
from splitdata.format import spec
from splitdata.storage import files
from splitdata.storage.folder import Folder
from splitdata.storage.made_folder import make_folder

if TYPE_CHECKING:
    from splitdata.format.manifest import Manifest

__all__ = ["ClaimedFolder"]

# Writers that give up take the empty folders with them that they have made, under another's feet.
MAX_TRIES: Final = 100


class ClaimedFolder:
    """One that a session may write in, open until it is closed; without a commit, what it made is removed.

    Attributes:
        directory: The dataset, reached through the open folder.
        found: The manifest of the dataset to extend, None where a dataset begins.
    """

    def __init__(self, directory: DatasetDirectory, mode: str, *, durable: bool) -> None:
        """Make the directory, or check that the mode allows what is there, and that files can be made in it.

        Args:
            directory: Where to write; if its folder is open already, the caller closes it.
            mode: Of the writer.
            durable: Whether names that are made must survive a loss of power.

        Raises:
            As `SplitWriter` says.
        """
        self.directory = directory
        self._mode = mode
        self._durable = durable
        # None where the folder is another's to close: then it is not this one's to make or remove either.
        self._root: Folder | None = None
        self._is_given = directory.is_held
        self._has_made_folder = False
        self._has_made_segments = False
        self.found: Manifest | None = None
        try:
            self._claim()
        except BaseException:
            self.close()
            raise

    def _claim(self) -> None:
        tries = MAX_TRIES
        while True:
            tries -= 1
            try:
                self._try_claim()
            except FileNotFoundError:
                if not tries:
                    raise
            else:
                return

    def _try_claim(self) -> None:
        if not self._is_given:
            self._has_made_folder |= self._make_folder()
            self._hold(Folder.open(self.directory.folder))
        directory = self.directory
        check_destination(directory, self._mode)
        with directory.opened() as root:
            # Now rather than at the commit, when all is written.
            root.check_writable()
            if root.make(spec.SEGMENTS_FOLDER):
                self._has_made_segments = True
            elif self._mode == "create" and not self._has_made_segments:
                raise DatasetExistsError(
                    f"{directory.folder}: another program began to write here meanwhile", path=directory.folder
                )
            with root.sub(spec.SEGMENTS_FOLDER) as segments:
                segments.check_writable()
        self.found = directory.newest_or_none() if self._mode in ("append", "resume") else None

    def _make_folder(self) -> bool:
        folder = self.directory.folder
        try:
            return make_folder(folder, durable=self._durable)
        except FileExistsError as error:
            # It may be the folder that should hold it.
            file = error.filename or folder
            raise DatasetExistsError(f"{file} is a file; a dataset is a directory", path=folder) from None

    def _hold(self, root: Folder) -> None:
        old, self._root = self._root, root
        self.directory = DatasetDirectory(self.directory.folder, root)
        if old is not None:
            old.close()

    def check_in_place(self) -> None:
        """Raise if the folder is no longer the one that its path leads to.

        Raises:
            DatasetNotFoundError: If it was removed.
            ManifestError: If it was moved, or replaced.
        """
        root = self._root
        if root is None or root.is_in_place():
            return
        folder = self.directory.folder
        try:
            # Nothing can be made in a folder that was removed, be there another by now.
            root.make(spec.SEGMENTS_FOLDER)
        except FileNotFoundError:
            raise DatasetNotFoundError(f"{folder} was removed while it was written", path=folder) from None
        raise ManifestError(
            f"{folder} was moved or replaced while it was written: what was not committed yet is not committed now, "
            "and nothing was changed in what has its name; write it again",
            path=folder,
        )

    def make_again(self) -> None:
        """Make folders again that were taken away while they were empty; not those of a dataset that was deleted.

        Raises:
            FileNotFoundError: If they were part of one, or are taken away each time.
            FormatError, DatasetExistsError: If something else has their place by now.
        """
        tries = MAX_TRIES if self.found is None else 1
        while True:
            tries -= 1
            try:
                with self.directory.opened() as root:
                    root.make(spec.SEGMENTS_FOLDER)
            except FileNotFoundError:
                if not tries or self._is_given:
                    raise
                self._open_again()
            else:
                return

    def _open_again(self) -> None:
        """Open what has the place of the folder that was removed: made now, or by another writer that has begun."""
        folder = self.directory.folder
        self._make_folder()
        try:
            with Folder.open(os.path.dirname(folder)) as parent:
                root = parent.sub(os.path.basename(folder))
        except FileNotFoundError:
            # And taken away again, before there was anything in it.
            return
        try:
            directory = DatasetDirectory(folder, root)
            check_destination(directory, "append")
            if self._mode in ("create", "overwrite") and directory.generations():
                raise DatasetExistsError(f"{folder}: another program has written a dataset here meanwhile", path=folder)
        except BaseException:
            root.close()
            raise
        self._hold(root)

    def remove_made(self) -> None:
        """Remove the folders that were made, if they are empty; a writer that has begun there makes them again.

        Raises:
            OSError: If they are not empty.
        """
        root = self._root
        if root is None:
            # In a folder that is another's, that of the segments stays, empty.
            return
        if self._has_made_segments:
            root.remove_directory(spec.SEGMENTS_FOLDER)
        if self._has_made_folder and root.is_in_place():
            files.remove_directory(self.directory.folder)

    def close(self) -> None:
        """Close the folder, if it is this one's to close; safe to call again."""
        if self._root is not None:
            self._root.close()

    def readable(self) -> DatasetDirectory:
        """Return the dataset to read: by its path where the folder is held no more."""
        return self.directory if self._root is None or self._root.is_open else DatasetDirectory(self.directory.folder)
