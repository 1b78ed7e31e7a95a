"""Verifying the schemas of a segment: its own file against the manifest. The check of bins looks at the samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from splitdata.dataset.segments.finding import Finding
from splitdata.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from splitdata.dataset.segments.segment_files import SegmentFiles

__all__ = ["check_schemas"]


def check_schemas(files: SegmentFiles) -> Iterator[Finding]:
    """Yield what is wrong with the second copy of a segment's schemas; none of it costs a record."""
    expected = files.info.schemas
    if not expected:
        return
    problem = "it has not the schemas that the manifest lists; `splitdata repair` makes it again from those"
    try:
        if tuple(files.stored_schemas()[: len(expected)]) == expected:
            return
    except (FormatError, OSError) as error:
        problem = str(error)
    yield Finding(path=files.paths.schemas, problem=problem, position=None, num_records=0)
