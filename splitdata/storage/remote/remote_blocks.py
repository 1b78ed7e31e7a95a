"""Blocks of remote files: fetched together, each once, and kept in memory and in a folder within their limits.

    ahead(file, blocks) ──plan──> requests ──> threads ──┬─> in the folder? ── no ──> store, with patience ──> folder
    block(file, number) ──> in memory? on its way? ──────┴─> memory          the oldest go

A request brings what its blocks are part of; a block that somebody waits for is never asked for twice.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

import xxhash

from splitdata._ownership import OwnerProcess
from splitdata.errors import StoreError
from splitdata.storage.remote.daemons import submit
from splitdata.storage.remote.folder_blocks import FolderBlocks
from splitdata.storage.remote.patience import FINAL_ERRORS, Patience
from splitdata.storage.remote.request_plan import REQUEST_BYTES, plan_requests

if TYPE_CHECKING:
    from splitdata.storage.remote.block_cache import BlockCache
    from splitdata.storage.remote.store import Store

__all__ = ["BlockFetcher", "RemoteFile"]

# A stream that has come to its next block each time is given twice as many of them, up to so many bytes.
_MOST_IN_A_ROW: Final = REQUEST_BYTES // 4


class RemoteFile:
    """A file in a store whose content never changes.

    Attributes:
        key: Its key in the store.
        name: How messages call it.
        size: In bytes.
        identity: Text that tells its content from that of every other file.
        blocks: Those in memory, by number.
        pending: Those on their way.
    """

    __slots__ = ("__weakref__", "blocks", "identity", "key", "name", "next_block", "num_in_a_row", "pending", "size")

    def __init__(self, key: str, name: str, size: int, identity: str) -> None:
        self.key = key
        self.name = name
        self.size = size
        self.identity = identity
        self.blocks: dict[int, bytes] = {}
        self.pending: dict[int, _Request] = {}
        self.next_block = 0
        self.num_in_a_row = 1

    def block_name(self, number: int, block_bytes: int) -> str:
        """The name of a block in a folder: other content, another size of blocks, another name."""
        text = f"{self.identity}\0{self.size}\0{block_bytes}\0{number}"
        return xxhash.xxh3_128_hexdigest(text.encode())


class _Request:
    """Some blocks of a file, on their way."""

    def __init__(self, file: RemoteFile, numbers: range) -> None:
        self.file = file
        self.numbers = numbers
        self._is_done = threading.Event()
        self._blocks: dict[int, bytes] = {}
        self._error: Exception | None = None

    def finish(self, blocks: dict[int, bytes], error: Exception | None) -> None:
        self._blocks, self._error = blocks, error
        self._is_done.set()

    def result(self, number: int, seconds: float) -> bytes:
        """Return a block when it is there.

        Raises:
            StoreError: If the store does not answer at all, or what reading it has raised.
        """
        if not self._is_done.wait(seconds):
            raise StoreError(
                f"reading {self.file.name}: the store has not answered for {seconds:.0f} s; check the network and the "
                "store, then go on where this stopped"
            )
        if self._error is not None:
            # A new one each time: the first has the frames of whoever got it.
            raise _again(self._error)
        return self._blocks[number]


class BlockFetcher:
    """Reads files of one store by blocks; safe to share between threads, refused in a forked child."""

    def __init__(self, store: Store, cache: BlockCache, patience: Patience) -> None:
        self.block_bytes = cache.block_bytes
        self.most_in_memory = cache.bytes_in_memory
        self._store = store
        self._patience = patience
        self._owner = OwnerProcess()
        self._folder = None if cache.path is None else FolderBlocks(str(cache.path), cache.max_bytes, cache.block_bytes)
        self._lock = threading.Lock()
        # In the order in which they came; all reads of a block are about the time when it comes.
        self._kept: deque[tuple[RemoteFile, int]] = deque()
        self._num_bytes = 0
        self.num_requests = 0
        self.bytes_fetched = 0

    def check(self, what: str) -> None:
        """Raise ClosedError in a forked child, where no store answers."""
        self._owner.check("the remote dataset %s", what)

    # -- what readers ask ----------------------------------------------------------------------

    def block(self, file: RemoteFile, number: int) -> bytes:
        """Return one block, when it is there.

        Raises:
            StoreError: If the store fails.
            FileNotFoundError: If the file is gone.
        """
        self.check(file.name)
        for _ in range(2):
            request = file.pending.get(number)
            if request is not None:
                return request.result(number, self._patience.longest)
            block = file.blocks.get(number)
            if block is not None:
                return block
            # Between the two looks it may have arrived and gone again; then it is asked for once more.
            self.ahead(file, self._from(file, number))
        return self._fetched_alone(file, number)

    def _from(self, file: RemoteFile, number: int) -> range:
        """Return the blocks to be asked for where one is missed: more and more of them while each is the next."""
        if number == file.next_block:
            file.num_in_a_row = min(2 * file.num_in_a_row, max(1, _MOST_IN_A_ROW // self.block_bytes))
        else:
            file.num_in_a_row = 1
        file.next_block = number + file.num_in_a_row
        return range(number, min(file.next_block, self.num_blocks(file)))

    def _fetched_alone(self, file: RemoteFile, number: int) -> bytes:
        request = _Request(file, range(number, number + 1))
        submit(lambda: self._carry_out(request))
        return request.result(number, self._patience.longest)

    def num_blocks(self, file: RemoteFile) -> int:
        """Return how many blocks a file has."""
        return -(-file.size // self.block_bytes)

    def ahead(self, file: RemoteFile, blocks: Sequence[int]) -> None:
        """Ask for blocks that are not there, and return without waiting; they must lie in the file."""
        self.check(file.name)
        if all(number in file.blocks for number in blocks):
            return
        requests = []
        with self._lock:
            wanted = [number for number in blocks if number not in file.blocks and number not in file.pending]
            for numbers in plan_requests(wanted, self.block_bytes):
                request = _Request(file, numbers)
                requests.append(request)
                for number in numbers:
                    if number not in file.blocks:
                        file.pending.setdefault(number, request)
        for request in requests:
            submit(lambda request=request: self._carry_out(request))  # type: ignore[misc]

    def forget(self, file: RemoteFile, blocks: Iterable[int]) -> None:
        """Drop blocks whose bytes were found wrong, here and in the folder: they are fetched again."""
        with self._lock:
            for number in blocks:
                if file.blocks.pop(number, None) is not None:
                    self._num_bytes -= self._length(file, number)
                if self._folder is not None:
                    self._folder.remove(file.block_name(number, self.block_bytes))

    # -- what the threads do -------------------------------------------------------------------

    def _carry_out(self, request: _Request) -> None:
        blocks: dict[int, bytes] = {}
        problem: Exception | None = None
        try:
            self._fetch(request.file, request.numbers, blocks)
        except Exception as error:  # it is raised where the block is read
            problem = error
        with self._lock:
            for number in request.numbers:
                if number in blocks:
                    self._keep(request.file, number, blocks[number])
                if request.file.pending.get(number) is request:
                    del request.file.pending[number]
        request.finish(blocks, problem)

    def _fetch(self, file: RemoteFile, numbers: range, blocks: dict[int, bytes]) -> None:
        """Put blocks into `blocks`: from memory or the folder, as far as they are there, else from the store."""
        for number in numbers:
            block = file.blocks.get(number) or self._in_folder(file, number)
            if block is not None:
                blocks[number] = block
        missing = [number for number in numbers if number not in blocks]
        for part in plan_requests(missing, self.block_bytes):
            start, stop = part.start * self.block_bytes, min(part.stop * self.block_bytes, file.size)
            data = memoryview(self._patience.call(f"reading {file.name}", lambda: self._range(file, start, stop)))  # noqa: B023
            for number in part:
                if number not in blocks:
                    # A copy: a view would keep the whole answer in memory.
                    place = (number - part.start) * self.block_bytes
                    blocks[number] = bytes(data[place : place + self.block_bytes])
                    if self._folder is not None:
                        self._folder.put(file.block_name(number, self.block_bytes), blocks[number])

    def _range(self, file: RemoteFile, start: int, stop: int) -> bytes | bytearray | memoryview:
        self.num_requests += 1
        answer = self._store.get_ranges(file.key, [(start, stop)])
        length = len(answer[0]) if len(answer) == 1 else -1
        if length != stop - start:
            raise StoreError(f"the store has answered with {length} bytes where {stop - start} were asked for")
        self.bytes_fetched += length
        return answer[0]

    def _in_folder(self, file: RemoteFile, number: int) -> bytes | None:
        if self._folder is None:
            return None
        return self._folder.get(file.block_name(number, self.block_bytes), self._length(file, number))

    def _length(self, file: RemoteFile, number: int) -> int:
        return min(self.block_bytes, file.size - number * self.block_bytes)

    def _keep(self, file: RemoteFile, number: int, block: bytes) -> None:
        """Keep a block in memory; the lock is held."""
        if number in file.blocks:
            return
        file.blocks[number] = block
        self._kept.append((file, number))
        self._num_bytes += len(block)
        while self._num_bytes > self.most_in_memory and self._kept:
            oldest, gone = self._kept.popleft()
            if (dropped := oldest.blocks.pop(gone, None)) is not None:
                self._num_bytes -= len(dropped)


def _again(error: Exception) -> Exception:
    """Return an error like another, without its traceback."""
    if isinstance(error, (StoreError, *FINAL_ERRORS)):
        return type(error)(*error.args)
    return StoreError(str(error))
