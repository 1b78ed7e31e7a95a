r"""An LMDB database: each value is a record, as it is, with its key, in the order of the keys.

Nothing is unpickled. The library maps the file, so its pages are counted before: a file that is cut is an error. What
other programs write meanwhile is not locked out.

    data.mdb   key b"00000001" ──> value        key of the record: its text; bytes that are none as \xff
    meta page  magic 0xbeefc0de │ version │ ... │ size of pages │ ... │ last page in use
"""

from __future__ import annotations

import struct
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from splitdata._extras import load_extra
from splitdata._local_path import local_path
from splitdata.conversion.sources.archives.archive_file import ArchiveFile
from splitdata.conversion.sources.seek import count_at

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from splitdata.conversion.sources.source import SourcePosition

__all__ = ["LmdbSource"]

_DATA: Final = "data.mdb"
_MAGIC: Final = 0xBEEFC0DE
# Of a meta page behind the header of 16 bytes: magic and version; size of pages, in the first table; last page.
_META: Final = struct.Struct("<16xII16xI92xQ")
_PAGE_SIZES: Final = frozenset(1 << bits for bits in range(8, 17))
_SUBDATABASE_BYTES: Final = 48


class LmdbSource(ArchiveFile):
    """The values of a database: the unnamed one, or one with a name."""

    kind = "lmdb"

    def __init__(self, path: str, database: str | None = None) -> None:
        """Take a path, of the folder or of its data.mdb, and the name of the database that is meant, if it has one.

        Raises:
            FileNotFoundError: If there is no such file.
            ModuleNotFoundError: If lmdb is not installed.
        """
        named = Path(local_path(path, "the source"))
        is_folder = named.is_dir()
        super().__init__(str(Path(path) / _DATA) if is_folder else path)
        self._lmdb = load_extra("lmdb", "lmdb", f"reading {path}").__name__
        self._folder = named.resolve() if is_folder else None
        self._database = database
        self._place: SourcePosition = {}

    @property
    def name(self) -> str:
        """The name of the folder, or of the file."""
        return self._folder.name if self._folder else super().name

    @property
    def inputs(self) -> list[str]:
        """The path of the folder, or of the file."""
        return [str(self._folder)] if self._folder else super().inputs

    def state(self, *, with_times: bool) -> dict[str, Any]:
        """Return what tells the file from a changed one, and the database that is taken."""
        return super().state(with_times=with_times) | {"database": self._database}

    def position(self) -> SourcePosition:
        """Return the number of the next value, and the key of the one before it."""
        return self._place

    def records_from(self, position: SourcePosition) -> Generator[bytes, None, None]:
        """Yield the values behind a position."""
        for _, record in self.keyed_records(position):
            yield record

    def keyed_records(self, position: SourcePosition | None = None) -> Generator[tuple[str, bytes], None, None]:
        """Yield the key of each value behind a position, and the value.

        Raises:
            SourceError: If the file is none of LMDB, damaged or truncated, or holds databases of which none is named.
        """
        self._place = dict(position or {})
        number, before = count_at(self._place, "record"), self._place.get("key", "")
        self._check_pages()
        with self._named_damage(), self._opened() as (environment, transaction, database):
            count = max(1, transaction.stat(database)["entries"])
            cursor = transaction.cursor(db=database)
            has_more = self._begin(cursor, number, before)
            while has_more:
                key, value = cursor.item()
                if self._database is None and len(value) == _SUBDATABASE_BYTES:
                    self._check_value(environment, transaction, key)
                number += 1
                self._place = {"record": number, "key": key.hex()}
                self._bytes_read = (self._input.num_bytes or 0) * min(number, count) // count
                yield key.decode("utf-8", "backslashreplace"), value
                has_more = cursor.next()

    def _begin(self, cursor: Any, number: int, before: object) -> bool:
        """Stand at the value behind a position; returns whether there is one."""
        if not number:
            return bool(cursor.first())
        try:
            key = bytes.fromhex(before) if isinstance(before, str) else b""
        except ValueError:
            key = b""
        if not key or not cursor.set_key(key):
            raise self._refusal("has no key at which its conversion stood")
        return bool(cursor.next())

    def _check_pages(self) -> None:
        """Raise unless all pages that are in use lie in the file: reading one that does not would end the process."""
        size, needed, offset = self._input.num_bytes or 0, 0, 0
        with self._input.open() as file:
            for _ in range(2):
                file.seek(offset)
                head = file.read(_META.size).ljust(_META.size, b"\0")
                magic, version, page_bytes, last_page = _META.unpack(head)
                if magic != _MAGIC or version != 1 or page_bytes not in _PAGE_SIZES:
                    raise self._refusal("is no LMDB of version 1, or its meta page is damaged")
                needed = max(needed, (last_page + 1) * page_bytes)
                offset = page_bytes
        if needed > size:
            raise self._refusal(f"has {size} bytes, and its pages need {needed}: it was truncated")

    @contextmanager
    def _opened(self) -> Iterator[tuple[Any, Any, Any]]:
        lmdb = load_extra(self._lmdb, "lmdb", f"reading {self._input.shown}")
        with (
            lmdb.open(
                self._input.path, subdir=False, readonly=True, lock=False, readahead=False, meminit=False, max_dbs=2
            ) as environment,
            environment.begin() as transaction,
        ):
            name = None if self._database is None else self._database.encode()
            yield environment, transaction, environment.open_db(name, txn=transaction, create=False)

    def _check_value(self, environment: Any, transaction: Any, key: bytes) -> None:
        """Raise if what seems to be a value is a database with a name."""
        try:
            environment.open_db(key, txn=transaction, create=False)
        except load_extra(self._lmdb, "lmdb", "reading").Error:
            return
        name = key.decode("utf-8", "backslashreplace")
        raise self._refusal(f"holds databases with names, such as {name}: name the one that is meant, column={name!r}")

    @contextmanager
    def _named_damage(self) -> Iterator[None]:
        try:
            yield
        except load_extra(self._lmdb, "lmdb", "reading").Error as error:
            raise self._refusal(f"cannot be read as LMDB: {error}") from error
