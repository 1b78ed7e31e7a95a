"""Lines of JSON as samples, many lines at once where the compiled path is there.

It makes records of the lines that are in memory anyway, once the writer's schemas are known; where the next record
begins is asked of the source of the lines as ever, which is read line by line.

    line 7 is asked for ──> 7 8 9 10 ... up to 64 lines, 1 MiB, or one that is not usual ──> handed out one by one
                        `──> not usual itself: a value of Python, a sample, an error
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from splitdata._compiled import speedups
from splitdata.conversion.sources.typed_source import TypedSource
from splitdata.conversion.sources.value_types import JsonFields
from splitdata.samples.schema_table import SchemaTable

if TYPE_CHECKING:
    from collections.abc import Generator

    from splitdata.conversion.sources.lines import JsonLineSource
    from splitdata.conversion.sources.source import Record, RecordSource, SourcePosition

__all__ = ["JsonSampleSource"]

_LINES_AT_ONCE: Final = 64
_BYTES_AT_ONCE: Final = 1 << 20


class JsonSampleSource(TypedSource):
    """The lines of JSONL as samples of what they say."""

    def __init__(self, source: JsonLineSource) -> None:
        """Take the source of the lines."""
        super().__init__(source, JsonFields({}), types="{}")
        self._lines = source
        # Records of the lines behind the one that was given last, backwards, and the schemas by which they were made.
        self._ready: list[bytes] = []
        self._table: SchemaTable | None = None

    def records_from(self, position: SourcePosition) -> Generator[bytes, None, None]:
        """Yield the samples behind a position."""
        self._ready = []
        return super().records_from(position)

    def _part_of(self, part: RecordSource) -> TypedSource:
        return JsonSampleSource(part)  # type: ignore[arg-type]  # parts of lines are sources of lines

    def _sample(self, record: Record) -> bytes:
        if self._ready and self._table is self._encoder:
            return self._ready.pop()
        compiled = speedups()
        if compiled is not None and isinstance(self._encoder, SchemaTable):
            lines, number = self._lines.lines_at_hand()
            self._table = self._encoder
            self._ready = compiled.json_records(lines, number, _LINES_AT_ONCE, _BYTES_AT_ONCE, self._encoder.numbers)
            if self._ready:
                self._ready.reverse()
                return self._ready.pop()
        return super()._sample(record)
