r"""Text and JSONL as records: each line is a record, without its line ending.

A file is read in blocks, so a line may be of any length and a file of any size.

    block   b"...a\nb\r\nc"   -> b"a", b"b"   and b"c" waits for the next block
    start   a UTF-8 byte order mark is dropped; UTF-16 and compressed data are refused
    blank   a record of its own in text, left out in JSONL
"""

from __future__ import annotations

import json
from collections import Counter
from copy import copy
from dataclasses import dataclass, field
from itertools import chain
from operator import length_hint
from typing import TYPE_CHECKING, Any, Final, NoReturn

from splitdata.conversion.sources.files.input_file import FileSource, FileWindow
from splitdata.conversion.sources.seek import count_at, counts_at
from splitdata.errors import RecordTooLargeError, SourceError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from splitdata.conversion.sources.source import RecordSource, SourcePosition

__all__ = ["JsonLineSource", "LineSource", "split_lines", "without_returns"]

# A line is held whole; a file without any line ending is not one of lines.
MAX_LINE_BYTES: Final = 128 << 20

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_REFUSED_STARTS: Final = {
    b"\x1f\x8b\x08": "compressed with gzip: give it a name that ends in .gz, or pass it through `gzip -dc`",
    b"\x28\xb5\x2f\xfd": "compressed with zstd: give it a name that ends in .zst, or pass it through `zstd -dc`",
    b"BZh91AY&SY": "compressed with bzip2: give it a name that ends in .bz2, or pass it through `bzip2 -dc`",
    b"\xfd7zXZ\x00": "compressed with xz: give it a name that ends in .xz, or pass it through `xz -dc`",
    b"\xff\xfe": "text in UTF-16, whose lines cannot be told apart by bytes: convert it to UTF-8",
    b"\xfe\xff": "text in UTF-16, whose lines cannot be told apart by bytes: convert it to UTF-8",
}
_LONGEST_START: Final = max(map(len, _REFUSED_STARTS))


def split_lines(
    blocks: Iterable[bytes], *, max_bytes: int, shown: str, num_lines: int = 0
) -> Iterator[tuple[list[bytes], bool, int]]:
    """Yield the lines that end in each block, and last what is behind the last LF, if anything.

    With them, whether CR may end any, for `without_returns`, and how many bytes of the text end there. A line ends
    with LF or CR LF. A CR anywhere else belongs to the line, but a text that has CR and no LF at all is refused: old
    systems ended lines so.

    Args:
        blocks: Pieces of the text, cut anywhere.
        max_bytes: Longer lines are refused; up to this much, and a block, is held.
        shown: What the text is called in an error.
        num_lines: Before the first block.

    Raises:
        RecordTooLargeError: If a line is longer than that.
        SourceError: If the lines seem to end with CR alone.
    """
    waiting: list[bytes] = []
    waiting_bytes = num_bytes = 0
    for block in blocks:
        num_bytes += len(block)
        lines = block.split(b"\n")
        waiting.append(lines[0])
        waiting_bytes += len(lines[0])
        if waiting_bytes > max_bytes and not num_lines and len(lines) == 1:
            _check_feeds(waiting, shown)
        if waiting_bytes > max_bytes or (len(block) > max_bytes and max(map(len, lines)) > max_bytes):
            raise RecordTooLargeError(
                f"a line behind line {num_lines} of {shown} is longer than {max_bytes} bytes; if these are not lines "
                "of text, choose another kind of source",
            )
        if len(lines) == 1:
            continue
        lines[0] = b"".join(waiting)
        rest = lines.pop()
        waiting, waiting_bytes = [rest], len(rest)
        num_lines += len(lines)
        # Most text has none, and one search of a block is far cheaper than one of each line.
        yield lines, b"\r\n" in block or lines[0].endswith(b"\r"), num_bytes - waiting_bytes
    if waiting_bytes:
        if not num_lines:
            _check_feeds(waiting, shown)
        # Without a line ending, a CR belongs to the line.
        yield [b"".join(waiting)], False, num_bytes


def without_returns(lines: list[bytes]) -> list[bytes]:
    """Return lines without the CR at the end of each."""
    return [line.removesuffix(b"\r") for line in lines]


def _check_feeds(pieces: list[bytes], shown: str) -> None:
    """Raise for a text, in pieces that are not joined, whose lines seem to end with CR alone; no LF is in it."""
    count = waiting = 0
    for piece in pieces:
        inner = piece.rstrip(b"\r")
        # Those at the very end belong to the line.
        count, waiting = (count + waiting, 0) if inner else (count, waiting)
        count += inner.count(b"\r")
        waiting += len(piece) - len(inner)
    if count:
        raise SourceError(
            f"{shown} has {count:,} CR inside and no LF, so that it would be one line; end its lines with LF, for "
            "instance by `tr '\\r' '\\n'`, or, if it is one record, say so: kind='files'",
            path=shown,
        )


class LineSource(FileSource):
    """The lines of a text file, plain or compressed, or of standard input.

    Blank lines are records of no bytes: line k of the file is record k.
    """

    kind = "lines"

    def __init__(self, path: str, *, max_bytes: int = MAX_LINE_BYTES) -> None:
        """Take a path, "-" for standard input, and how long a line may be; raises as `InputFile` does."""
        super().__init__(path)
        self._max_bytes = max_bytes
        self.skipped: Counter[str] = Counter()
        self._place = _LineCount()

    def __iter__(self) -> Generator[bytes, None, None]:
        """Yield the lines.

        Raises:
            SourceError: If the file is compressed and damaged, or does not hold text as bytes.
            RecordTooLargeError: If a line is longer than the limit, which is 128 MiB if none was given.
        """
        return self._lines_from({})

    def position(self) -> SourcePosition:
        """Return where the next line begins, and what was counted up to there."""
        return {"byte": self._place.byte, "line": self._place.line, "skipped": dict(self.skipped)}

    def records_from(self, position: SourcePosition) -> Generator[bytes, None, None]:
        """Yield the lines behind a position."""
        return self._lines_from(position)

    def parts(self, max_bytes: int) -> Generator[RecordSource, None, None]:
        """Yield pieces of the file that end behind a line; of a compressed one it alone."""
        if self._input.is_compressed:
            yield self
            return
        for window in self._input.windows(max_bytes, b"\n"):
            part = copy(self)
            part._input, part.skipped, part._place = window, Counter(), _LineCount()
            yield part

    def _lines_from(self, position: SourcePosition) -> Generator[bytes, None, None]:
        self.skipped.clear()
        self.skipped.update(counts_at(position, "skipped"))
        start, first_line = count_at(position, "byte"), count_at(position, "line")
        blocks = self._input.blocks(start)
        is_begin = not (isinstance(self._input, FileWindow) and self._input.start)
        if is_begin and not start:
            blocks, start = self._without_mark(blocks)
        self._place = _LineCount(start, first_line)
        for lines, has_returns, end in split_lines(
            # Behind the first line of a file, one that has no LF is its last.
            blocks,
            max_bytes=self._max_bytes,
            shown=self._input.shown,
            num_lines=first_line or not is_begin,
        ):
            given = iter(without_returns(lines) if has_returns else lines)
            self._place = _LineCount(start + end, first_line + len(lines), lines, given)
            yield from given
            first_line += len(lines)
            self._place = _LineCount(start + end, first_line)

    def _without_mark(self, blocks: Iterator[bytes]) -> tuple[Iterator[bytes], int]:
        """Return blocks without a byte order mark, and its length, once their beginning was found to be text."""
        start = b""
        while len(start) < _LONGEST_START and (block := next(blocks, b"")):
            start += block
        for refused, reason in _REFUSED_STARTS.items():
            if start.startswith(refused):
                path = self._input.path
                raise SourceError(f"{self._input.shown} is {reason}; nothing of it is taken", path=path)
        text = start.removeprefix(_BYTE_ORDER_MARK)
        return chain([text], blocks), len(start) - len(text)


@dataclass(frozen=True, slots=True)
class _LineCount:
    """The place of an iteration over lines; made once for many lines, asked now and then.

    Attributes:
        end: Byte of the text behind the lines that are being given.
        last_line: Number of the line there.
        lines: They, CR and all.
        given: The iterator over them that the user's iteration draws from.
    """

    end: int = 0
    last_line: int = 0
    lines: list[bytes] = field(default_factory=list)
    given: Iterator[bytes] = field(default_factory=lambda: iter(()))

    @property
    def byte(self) -> int:
        """Where the next line begins."""
        rest = self.lines[len(self.lines) - length_hint(self.given) :] if self.lines else []
        return self.end - sum(map(len, rest)) - len(rest)

    @property
    def line(self) -> int:
        """How many lines were given."""
        return self.last_line - length_hint(self.given)


class JsonLineSource(LineSource):
    """The lines of a JSONL file; blank ones are left out and counted.

    The bytes of a line are stored as they are, whatever its blanks and its order of keys.
    """

    kind = "jsonl"

    def __init__(self, path: str, *, validate: bool = False) -> None:
        """Take a path, "-" for standard input.

        Args:
            path: Of the file.
            validate: Refuse lines that are not JSON, by RFC 8259. Costs a few microseconds a line.
        """
        super().__init__(path)
        self._validate = validate

    def __iter__(self) -> Generator[bytes, None, None]:
        """Yield the lines that are not blank.

        Raises:
            SourceError: As for text; and with `validate`, if a line is not JSON.
            RecordTooLargeError: If a line has more than 128 MiB.
        """
        return self.records_from({})

    def state(self, *, with_times: bool) -> dict[str, Any]:
        """Return what tells the file from a changed one, and whether lines are validated."""
        return super().state(with_times=with_times) | {"validate": self._validate}

    def records_from(self, position: SourcePosition) -> Generator[bytes, None, None]:
        """Yield the lines behind a position that are not blank."""
        first_line = count_at(position, "line")
        number_of_record = first_line - sum(counts_at(position, "skipped").values())
        for number, line in enumerate(self._lines_from(position), first_line + 1):
            if not line or line.isspace():
                self.skipped["blank line"] += 1
                continue
            if self._validate:
                self._check(line, number, number_of_record)
            yield line
            number_of_record += 1

    def _check(self, line: bytes, number: int, position: int) -> None:
        try:
            # Text first: given bytes, json guesses an encoding. Numbers are not made, only looked at.
            json.loads(line.decode("utf-8"), parse_int=len, parse_float=len, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
            raise SourceError(
                f"line {number} of {self._input.shown} is not JSON: {reason}", path=self._input.path, position=position
            ) from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")
