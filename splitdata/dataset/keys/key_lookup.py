"""Looking up a key in one committed segment, without loading its keys.

A key that is not found is not there: damage is an error, never a wrong "no".

    keys (sealed), keys.open at the byte that the manifest names, else keys      what there is
    directory ─> fences of each run, proven once ─> one block, proven ─> sequence numbers
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import numpy as np

from splitdata.dataset.keys.sorted_keys import SortedKeysReader
from splitdata.errors import BadMagicError, FormatError, UnsupportedVersionError
from splitdata.format import spec
from splitdata.format.keys import FOOTER_BYTES, KeysHeader, directory_bytes, parse_directory, parse_footer
from splitdata.format.version import check_same_major

if TYPE_CHECKING:
    from collections.abc import Callable

    from splitdata.format.keys import KeyRun
    from splitdata.format.manifest import SegmentInfo
    from splitdata.storage.file_source import Source
    from splitdata.storage.paths import SegmentPaths

__all__ = ["KeyTable", "open_key_table", "raise_keys_error"]


class KeyTable:
    """The keys of one segment; safe to share between threads.

    Attributes:
        path: The file.
        source: The open file.
        directory_offset: Where the directory begins.
        runs: As the directory lists them.
    """

    def __init__(self, path: str, source: Source, end: int, info: SegmentInfo) -> None:
        """Read the directory that ends at byte `end`; `info` is the segment's.

        Raises:
            FormatError: If it is damaged, or the file belongs to another segment.
        """
        self.path = path
        self.source = source
        _check_header(source, info)
        # A manifest may claim any place, and a damaged footer any number of runs.
        is_place = spec.KEYS_HEADER_BYTES < end <= source.size and end % 8 == 0
        footer = source.read(end - FOOTER_BYTES, FOOTER_BYTES) if is_place else b""
        length = directory_bytes(parse_footer(footer))
        self.directory_offset = end - length
        if self.directory_offset < spec.KEYS_HEADER_BYTES:
            raise FormatError("the footer of the keys is damaged")
        self.runs: list[KeyRun] = parse_directory(source.read(self.directory_offset, length), self.directory_offset)
        self._readers: list[SortedKeysReader] | None = None

    def readers(self) -> list[SortedKeysReader]:
        """Return readers of all runs; raises `FormatError` where their fences are damaged."""
        if self._readers is None:
            self._readers = [SortedKeysReader(self.source.view, run) for run in self.runs]
        return self._readers

    def find(self, key_hash: int) -> list[int]:
        """Return the sequence numbers of the records whose keys have a hash: usually one or none."""
        wanted = np.uint64(key_hash)
        # A forged table lists one record any number of times.
        return list(dict.fromkeys(sequence for run in self.readers() for sequence in run.find(wanted)))


def open_key_table(paths: SegmentPaths, info: SegmentInfo, open_file: Callable[[str], Source]) -> KeyTable:
    """Open the keys of a segment.

    Raises:
        FormatError: If they are missing or damaged; no record is affected.
        UnsupportedVersionError: If the file needs a newer splitdata.
    """
    # A segment that was sealed since the manifest at hand has lost the one and got the other.
    names = [paths.keys] if info.is_sealed else [paths.open_keys, paths.keys]
    problem, problem_path = "there is no such file", names[0]
    for path in names:
        try:
            source = open_file(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except UnsupportedVersionError:
            raise
        except FormatError as error:
            raise_keys_error(paths, path, str(error))
        ends = [info.keys_bytes, source.size] if path == paths.keys else [info.keys_bytes]
        for end in dict.fromkeys(ends):
            try:
                return KeyTable(path, source, end, info)
            except UnsupportedVersionError as error:
                raise UnsupportedVersionError(f"{path}: {error}", path=path) from None
            except FormatError as error:
                problem, problem_path = str(error), path
    raise_keys_error(paths, problem_path, problem)


def raise_keys_error(paths: SegmentPaths, path: str, problem: str) -> NoReturn:
    """Raise the error of a search that cannot be made."""
    raise FormatError(
        f"{path}: {problem}; keys of this segment cannot be looked up, all its records and the keys of each stay "
        f"readable by position; `splitdata repair {paths.dataset_folder}` makes the file again from the bins",
        path=path,
    )


def _check_header(source: Source, info: SegmentInfo) -> None:
    """Refuse the keys of another segment; a damaged header costs nothing."""
    head = source.read(0, spec.KEYS_HEADER_BYTES)
    try:
        header = KeysHeader.unpack(head)
        check_same_major(head, info.version)
    except UnsupportedVersionError:
        raise
    except (BadMagicError, FormatError):
        return
    if header.segment_id != info.id:
        raise FormatError(f"these are the keys of another segment, {header.segment_id}")
