"""A conversion that commits as it goes, and continues behind its last commit when it is called again.

Each commit stores the position in the source beside its records, so both always agree, whenever the call was killed.

    log in DEST ── same source, same options? ── finished? ──> nothing to do
     `─ position, once it is proven ──> records behind it ──64 MiB or 1 s──> commit records, position ──> ... ──> seal
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from splitdata.conversion.conversion_log import CommitPace, ConversionLog, metadata_of
from splitdata.conversion.resume_proof import proven_feed
from splitdata.conversion.sources.files.input_file import is_compressed
from splitdata.conversion.sources.seek import position_of
from splitdata.dataset.writing.destination import bins_for
from splitdata.errors import StateMismatchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from splitdata.conversion.record_feed import RecordFeed
    from splitdata.conversion.sources.source import Record, RecordSource
    from splitdata.dataset.writer import SplitWriter

__all__ = ["ResumableConversion", "ResumedConversion", "bins_of_source"]

_NO_POSITIONS: Final = range(0)


def bins_of_source(source: RecordSource) -> int:
    """Return how many bins to begin with, which a commit after a second would not know."""
    # Records of a compressed source, or of one that cannot tell its size, may be much larger.
    is_open = any(is_compressed(path) for path in source.inputs)
    return bins_for(None if is_open else source.num_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumedConversion:
    """What one call of a resumable conversion has added.

    Attributes:
        positions: From the first record that it has added to the last.
        num_between: Records among these that other programs have appended meanwhile.
        num_resumed: Records that calls before it had committed.
        was_finished: There was nothing left to do.
        num_bins: That its records were written to.
    """

    positions: range = _NO_POSITIONS
    num_between: int = 0
    num_resumed: int = 0
    was_finished: bool = False
    num_bins: int = 0


class ResumableConversion:
    """One source and one dataset, in as many calls as it takes."""

    def __init__(
        self, source: RecordSource, dest: str, log: ConversionLog, *, limit: int | None, by_time: bool, group: int = 1
    ) -> None:
        """Look at what earlier calls have left.

        Args:
            source: What is read.
            dest: The dataset.
            log: That of a conversion which begins.
            limit: Records to take in all calls together.
            by_time: Commit each second too, not only each 64 MiB.
            group: Records that are stored together.

        Raises:
            StateMismatchError: If earlier calls had another source or other options.
            DatasetExistsError: If there is a dataset that no resumable conversion has begun.
        """
        self._source = source
        self._dest = dest
        self._log = log
        self._limit = limit
        self._by_time = by_time
        self._group = group
        self._positions: list[range] = []
        found = metadata_of(dest)
        if found is not None:
            metadata, num_records = found
            self._log = self._checked(metadata)
            if self._log.num_records > num_records:
                raise StateMismatchError(
                    f"the conversion in {dest} counts {self._log.num_records} records, and there are "
                    f"{num_records}: its state is that of another dataset; nothing was changed, convert anew "
                    "with mode='overwrite' (--overwrite)"
                )

    @property
    def is_finished(self) -> bool:
        """Whether an earlier call has done it all."""
        return self._log.is_finished

    def finished_run(self) -> ResumedConversion:
        """Return what a call adds where all is done."""
        return ResumedConversion(num_resumed=self._log.num_records, was_finished=True)

    def convert(
        self,
        writer: SplitWriter,
        watched: Callable[[Iterator[Record]], Iterator[Record]],
        count_bytes: Callable[[], int],
    ) -> ResumedConversion:
        """Write what is left, with a writer that resumes, and close it.

        Args:
            writer: Has just been opened; it holds the lock if an earlier call has begun.
            watched: Passes records on to the writer, and counts them.
            count_bytes: Says how many bytes of records it has passed on.
        """
        begins = not writer.metadata
        if not begins:
            # Another call may have gone on, or finished, before the lock was ours.
            self._log = self._checked(writer.metadata)
            if self._log.is_finished:
                return self.finished_run()
        num_resumed = self._log.num_records
        if writer.num_written > num_resumed:
            raise StateMismatchError(
                f"{self._dest} holds {writer.num_written} records of this conversion, and its last commit counts "
                f"{num_resumed}: a repair has adopted the others, which would be written twice; nothing was changed, "
                "convert anew with mode='overwrite' (--overwrite)"
            )
        feed = proven_feed(self._source, self._dest, self._log, limit=self._limit)
        with closing(feed):
            feed.bind_for(writer)
            return self._go_on(writer, feed, watched, count_bytes)

    def _go_on(
        self,
        writer: SplitWriter,
        feed: RecordFeed,
        watched: Callable[[Iterator[Record]], Iterator[Record]],
        count_bytes: Callable[[], int],
    ) -> ResumedConversion:
        """Write what a feed gives, and close the writer."""
        num_resumed = self._log.num_records
        if not writer.metadata or writer.num_written != num_resumed:
            # A segment of its own that the manifest lists, be it empty, is what a second call finds locked.
            self._commit(writer)
        self._write(writer, feed, watched, count_bytes)
        num_bins = writer.num_bins or 0
        writer.close(metadata=self._log.finished().to_metadata())
        first = self._positions[0].start if self._positions else 0
        last = self._positions[-1].stop if self._positions else 0
        return ResumedConversion(
            positions=range(first, last),
            num_between=last - first - sum(map(len, self._positions)),
            num_resumed=num_resumed,
            num_bins=num_bins,
        )

    def _checked(self, metadata: dict[str, object]) -> ConversionLog:
        earlier = ConversionLog.from_metadata(metadata, self._dest)
        self._log.check_same(earlier, self._dest)
        return earlier

    def _write(
        self,
        writer: SplitWriter,
        feed: RecordFeed,
        watched: Callable[[Iterator[Record]], Iterator[Record]],
        count_bytes: Callable[[], int],
    ) -> None:
        pace = CommitPace(count_bytes, by_time=self._by_time, multiple=self._group)
        passed_on = watched(feed.records)
        while True:
            pace.restart()
            num_new = feed.write(writer, pace.until_due(passed_on))
            num_records = self._log.num_records + num_new
            self._log = self._log.at(position_of(self._source, num_records), num_records)
            # A call that was killed behind its last record has nothing to add; then the next commit seals.
            if num_new:
                self._commit(writer)
            if not pace.is_due:
                return

    def _commit(self, writer: SplitWriter) -> None:
        positions = writer.commit(metadata=self._log.to_metadata())
        if positions or not self._positions:
            self._positions.append(positions)
