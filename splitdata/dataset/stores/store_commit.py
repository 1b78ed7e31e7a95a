"""A commit in a store: a manifest is made under the next number, only if nothing has it.

    newest ──> next manifest ──> create ── refused: a rival was faster ──> newest ...
                                    `─ the answer got lost? what lies there is ours ──> committed

That the store keeps to "only if" is found out before the first commit of each writer, but for a folder, which does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from splitdata.dataset.manifests.remote_directory import RemoteDirectory
from splitdata.errors import ManifestError, StoreError
from splitdata.format import spec

if TYPE_CHECKING:
    from splitdata.format.manifest import Manifest
    from splitdata.storage.remote.remote_files import RemoteFiles

__all__ = ["StoreCommitter"]

_MAX_TRIES: Final = 100


class StoreCommitter:
    """Makes the manifests of one dataset in a store."""

    def __init__(self, files: RemoteFiles, *, single_writer: bool = False, is_trusted: bool = False) -> None:
        """Say who else writes.

        Args:
            files: Of the dataset.
            single_writer: Nobody else does, and the store need not see to it.
            is_trusted: The store is known to make an object only if there is none.

        Raises:
            StoreError: If the store fails, or is one that is only read.
        """
        try:
            files.names()
        except NotImplementedError:
            raise StoreError(
                f"{files.url}: what does not list what it has, as a web server, is only read; write to s3://, gs:// or "
                "az://"
            ) from None
        self.directory = RemoteDirectory(files)
        self._files = files
        self._single_writer = single_writer
        self._is_checked = single_writer or is_trusted

    def commit(self, following: Callable[[Manifest | None], Manifest]) -> Manifest:
        """Make the next manifest, and return it.

        Args:
            following: Returns it, given the newest one or None. Called again where a rival was faster.

        Raises:
            StoreError: If the store fails, or does not keep to conditions.
            What `following` raises; nothing was changed then.
        """
        for _ in range(_MAX_TRIES):
            newest = self.directory.newest_or_none()
            manifest = following(newest)
            if not self._is_checked:
                self._files.check_conditions()
                self._is_checked = True
            if manifest.generation > spec.MAX_GENERATION:
                raise ManifestError(f"{self._files.url} is at generation {spec.MAX_GENERATION}, the last there is")
            name = self.directory.paths.manifest_name(manifest.generation)
            if self._files.create(name, manifest.encode(), alone=self._single_writer):
                return manifest
        raise ManifestError(f"{self._files.url}: other writers commit faster than this one can; try again")
