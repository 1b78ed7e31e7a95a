"""The file that makes a sealed segment a part: a manifest of that segment alone, in its folder. docs/format/writing.md.

It is the last thing that is written, and appears whole: a segment without it was never finished.

    segments/<32 hex>/index, 000000.bin, ...
                      part.tmp, empty         while it is written: what a kill leaves is none that `repair` may adopt
                      part                    {"segments":[{"id":"<32 hex>","part":"shard 3",...}],"metadata":{...}}
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from splitdata.errors import ManifestError
from splitdata.format import spec
from splitdata.format.manifest import Manifest
from splitdata.storage import files
from splitdata.storage.replace import replace_file

if TYPE_CHECKING:
    from splitdata.dataset.manifests.directory import DatasetDirectory

__all__ = ["mark_unfinished", "read_part_file", "write_part_file"]


def mark_unfinished(directory: DatasetDirectory, segment_id: str) -> None:
    """Say of a segment that has just been made that it will be a part."""
    with directory.open_segment(segment_id) as folder:
        files.close(folder.create(spec.PART_SCRATCH_NAME))


def write_part_file(directory: DatasetDirectory, manifest: Manifest) -> None:
    """Put the manifest of one segment, with the name of the part, into the folder of the segment; it is on the medium.

    Raises:
        OSError: If the disk fails.
    """
    (info,) = manifest.segments
    with directory.open_segment(info.id) as folder:
        replace_file(folder, spec.PART_SCRATCH_NAME, spec.PART_NAME, [manifest.encode()])


def read_part_file(directory: DatasetDirectory, segment_id: str) -> Manifest:
    """Read and prove what a part says of itself.

    Raises:
        FileNotFoundError: If there is no such segment, or it is no part.
        ManifestError: If it is damaged, or that of another segment.
        UnsupportedVersionError: If it needs a newer splitdata.
    """
    path = directory.paths.segment(segment_id).part
    with directory.open_segment(segment_id) as folder:
        descriptor = folder.open_file(spec.PART_NAME)
    try:
        data = files.read_at(descriptor, spec.MAX_MANIFEST_BYTES + 1, 0)
    finally:
        files.close(descriptor)
    try:
        manifest = Manifest.decode(data)
    except ManifestError as error:
        raise ManifestError(f"{path}: {error}; write the part again", path=path) from None
    listed = [(info.id, info.is_sealed, info.part is not None) for info in manifest.segments]
    if listed != [(segment_id, True, True)]:
        raise ManifestError(f"{path} is not that of a part in this folder; write the part again", path=path)
    return manifest
