"""A write session whose dataset lies in a store: records are staged in a folder, commits send what is sealed there.

    append ──> segment in the staging folder ──commit──> sealed ──> its files are sent ──> next manifest in the store
                 `─ of TMPDIR; holds no more than what lies between two commits

The staging folder has the manifest of the dataset in the store, and none of its segments: so codec, schema and metadata
are checked as in a folder.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from splitdata.dataset.manifests.declared_codec import check_codec, stated_codec
from splitdata.dataset.manifests.directory import DatasetDirectory
from splitdata.dataset.manifests.remote_directory import RemoteDirectory
from splitdata.dataset.stores.send_segments import files_of, send_files
from splitdata.dataset.stores.store_commit import StoreCommitter
from splitdata.dataset.writing.write_session import WriteSession
from splitdata.errors import DatasetExistsError, ManifestError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from splitdata.dataset.writing.session_options import SessionOptions
    from splitdata.format.manifest import Manifest, SegmentInfo
    from splitdata.storage.remote.remote_files import RemoteFiles

__all__ = ["StoreSession", "staging_folder"]

_NUM_WORKERS: Final = 4


class StoreSession(WriteSession):
    """The segments of one session and their way into a manifest in a store."""

    # For an object whose construction has failed.
    _staging = ""

    def __init__(self, files: RemoteFiles, options: SessionOptions, *, single_writer: bool = False) -> None:
        """Look at what is there, and make the staging folder.

        Raises:
            DatasetExistsError: If there is a dataset, and the mode is "create".
            ValueError: If the mode is "resume".
            StoreError: If the store fails.
            What `SplitWriter` raises for a folder.
        """
        if options.mode == "resume":
            raise ValueError(
                f"{files.url}: a session in a store is not resumed, as what was not committed is not there; "
                "use mode='append'"
            )
        self._target = files
        self._store = StoreCommitter(files, single_writer=single_writer)
        self._listed = self._found_in_store(options.mode)
        self._replaces = options.mode == "overwrite"
        self._staging = _new_staging_folder()
        folder = os.path.join(self._staging, "data")
        if self._listed is not None and not self._replaces:
            _stage(folder, self._listed)
        self._staged_generation = 0 if self._listed is None or self._replaces else self._listed.generation
        self._sent: set[str] = set()
        mode = "create" if self._staged_generation == 0 else "append"
        try:
            super().__init__(DatasetDirectory(folder), replace(options, mode=mode))
        except BaseException:
            self._clear()
            raise

    def _found_in_store(self, mode: str) -> Manifest | None:
        found = RemoteDirectory(self._target).newest_or_none()
        if found is not None and mode == "create":
            raise DatasetExistsError(
                f"{self._target.url} is a splitdata dataset; mode='append' adds to it, mode='overwrite' replaces it",
                path=self._target.url,
            )
        return found

    def commit(self, *, seal: bool, metadata: dict[str, Any] | None = None) -> range:
        """Seal what was appended, send it, and list it in the store; returns its positions there."""
        segment = self._segment
        if segment is not None and segment.pending.num_records:
            segment.seal()
        count = len(super().commit(seal=seal, metadata=metadata))
        staged = self._directory.newest_or_none()
        if staged is None or staged.generation == self._staged_generation:
            return range(0)
        known = self._sent | {info.id for info in self._listed.segments} if self._listed else self._sent
        new = tuple(info for info in staged.segments if info.id not in known and info.num_records)
        send_files(self._directory, files_of(self._directory, new), self._target, num_workers=_NUM_WORKERS)
        before = self._listed
        self._listed = self._store.commit(lambda newest: self._following(newest, before, staged, new))
        self._staged_generation, self._replaces = staged.generation, False
        self._sent |= {info.id for info in new}
        for info in new:
            self._unstage(info)
        stop = self._listed.num_records
        return range(stop - count, stop)

    def _following(
        self, newest: Manifest | None, before: Manifest | None, staged: Manifest, new: tuple[SegmentInfo, ...]
    ) -> Manifest:
        """Return the manifest that lists new segments behind those of the newest one, whoever made that."""
        url = self._target.url
        if newest is None:
            if before is not None:
                raise ManifestError(f"{url}: its manifests were removed while this writer worked")
            return replace(staged, generation=1, segments=new)
        if self._replaces:
            return replace(staged, generation=newest.generation + 1, segments=new)
        if before is None:
            raise DatasetExistsError(f"{url}: another program has written a dataset here meanwhile", path=url)
        if newest.dataset_id != before.dataset_id:
            raise ManifestError(f"{url}: the dataset was replaced while this writer was at work")
        check_codec(newest, stated_codec(staged.metadata))
        if newest.schema not in (None, staged.schema):
            raise ManifestError(f"{url}: another program has declared a schema meanwhile; nothing was committed")
        changed = {name: value for name, value in staged.metadata.items() if before.metadata.get(name) != value}
        return replace(
            staged,
            generation=newest.generation + 1,
            segments=(*newest.segments, *new),
            metadata=newest.metadata | changed,
            schemas=newest.schemas,
            others=newest.others,
        )

    def _unstage(self, info: SegmentInfo) -> None:
        """Let go of the files of a segment that is in the store; its name stays."""
        paths = self._directory.paths.segment(info.id)
        for number in range(info.num_bin_files):
            with suppress(OSError):
                os.unlink(paths.bin(number))

    def fold(self) -> None:
        """Fold nothing: what is in the store stays as it is."""
        self._close_segment()

    def close(self) -> None:
        """Release all files, and remove the staging folder; safe to call again."""
        try:
            super().close()
        finally:
            self._clear()

    def _clear(self) -> None:
        if self._staging:
            # Imported here, as above.
            import shutil

            shutil.rmtree(self._staging, ignore_errors=True)
            self._staging = ""


@contextmanager
def staging_folder() -> Iterator[str]:
    """Give a new folder of TMPDIR, which is gone with all that is in it when the block ends."""
    folder = _new_staging_folder()
    try:
        yield folder
    finally:
        # Imported here, as above.
        import shutil

        shutil.rmtree(folder, ignore_errors=True)


def _new_staging_folder() -> str:
    # Imported here, as most writers write to folders.
    import tempfile

    return tempfile.mkdtemp(prefix="splitdata-staging-")


def _stage(folder: str, manifest: Manifest) -> None:
    os.makedirs(folder)
    directory = DatasetDirectory(folder)
    with open(directory.paths.manifest(manifest.generation), "xb") as file:
        file.write(manifest.encode())
