"""Verifying the samples of a segment: the second copy of its schemas, and each record against the schema it names.

Records whose bytes are damaged are reported by others; here they are passed over.

    manifest "schemas" ── equal? ── file schemas
    record ──SampleCheck──> FormatError: intact bytes that are no sample
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from splitdata.dataset.segments.finding import Finding
from splitdata.dataset.segments.record_reader import RecordReader
from splitdata.errors import FormatError, RecordTooLargeError
from splitdata.format import spec
from splitdata.samples.sample_check import SampleCheck

if TYPE_CHECKING:
    from collections.abc import Iterator

    from splitdata.dataset.segments.segment_files import SegmentFiles

__all__ = ["check_samples", "check_schemas"]


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


def check_samples(files: SegmentFiles) -> Iterator[Finding]:
    """Yield each record of a segment that is intact, and no sample; records of 16 MiB and more are not looked at."""
    reader = RecordReader(files, verify=True, max_record_bytes=spec.LARGE_RECORD_BYTES)
    samples = SampleCheck(files.info.schemas)
    for sequence in range(files.num_entries_in(files.index())):
        try:
            if reader.length(sequence) >= spec.LARGE_RECORD_BYTES:
                continue
            record = reader.read(sequence)
        except (FormatError, RecordTooLargeError, OSError):
            continue
        try:
            samples.check(record)
        except FormatError as error:
            position = files.first_position + sequence
            problem = f"record {position} is intact, and no sample: {error}"
            yield Finding(path=files.paths.folder, problem=problem, position=position, num_records=0)
