"""describe: what a dataset is, from its manifest, the index and the sizes of its files; no record is read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from splitdata._place import dataset_place
from splitdata.dataset.legacy.legacy_files import bins_in
from splitdata.dataset.legacy.legacy_scan import scan
from splitdata.dataset.manifests.declared_codec import stated_codec
from splitdata.dataset.manifests.remote_directory import directory_at
from splitdata.dataset.reading.snapshot import open_legacy, open_state
from splitdata.format import spec
from splitdata.format.legacy import ENTRY_BYTES
from splitdata.samples.sample_schema import SampleSchema

if TYPE_CHECKING:
    from splitdata.dataset.legacy.legacy_directory import LegacyDirectory
    from splitdata.dataset.manifests.directory import DatasetDirectory
    from splitdata.format.manifest import SegmentInfo

__all__ = ["DatasetDescription", "SegmentDescription", "describe"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentDescription:
    """One segment of a dataset; see `DatasetDescription` for the words.

    Attributes:
        group: Records that are stored together; 1: each by itself.
    """

    id: str
    num_records: int
    num_bins: int
    is_sealed: bool
    raw_bytes: int
    stored_bytes: int
    disk_bytes: int
    num_keys: int
    dictionary_bytes: int
    num_deleted: int = 0
    group: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetDescription:
    """The figures of a dataset, as `describe` returns them.

    Attributes:
        path: The directory.
        format_version: Of its files.
        generation: The manifest that is described.
        dataset_id: 32 hex digits, of this dataset for as long as it lives.
        fingerprint: Of its records and their order, however they are stored.
        num_records, num_segments, num_bins: How many there are.
        raw_bytes: Of all records as they were written.
        stored_bytes: Of all records as they are stored: less, if they are compressed.
        disk_bytes: Of all files, with headers and index.
        max_record_bytes: The largest record; None where the index does not say.
        num_keys: Records that have a key.
        num_deleted: Records that were deleted; all other numbers count them, as they keep their positions.
        metadata: What the writers stored with it.
        schemas: What its samples are: each schema that some of them name; `str` shows it.
        schema: The one of these that it declares for all of its samples, None if it declares none.
        segments: In the order of positions.
        unlisted_segments: Folders of writers that are at work, or were killed before a commit.
        layout: Whose files these are: "splitdata", or "splitdataloader 0.0.1", which has neither segments,
            generations nor an id.
        problems: What is wrong at first sight with files of another package; `verify` looks further.
    """

    path: str
    format_version: tuple[int, int]
    generation: int
    dataset_id: str
    fingerprint: str
    num_records: int
    num_segments: int
    num_bins: int
    raw_bytes: int
    stored_bytes: int
    disk_bytes: int
    max_record_bytes: int | None
    num_keys: int
    metadata: dict[str, Any]
    segments: tuple[SegmentDescription, ...]
    unlisted_segments: tuple[str, ...]
    num_deleted: int = 0
    schemas: tuple[SampleSchema, ...] = ()
    schema: SampleSchema | None = None
    layout: str = "splitdata"
    problems: tuple[str, ...] = ()

    @property
    def record_codec(self) -> str | None:
        """The name of the records' codec, with which `SampleDataset` reads them; None if the dataset names none."""
        return stated_codec(self.metadata)

    @property
    def mean_record_bytes(self) -> float:
        """Mean length of a record, 0 where there is none."""
        return self.raw_bytes / self.num_records if self.num_records else 0.0


def describe(path: str | os.PathLike[str], *, generation: int | None = None) -> DatasetDescription:
    """Describe a dataset; costs a look at each of its files' sizes.

    Raises:
        DatasetNotFoundError, ManifestError, UnsupportedVersionError: As for opening.
        FormatError: If the folder of a segment is a link.
    """
    path = dataset_place(path)
    directory = directory_at(path)
    legacy = None if directory.is_held else open_legacy(path, generation, None)
    if legacy is not None:
        return _describe_legacy(legacy)
    manifest, _ = open_state(directory, generation, None)
    segments = tuple(_describe_segment(directory, info) for info in manifest.segments)
    listed = {info.id for info in manifest.segments}
    return DatasetDescription(
        path=directory.folder,
        format_version=spec.FORMAT_VERSION,
        generation=manifest.generation,
        dataset_id=manifest.dataset_id,
        fingerprint=manifest.fingerprint,
        num_records=manifest.num_records,
        num_segments=len(segments),
        num_bins=sum(segment.num_bins for segment in segments),
        raw_bytes=sum(segment.raw_bytes for segment in segments),
        stored_bytes=sum(segment.stored_bytes for segment in segments),
        disk_bytes=sum(segment.disk_bytes for segment in segments)
        + directory.size_of(directory.paths.manifest(manifest.generation)),
        max_record_bytes=_largest(directory, manifest.segments),
        num_keys=sum(segment.num_keys for segment in segments),
        num_deleted=manifest.num_deleted,
        metadata=manifest.metadata,
        segments=segments,
        schemas=tuple(map(SampleSchema, manifest.schemas)),
        schema=None if manifest.schema is None else SampleSchema(manifest.schema),
        unlisted_segments=tuple(one for one in directory.segment_ids() if one not in listed),
    )


def _describe_legacy(directory: LegacyDirectory) -> DatasetDescription:
    """Describe a directory of splitdataloader from its index and the sizes of its bins, which tell if they agree."""
    lengths = directory.files().entries(0, directory.num_records)["length"]
    sizes = bins_in(directory.path)
    raw_bytes = int(lengths.sum(dtype=np.int64))
    index_bytes = directory.num_records * ENTRY_BYTES + directory.tail_bytes
    findings = () if directory.seems_whole() else scan(directory).findings
    return DatasetDescription(
        path=directory.path,
        format_version=(0, 0),
        generation=directory.generation,
        dataset_id="",
        fingerprint=directory.fingerprint,
        num_records=directory.num_records,
        num_segments=0,
        num_keys=0,
        num_bins=len(sizes),
        raw_bytes=raw_bytes,
        stored_bytes=raw_bytes,
        disk_bytes=sum(sizes.values()) + index_bytes,
        max_record_bytes=int(lengths.max(initial=0)),
        metadata=directory.metadata,
        segments=(),
        unlisted_segments=(),
        layout=directory.dataset_id,
        problems=tuple(f"{os.path.basename(finding.path)}: {finding.problem}" for finding in findings),
    )


def _describe_segment(directory: DatasetDirectory, info: SegmentInfo) -> SegmentDescription:
    paths = directory.paths.segment(info.id)
    paths.refuse_links()
    header = directory.index_header(info.id)
    # Those that are there: a manifest of 300 bytes may claim millions.
    bins = sum(size for number, size in paths.sizes_of_bins().items() if number < info.num_bin_files)
    others = (paths.index, paths.keys, paths.open_keys, paths.schemas, paths.deleted(info.deleted_hash))
    return SegmentDescription(
        id=info.id,
        num_records=info.num_records,
        num_bins=info.num_bins,
        is_sealed=info.is_sealed,
        raw_bytes=info.raw_bytes,
        stored_bytes=info.stored_bytes,
        disk_bytes=bins + sum(map(directory.size_of, others)),
        num_keys=info.num_keys,
        dictionary_bytes=header.dictionary_bytes if header else 0,
        num_deleted=info.num_deleted,
        group=info.group,
    )


def _largest(directory: DatasetDirectory, segments: tuple[SegmentInfo, ...]) -> int | None:
    headers = [directory.index_header(info.id) for info in segments]
    return max((header.max_raw_bytes for header in headers if header is not None), default=None)
