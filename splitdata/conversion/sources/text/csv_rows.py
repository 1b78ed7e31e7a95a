r"""CSV and TSV: each row is a record, as a JSON object or as one of its columns.

By RFC 4180: a quoted field may hold delimiters, line endings and doubled quotes. Values stay text:
nothing is taken for a number. Records are UTF-8 whatever the encoding of the file.

    id,text⏎                      the header, where there is one
    1,"two⏎lines, one row"⏎      ──> {"id":"1","text":"two\nlines, one row"}      column=None
                                 ──> two⏎lines, one row                           column="text"
"""

from __future__ import annotations

import csv
import io
import json
import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final

from splitdata._shown import shown
from splitdata.conversion.sources.files.input_file import FileSource
from splitdata.errors import SourceError

if TYPE_CHECKING:
    from _csv import Reader
    from collections.abc import Callable, Generator, Iterator

    from typing_extensions import Buffer

__all__ = ["CsvFormat", "CsvSource"]

# A row is held whole, its fields as texts of their own, which take twenty times what short ones are long; Python's
# parser takes 4 bytes for each character while it reads one. An opening quote without its end makes one field of
# all that follows: this is where that is noticed.
MAX_ROW_CHARACTERS: Final = 8 << 20
# Each field is a text of its own, and as a name of a column stands in tables, too: millions take gigabytes.
MAX_COLUMNS: Final = 1 << 16
_BUFFER_BYTES: Final = 256 << 10
# The limit of Python's parser is one for the whole process: it is raised for so many rows at a time, fewer where they
# are long, as they are held together.
_ROWS_AT_ONCE: Final = 64
_CHARACTERS_AT_ONCE: Final = 64 << 10

# What divides fields beside comma and tab; looked for where a file seems to have one column.
_DELIMITERS: Final = (";", "\t", "|", ",")

_to_json: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class CsvFormat:
    """The form of a file of rows, and the part of a row that becomes a record.

    Attributes:
        column: Name of the column whose values are the records; without a header its number, from 0.
            None makes a JSON object of each row, without a header a JSON array.
        delimiter: One character between fields; None is that of the kind.
        header: Whether the first row names the columns.
        quotes: Whether fields may stand in double quotes.
        encoding: Of the file, as Python names it.

    Raises:
        ValueError: If one of them cannot be.
    """

    column: str | None = None
    delimiter: str | None = None
    header: bool = True
    quotes: bool = True
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        if self.delimiter is not None and (len(self.delimiter) != 1 or self.delimiter in '\r\n"'):
            raise ValueError(f"delimiter must be one character, no quote or line ending, got {self.delimiter!r}")
        if not self.header and self.column is not None and not (self.column.isascii() and self.column.isdigit()):
            raise ValueError(f"without a header a column is a number from 0, got {self.column!r}")
        try:
            io.TextIOWrapper(io.BytesIO(), encoding=self.encoding)
        except LookupError as error:
            raise ValueError(f"encoding: {error}") from None


class CsvSource(FileSource):
    """The rows of a CSV or TSV file, plain or compressed, or of standard input.

    A row is at most 8 Mi characters long and has at most 65,536 fields. A row with more or fewer fields than the first
    one is an error. Blank lines are left out and counted.
    """

    def __init__(self, path: str, form: CsvFormat | None = None, *, kind: str = "csv") -> None:
        """Take a path, "-" for standard input; raises as `InputFile` does.

        Args:
            path: Of the file.
            form: How it is written; None for the defaults.
            kind: "csv" or "tsv": what the delimiter is if `form` does not say.
        """
        super().__init__(path)
        self.kind = kind
        self.skipped: Counter[str] = Counter()
        self._form = form or CsvFormat()
        # Of the row that is being read; delimiters are counted where it is long.
        self._num_characters = 0
        self._num_delimiters = 0

    @property
    def _delimiter(self) -> str:
        return self._form.delimiter or ("\t" if self.kind == "tsv" else ",")

    def state(self, *, with_times: bool) -> dict[str, Any]:
        """Return what tells the file from a changed one, and how it is read; raises as `InputFile.state` does."""
        return super().state(with_times=with_times) | asdict(self._form)

    def __iter__(self) -> Generator[bytes, None, None]:
        """Yield the records.

        Raises:
            SourceError: If the file is damaged, is no text in that encoding, breaks the rules of
                quotes, or has rows of different lengths; it names the line.
        """
        self.skipped.clear()
        rows = self._rows()
        start, first = next(rows, (0, None))
        if first is None:
            if self._form.header:
                raise SourceError(f"{self._input.shown} is empty: not even a header is there", path=self._input.path)
            return
        self._check_divided(first)
        encode = self._encoder(first)
        width = len(first)
        if not self._form.header:
            rows = chain([(start, first)], rows)
        # Rows may be long: not held longer than it is needed.
        del first
        for position, (line, row) in enumerate(rows):
            if len(row) != width:
                raise self._wrong(
                    f"the row in line {line} has {len(row)} fields, those before it have {width}", position
                )
            try:
                record = encode(row)
            except UnicodeEncodeError as error:
                # Some encodings can write halves of a pair of UTF-16.
                what = f"the row in line {line}, or the header, is no text that UTF-8 can hold ({error.reason})"
                raise self._wrong(f"{what}; say how the file is encoded", position) from None
            yield record

    def _check_divided(self, first: list[str]) -> None:
        """Raise if a file seems to be divided by another character than it is read with."""
        if len(first) > 1 or self._form.delimiter or first[0] == self._form.column:
            return
        own = "\t" if self.kind == "tsv" else ","
        for other in _DELIMITERS:
            if other != own and other in first[0]:
                raise self._wrong(
                    f"its first row is one field, {first[0][:60]!r}, which {other!r} seems to divide; "
                    f"say how: delimiter={other!r} divides it there, delimiter={own!r} leaves it whole",
                    None,
                )

    def _encoder(self, first: list[str]) -> Callable[[list[str]], bytes]:
        """Return what makes a record of a row, for a file that begins with this one."""
        names, column = first, self._form.column
        if not self._form.header:
            if column is None:
                return lambda row: _to_json(row).encode()
            names = [str(number) for number in range(len(first))]
            column = str(int(column))
        twice = [name for name, number in Counter(names).items() if number > 1]
        if twice and (column is None or column in twice):
            raise self._wrong(f"its header names the column {shown(twice[0])} more than once", None)
        if column is None:
            return lambda row: _to_json(dict(zip(names, row, strict=True))).encode()
        if column not in names:
            listed = ", ".join(map(shown, names[:20])) + (", ..." if len(names) > 20 else "")
            raise self._wrong(f"it has no column {column!r}; its columns are {listed}", None)
        chosen = names.index(column)
        return lambda row: row[chosen].encode()

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield each row that is not blank, with the number of its first line, from 1."""
        form = self._form
        # The mark at the beginning of a file is not a part of its first field.
        encoding = "utf-8-sig" if form.encoding.lower() in ("utf-8", "utf8") else form.encoding
        with io.TextIOWrapper(
            io.BufferedReader(_BlockFile(self._input.blocks()), _BUFFER_BYTES), encoding=encoding, newline=""
        ) as text:
            parser = csv.reader(
                self._lines(text),
                delimiter=self._delimiter,
                quoting=csv.QUOTE_MINIMAL if form.quotes else csv.QUOTE_NONE,
                strict=True,
            )
            while True:
                rows, failure = self._parse(parser)
                for line, row in rows:
                    if row:
                        yield line, row
                    else:
                        self.skipped["blank line"] += 1
                if failure is not None:
                    try:
                        raise failure
                    finally:
                        # It knows this frame, and the frame would know it.
                        del failure
                if not rows:
                    return

    def _parse(self, parser: Reader) -> tuple[list[tuple[int, list[str]]], Exception | None]:
        """Return the next rows, none at the end, and what went wrong behind them, if anything."""
        rows: list[tuple[int, list[str]]] = []
        line = parser.line_num + 1
        num_characters = 0
        try:
            with _long_fields():
                for row in islice(parser, _ROWS_AT_ONCE):
                    if len(row) > MAX_COLUMNS:
                        raise _TooManyFieldsError
                    rows.append((line, row))
                    num_characters += self._num_characters
                    self._num_characters = self._num_delimiters = 0
                    line = parser.line_num + 1
                    if num_characters > _CHARACTERS_AT_ONCE:
                        break
        except UnicodeError as error:
            encoding = self._form.encoding
            what = f"it is no text in {encoding} behind line {parser.line_num} ({error})"
            return rows, self._wrong(f"{what}; say how it is encoded: encoding='cp1252', for instance", None)
        except _EndlessRowError:
            what = f"the row in line {line} is longer than {MAX_ROW_CHARACTERS} characters, which is the limit"
            return rows, self._wrong(what + self._advice(), None)
        except _TooManyFieldsError:
            what = f"the row in line {line} has more than {MAX_COLUMNS} fields, which is the limit"
            return rows, self._wrong(what + self._advice(), None)
        except csv.Error as error:
            return rows, self._wrong(f"the row in line {line} cannot be read: {error}{self._advice()}", None)
        except Exception as error:
            return rows, error
        return rows, None

    def _lines(self, text: io.TextIOWrapper) -> Iterator[str]:
        """Yield lines to the parser, which asks for no more than the row needs that it reads."""
        self._num_characters = self._num_delimiters = 0
        while line := text.readline(MAX_ROW_CHARACTERS + 1):
            # A row goes on in another line only within quotes.
            is_quoted = self._num_characters > 0
            self._num_characters += len(line)
            if self._num_characters > MAX_ROW_CHARACTERS:
                raise _EndlessRowError
            if self._num_characters > MAX_COLUMNS:
                self._num_delimiters += self._delimiters_in(line, is_quoted=is_quoted)
                if self._num_delimiters >= MAX_COLUMNS:
                    raise _TooManyFieldsError
            yield line

    def _delimiters_in(self, line: str, *, is_quoted: bool) -> int:
        """Count those that divide fields, up to the limit, before memory is spent on the fields."""
        delimiter = self._delimiter
        if not self._form.quotes or delimiter not in line:
            return line.count(delimiter)
        # Doubled quotes stand for one within quotes, and for nothing elsewhere.
        text, place, count = line.replace('""', ""), 0, 0
        while count < MAX_COLUMNS:
            if is_quoted or text.startswith('"', place):
                place = text.find('"', place if is_quoted else place + 1)
                is_quoted = False
            if place < 0 or (place := text.find(delimiter, place)) < 0:
                break
            place += 1
            count += 1
        return count

    def _advice(self) -> str:
        return " (if quotes mean nothing in this file, say so: quotes=False)" if self._form.quotes else ""

    def _wrong(self, what: str, position: int | None) -> SourceError:
        return SourceError(f"{self._input.shown}: {what}", path=self._input.path, position=position)


class _EndlessRowError(Exception):
    """A row that is longer than the limit."""


class _TooManyFieldsError(Exception):
    """A row with more fields than the limit."""


class _BlockFile(io.RawIOBase):
    """Blocks of bytes as a file, for what reads only files."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, target: Buffer, /) -> int:
        if not self._rest:
            self._rest = memoryview(next(self._blocks, b""))
        into = memoryview(target)
        count = min(len(into), len(self._rest))
        into[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


_limit_lock: Final = threading.Lock()
_limit_users = 0
_limit_before = 0


@contextmanager
def _long_fields() -> Iterator[None]:
    """Let Python's parser take long fields while the block runs, in all threads, and as before after the last."""
    global _limit_users, _limit_before
    with _limit_lock:
        if not _limit_users:
            _limit_before = csv.field_size_limit(max(MAX_ROW_CHARACTERS, csv.field_size_limit()))
        _limit_users += 1
    try:
        yield
    finally:
        with _limit_lock:
            _limit_users -= 1
            if not _limit_users:
                csv.field_size_limit(_limit_before)
