"""A WebDataset shard: members of one stem, one behind the other, are a sample, with a field for each suffix.

Fields are the bytes of the members, undecoded. A key that comes again later is the writer's DuplicateKeyError.

    a/1.jpg  a/1.CLS  a/2.jpg  a/2.cls  ──>  key a/1  {"jpg": bytes, "cls": bytes}     key a/2  {...}
     key: a/1    field: cls, in small letters: all behind the first dot of the last part of the path
"""

from __future__ import annotations

from contextlib import closing
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any, Final

from splitdata.conversion.sources.archives.archive_names import is_hidden
from splitdata.conversion.sources.archives.tar_files import TarSource
from splitdata.conversion.sources.archives.tar_members import TarMembers
from splitdata.conversion.sources.files.input_file import InputFile
from splitdata.conversion.sources.sample_source import SampleSource
from splitdata.conversion.sources.source import storable
from splitdata.errors import RecordTooLargeError

if TYPE_CHECKING:
    from collections.abc import Generator

    from splitdata.conversion.sources.source import SourcePosition

__all__ = ["WebDatasetSource", "is_webdataset"]

_MAX_SAMPLE_BYTES: Final = 1 << 30
_NUM_LOOKED_AT: Final = 64


def is_webdataset(path: str) -> bool:
    """Say whether two members in a row share a stem, among the first 64 of an archive; SourceError if it is damaged."""
    with closing(TarMembers(InputFile(path, is_archive=True))) as members:
        files = (member.name for member in islice(members, _NUM_LOOKED_AT) if member.isreg())
        stems = [_split(name)[0] for name in files if not _is_left_out(name)]
    return any(one == other for one, other in pairwise(stems))


class WebDatasetSource(SampleSource, TarSource):
    """The samples of a shard, plain or compressed; one is in memory at a time."""

    kind = "webdataset"

    def __init__(self, path: str) -> None:
        """Take a path, "-" for standard input; raises as `InputFile` does."""
        super().__init__(path)
        self._behind: SourcePosition = {}

    @property
    def metadata(self) -> dict[str, Any]:
        """The codec of the samples."""
        return {"record_codec": "sample"}

    def position(self) -> SourcePosition:
        """Return where the next sample begins; what was read ahead of it is not counted."""
        return self._behind | {"record": self._num_given}

    def keyed_records(self, position: SourcePosition | None = None) -> Generator[tuple[str, bytes], None, None]:
        """Yield the key of each sample behind a position, and the sample.

        Raises:
            SourceError: If the archive is damaged or truncated, a sample has a field twice, a name has no suffix, or
                there is no sample.
            RecordTooLargeError: If a sample has more than 1 GiB.
        """
        self._behind = dict(position or {})
        with closing(self._begun(position)) as members:
            key, sample, num_bytes = "", dict[str, bytes](), 0
            behind = self.position()
            for path, member in self._files(members):
                if _is_left_out(path):
                    self.skipped["member that describes the shard"] += 1
                    continue
                stem, field = _split(path)
                if not field:
                    raise self._refusal(
                        f"has a member {path} without a suffix, so it is of no field: kind='tar' takes each file "
                        "as a record"
                    )
                if sample and stem != key:
                    yield self._given(key, sample, behind)
                    sample, num_bytes = {}, 0
                key = stem
                if field in sample:
                    raise self._refusal(f"has the field {field} of the sample {key} twice")
                num_bytes += member.size
                if num_bytes > _MAX_SAMPLE_BYTES:
                    raise RecordTooLargeError(f"{self._input.shown}: the sample {key} has more than 1 GiB")
                sample[field] = self._sized(members, member, path).read_whole()
                behind = {"byte": members.byte, "skipped": dict(self.skipped)}
            if sample:
                yield self._given(key, sample, behind)
        self._check_given()

    def _given(self, key: str, sample: dict[str, bytes], behind: SourcePosition) -> tuple[str, bytes]:
        self._num_given += 1
        self._behind = behind
        return key, self._encoded(sample)


def _split(path: str) -> tuple[str, str]:
    """Return key and field of a path; no field where its last part has no suffix, or nothing before it."""
    folder, slash, name = path.rpartition("/")
    stem, _, suffix = name.partition(".")
    return (folder + slash + stem, storable(suffix.lower())) if stem else (path, "")


def _is_left_out(path: str) -> bool:
    """Say whether a member is none of a sample: "__meta__" and what is hidden."""
    name = path.removeprefix("./").rpartition("/")[2]
    return is_hidden(path.removeprefix("./")) or (name.startswith("__") and name.split(".")[0].endswith("__"))
