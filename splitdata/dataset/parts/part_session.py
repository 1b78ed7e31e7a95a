"""A write session whose one segment no manifest lists: it is sealed, and left for a commit of parts.

What a kill leaves before the file stands is nobody's part.

    records ──> segment of the session ──seal──> on the medium ──> file "part" in its folder ──> descriptor
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from splitdata.dataset.manifests.declared_codec import RECORD_CODEC
from splitdata.dataset.parts.descriptor import PartDescriptor
from splitdata.dataset.parts.part_file import mark_unfinished, write_part_file
from splitdata.dataset.writing.write_session import WriteSession
from splitdata.format.manifest import Manifest, encode_metadata

if TYPE_CHECKING:
    from splitdata.dataset.manifests.directory import DatasetDirectory
    from splitdata.dataset.segments.segment_writer import SegmentWriter
    from splitdata.dataset.segments.unfinished import ResumedSegment
    from splitdata.dataset.writing.session_options import SessionOptions

__all__ = ["PartSession"]


class PartSession(WriteSession):
    """The session of one part.

    Attributes:
        descriptor: Of the part, None until it is sealed.
    """

    def __init__(self, directory: DatasetDirectory, options: SessionOptions, part_id: str) -> None:
        """Open or make the directory, as a session that appends does."""
        self._part_id = part_id
        self.descriptor: PartDescriptor | None = None
        super().__init__(directory, options)

    @property
    def _takes_over_ids(self) -> bool:
        # What a killed attempt has left would keep its files from being as they would have been.
        return True

    def _new_segment(
        self,
        num_bins: int,
        resumed: ResumedSegment | None = None,
        *,
        first_number: int = 0,
        dictionary: bytes = b"",
    ) -> SegmentWriter:
        segment = super()._new_segment(num_bins, resumed, first_number=first_number, dictionary=dictionary)
        try:
            mark_unfinished(self._directory, segment.id)
        except BaseException:
            segment.close()
            raise
        return segment

    def commit(self, *, seal: bool, metadata: dict[str, Any] | None = None) -> range:
        """Seal the part; returns the numbers of its records, as it has no positions yet."""
        if not seal:
            raise ValueError("a part is committed with others: close its writer, and use commit_parts")
        # One without records has a segment too: that it was written is what others must find.
        segment = self._open_segment(0)
        segment.seal()
        self._claimed.check_in_place()
        segment.sync(first_position=0, durable=self._options.is_durable, is_first_commit=True)
        stated = self._metadata | (metadata or {}) | ({RECORD_CODEC: self.codec} if self.codec else {})
        encode_metadata(stated)
        info = replace(segment.info(), part=self._part_id)
        write_part_file(
            self._directory,
            Manifest(generation=1, dataset_id=info.id, segments=(info,), metadata=stated, schema=self.schema),
        )
        segment.mark_kept()
        self.descriptor = PartDescriptor.of(info)
        return range(info.num_records)

    def fold(self) -> None:
        """Fold nothing: the part is not among the segments of the dataset."""
        self._close_segment()
