"""The keys of a segment under construction, in bounded memory.

    add ──> arrays, up to a million keys ──> run in keys.open, in no directory yet
    flush   arrays and such runs ─> one run; is any key there already? ─> directory: a commit counts from here
    seal    all runs ─> one run in keys

Runs of about one size are merged, eight at a time, so that a search, and the next flush, meets few.
What is committed is never changed: a merged run is written behind the others.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from splitdata.dataset.keys.sorted_keys import SortedKeysReader, SortedKeysWriter, Uniqueness, merge
from splitdata.errors import FormatError
from splitdata.format import spec
from splitdata.format.keys import (
    FOOTER_BYTES,
    KeyRun,
    KeysHeader,
    directory_bytes,
    pack_directory,
    parse_directory,
    parse_footer,
)
from splitdata.storage import files
from splitdata.storage.replace import cut_sole, make_sole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from splitdata.dataset.keys.sorted_keys import Pairs
    from splitdata.storage.folder import Folder

__all__ = ["KeyBuilder", "KeyMark"]

# Keys that wait in memory, 12 bytes each.
_MOST_WAITING_KEYS: Final = 1 << 20
_MERGED_RUNS: Final = 8


class KeyMark(NamedTuple):
    """Where a builder stands when all its keys are under a directory; nobody changes it."""

    runs: tuple[KeyRun, ...] = ()
    keys_end: int = 0
    num_keys: int = 0


class KeyBuilder:
    """Collects hashes of keys with sequence numbers; for one thread at a time.

    Attributes:
        num_keys: Keys added.
    """

    def __init__(
        self,
        folder: Folder,
        open_name: str,
        sealed_name: str,
        segment_id: str,
        read_key: Callable[[int], bytes] | None,
        *,
        first_number: int = 0,
    ) -> None:
        """Take the names of the files; none is made before there is a key.

        Args:
            folder: The folder of the segment, whose lock is held; the caller closes it.
            open_name: Of the file that grows with each commit.
            sealed_name: Of the file that sealing makes.
            segment_id: For their headers.
            read_key: Reads the key of an appended record back, where two have one hash; None where
                all keys are known to differ.
            first_number: Number in the write session of the segment's first record, for messages.
        """
        self.num_keys = 0
        self._folder = folder
        self._open_name = open_name
        self._sealed_name = sealed_name
        self._header = KeysHeader(segment_id).pack()
        self._read_key = read_key
        self._first_number = first_number
        self._waiting: list[Pairs] = []
        self._num_waiting = 0
        # In keys.open: runs that a directory lists, those that none lists yet, and the end of the file.
        self._runs: list[KeyRun] = []
        self._unlisted: list[KeyRun] = []
        self._end = 0
        self._keys_end = 0
        self._descriptor = -1
        self._sealed_bytes = 0
        self._sealed_descriptor = -1

    @property
    def keys_bytes(self) -> int:
        """Where the newest directory ends in its file, 0 if there is no key."""
        return self._sealed_bytes or self._keys_end

    def add(self, hashes: NDArray[np.uint64], sequences: NDArray[np.uint32]) -> None:
        """Take the keys of appended records."""
        self._waiting.append((hashes, sequences))
        self._num_waiting += len(hashes)
        self.num_keys += len(hashes)
        if self._num_waiting >= _MOST_WAITING_KEYS:
            pairs = self._sorted_waiting()
            self._unlisted.append(self._write_run([pairs]))
            self._waiting, self._num_waiting = [], 0

    def take_over(self, num_keys: int, keys_bytes: int) -> None:
        """Go on where a writer that died had made its last commit; what lies behind it is cut off.

        Raises:
            FormatError: If the file is missing or damaged. Nothing was changed then.
        """
        if not num_keys:
            self._folder.remove(self._open_name)
            self._folder.remove(self._sealed_name)
            return
        path = self._folder.path_of(self._open_name)
        try:
            descriptor = self._folder.open_file(self._open_name, writable=True)
        except FileNotFoundError:
            raise FormatError(f"{path} does not exist", path=path) from None
        try:
            self._runs = self._runs_before(descriptor, keys_bytes)
            sole = make_sole(self._folder, self._open_name, descriptor, spec.OPEN_KEYS_SCRATCH_NAME)
            if sole != descriptor:
                files.close(descriptor)
                descriptor = sole
            files.truncate(descriptor, keys_bytes)
        except FormatError as error:
            files.close(descriptor)
            raise FormatError(f"{path}: {error}", path=path) from None
        except BaseException:
            files.close(descriptor)
            raise
        # The keys that it had sealed and not committed.
        self._folder.remove(self._sealed_name)
        self._descriptor = descriptor
        self.num_keys = num_keys
        self._end = self._keys_end = keys_bytes

    @staticmethod
    def _runs_before(descriptor: int, end: int) -> list[KeyRun]:
        """Read the directory that ends at a byte, and prove that its runs are there."""
        if end > files.size_of(descriptor):
            raise FormatError(f"it has {files.size_of(descriptor)} of {end} bytes")
        length = directory_bytes(parse_footer(files.read_at(descriptor, FOOTER_BYTES, max(0, end - FOOTER_BYTES))))
        if not 0 <= length <= end:
            raise FormatError("the footer of the keys is damaged")
        runs = parse_directory(files.read_at(descriptor, length, end - length), end - length)
        for run in runs:
            SortedKeysReader(lambda offset, size: files.read_at(descriptor, size, offset), run)
        return runs

    def flush(self) -> None:
        """Bring all keys under a directory in keys.open; without new ones it does nothing.

        Raises:
            DuplicateKeyError: If a key is there twice.
        """
        if not self._waiting and not self._unlisted:
            return
        check = self._new_check()
        pairs = self._sorted_waiting()
        if not self._unlisted:
            check.check(pairs)
            new = self._write_run([pairs])
        else:
            new = self._write_run(_checked(merge(self._readers(self._unlisted), pairs), check))
        self._check_against_older(new)
        self._runs.append(new)
        self._waiting, self._num_waiting, self._unlisted = [], 0, []
        self._merge_equals()
        directory = pack_directory(self._runs)
        files.write_at(self._descriptor, directory, self._end)
        self._end = self._keys_end = self._end + len(directory)

    def seal(self) -> None:
        """Write all keys, committed or not, as one run into the file of a sealed segment.

        Raises:
            DuplicateKeyError: If a key is there twice.
        """
        if not self.num_keys:
            return
        self.unseal()
        # A writer that was interrupted here may have left one.
        self._folder.remove(self._sealed_name)
        self._sealed_descriptor = self._folder.create(self._sealed_name)
        files.write_at(self._sealed_descriptor, self._header, 0)
        sink = SortedKeysWriter(self._sealed_descriptor, len(self._header))
        check = self._new_check()
        for pairs in _checked(merge(self._readers(self._runs + self._unlisted), self._sorted_waiting()), check):
            sink.add(pairs)
        run = sink.finish()
        directory = pack_directory([run])
        files.write_at(self._sealed_descriptor, directory, run.end)
        self._sealed_bytes = run.end + len(directory)

    def unseal(self) -> None:
        """Take back a seal that no manifest lists yet."""
        self._sealed_bytes = 0
        if self._close_sealed():
            self._folder.remove(self._sealed_name)

    def sync(self, *, durable: bool) -> None:
        """Bring all keys to the files, and to the medium if `durable`.

        Raises:
            DuplicateKeyError: If a key is there twice.
        """
        if not self._sealed_bytes:
            self.flush()
        descriptor = self._sealed_descriptor if self._sealed_bytes else self._descriptor
        if durable and descriptor >= 0:
            files.sync_data(descriptor)

    def mark(self) -> KeyMark:
        """Return where it stands, for a later `drop_pending`; called after `sync`, when nothing waits."""
        return KeyMark(tuple(self._runs), self._keys_end, self.num_keys)

    def drop_runs(self) -> None:
        """Close, and remove the runs, which nobody needs once a sealed segment is committed."""
        self.close()
        if self._end:
            # Someone may have it open on a system that then refuses; it is ignored.
            with contextlib.suppress(OSError):
                self._folder.remove(self._open_name)

    def drop_pending(self, mark: KeyMark) -> None:
        """Forget what was added since the last commit, when it stood at `mark`."""
        self.unseal()
        self._keys_end, self.num_keys = mark.keys_end, mark.num_keys
        self._runs = list(mark.runs)
        self._waiting, self._num_waiting, self._unlisted = [], 0, []
        if self._descriptor >= 0:
            self._end = max(self._keys_end, len(self._header))
            cut_sole(self._descriptor, self._end)

    def close(self) -> None:
        """Close the files; safe to call again."""
        # Marked before it is done: were it closed twice, another thread's file might be.
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            files.close(descriptor)
        self._close_sealed()

    # -- parts -------------------------------------------------------------------------------

    def _close_sealed(self) -> bool:
        """Close the file of a sealed segment, if it is open; True if it was."""
        descriptor, self._sealed_descriptor = self._sealed_descriptor, -1
        if descriptor >= 0:
            files.close(descriptor)
        return descriptor >= 0

    def _new_check(self) -> Uniqueness:
        return Uniqueness(self._read_key, self._first_number)

    def _sorted_waiting(self) -> Pairs:
        hashes = np.concatenate([np.empty(0, np.uint64), *(pairs[0] for pairs in self._waiting)])
        sequences = np.concatenate([np.empty(0, np.uint32), *(pairs[1] for pairs in self._waiting)])
        order = np.argsort(hashes, kind="stable")
        return hashes[order], sequences[order]

    def _write_run(self, parts: Iterable[Pairs]) -> KeyRun:
        """Write sorted keys as a run behind all that is in keys.open."""
        if self._descriptor < 0:
            self._descriptor = self._folder.create(self._open_name)
            files.write_at(self._descriptor, self._header, 0)
            self._end = len(self._header)
        sink = SortedKeysWriter(self._descriptor, self._end)
        for pairs in parts:
            sink.add(pairs)
        run = sink.finish()
        self._end = run.end
        return run

    def _readers(self, runs: list[KeyRun]) -> list[SortedKeysReader]:
        return [SortedKeysReader(self._read, run) for run in runs]

    def _read(self, offset: int, length: int) -> bytes:
        return files.read_at(self._descriptor, length, offset)

    def _check_against_older(self, new: KeyRun) -> None:
        """Compare a new run with those that a directory lists; each of these is without duplicates."""
        if not self._runs:
            return
        older = self._readers(self._runs)
        for hashes, sequences in SortedKeysReader(self._read, new).batches(256):
            # Over all runs together, since too many keys of one hash are refused.
            matches = [pairs for run in older for pairs in run.matches(hashes)]
            if not matches:
                continue
            found = np.concatenate([pairs[0] for pairs in matches])
            is_match = np.isin(hashes, found)
            both = np.concatenate([found, hashes[is_match]])
            order = np.argsort(both, kind="stable")
            others = np.concatenate([*(pairs[1] for pairs in matches), sequences[is_match]])
            self._new_check().check((both[order], others[order]))

    def _merge_equals(self) -> None:
        """Merge runs as long as eight have about one size."""
        while True:
            by_size: dict[int, list[KeyRun]] = {}
            for run in self._runs:
                by_size.setdefault((run.num_keys.bit_length() - 1) // 3, []).append(run)
            equals = next((runs for runs in by_size.values() if len(runs) >= _MERGED_RUNS), None)
            if equals is None:
                return
            merged = self._write_run(merge(self._readers(equals)))
            self._runs = [run for run in self._runs if run not in equals] + [merged]


def _checked(parts: Iterable[Pairs], check: Uniqueness) -> Iterable[Pairs]:
    for pairs in parts:
        check.check(pairs)
        yield pairs
