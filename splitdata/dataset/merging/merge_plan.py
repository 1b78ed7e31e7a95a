"""What a merge will do with each segment, and what the result says of itself; it changes nothing.

    segment ── sealed, its id is free ──────────────> link       it keeps its id
       ├────── open, or another one has its id ─────> rewrite    the id follows from what it is made of
       └────── an earlier call has added it ────────> is there   known by its id, records and digest

Of metadata the first dataset that has a key counts; codec and declared schema must be one for all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Final

import xxhash

from splitdata._shown import shown
from splitdata.dataset.manifests.declared_codec import RECORD_CODEC, stated_codec
from splitdata.dataset.manifests.origin import without_origin
from splitdata.dataset.manifests.stated_schema import check_schema
from splitdata.dataset.merging.shared_keys import shared_keys
from splitdata.errors import DuplicateKeyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from splitdata.dataset.merging.inputs import MergeInput
    from splitdata.format.manifest import Manifest, SegmentInfo

__all__ = ["MergePlan", "MergeStep", "check_keys"]

# So many keys that occur twice are named.
_MOST_NAMED: Final = 10


@dataclass(frozen=True, slots=True)
class MergeStep:
    """What is done with one segment.

    Attributes:
        source: The dataset that has it.
        info: Its entry there.
        id: That it has, or gets, in the other dataset.
        is_there: That dataset lists it already.
    """

    source: MergeInput
    info: SegmentInfo
    id: str
    is_there: bool

    @property
    def is_link(self) -> bool:
        """Whether its files can be linked."""
        return self.info.is_sealed and self.id == self.info.id

    @property
    def num_bytes(self) -> int:
        """Bytes of its bins."""
        return sum(self.source.directory.paths.segment(self.info.id).sizes_of_bins().values())


class MergePlan:
    """How datasets are put behind the segments of a manifest.

    Attributes:
        sources: The datasets.
        base: The manifest with metadata and schema as they will be, and no segment of the sources.
        steps: One for each segment with records, in order.
        metadata_left_out: Keys for which a source has another value than one before it.
    """

    def __init__(self, base: Manifest, sources: Sequence[MergeInput]) -> None:
        """Look at all segments.

        Raises:
            SchemaError, ValueError: If the records have different schemas or codecs.
        """
        self.sources = sources
        self.steps = _steps(base, sources)
        left_out: dict[str, None] = {}
        for source in sources:
            base = _with_statements(base, source.manifest, left_out)
            # Only to be compared with what follows.
            base = replace(base, segments=(*base.segments, *source.manifest.segments))
        self.metadata_left_out = tuple(left_out)
        own = len(base.segments) - sum(len(source.manifest.segments) for source in sources)
        self.base = replace(base, segments=base.segments[:own])

    @property
    def missing(self) -> list[MergeStep]:
        """The steps that are left to do."""
        return [step for step in self.steps if not step.is_there]

    def is_done_in(self, manifest: Manifest) -> bool:
        """Say whether a dataset consists of exactly these segments."""
        there = [(info.id, info.num_records, info.digest) for info in manifest.segments]
        return there == [(step.id, step.info.num_records, step.info.digest) for step in self.steps]


def _steps(base: Manifest, sources: Sequence[MergeInput]) -> list[MergeStep]:
    there = {info.id: info for info in base.segments}
    used: set[str] = set()
    steps = []
    for source in sources:
        for info in filter(lambda one: one.num_records, source.manifest.segments):
            known = there.get(info.id)
            is_other = known is not None and (known.num_records, known.digest) != (info.num_records, info.digest)
            own_id, number = info.id, 0
            if not info.is_sealed or info.id in used or is_other:
                own_id = _derived_id(info, number)
                while own_id in used:
                    number += 1
                    own_id = _derived_id(info, number)
            used.add(own_id)
            steps.append(MergeStep(source, info, own_id, own_id in there))
    return steps


def _derived_id(info: SegmentInfo, number: int) -> str:
    """Return the id of a segment with the records of another: the same in each call."""
    what = f"{info.num_records} records of digest {info.digest:016x} of {info.id} without {info.deleted_hash:016x}"
    return xxhash.xxh3_128_hexdigest(f"copy {number} of {what}".encode())


def _with_statements(base: Manifest, other: Manifest, left_out: dict[str, None]) -> Manifest:
    """Return a manifest that also says what another says of its records, but for what it says otherwise itself."""
    adds = without_origin(other.metadata)
    if base.num_records and other.num_records and stated_codec(base.metadata) != stated_codec(adds):
        raise ValueError(
            f"records of the codec {shown(stated_codec(base.metadata) or 'none')} and of the codec "
            f"{shown(stated_codec(adds) or 'none')} cannot be in one dataset ({RECORD_CODEC} in its metadata)"
        )
    left_out.update(dict.fromkeys(name for name in adds if name in base.metadata and base.metadata[name] != adds[name]))
    if other.num_records or (base.schema is None and not base.num_records):
        check_schema(base, other.schema)
        base = replace(base, schema=other.schema)
    return replace(base, metadata=adds | base.metadata, version=max(base.version, other.version))


def check_keys(datasets: Sequence[MergeInput]) -> None:
    """Raise if live records of two datasets have one key.

    Raises:
        DuplicateKeyError: With the first of them.
    """
    found = list(islice(shared_keys([one.files() for one in datasets]), _MOST_NAMED + 1))
    if not found:
        return
    named = ", ".join(shown(one.key) for one in found[:_MOST_NAMED])
    raise DuplicateKeyError(
        f"{'more than ' if len(found) > _MOST_NAMED else ''}{len(found[:_MOST_NAMED])} keys occur in two of the "
        f"datasets: {named}; nothing was changed: delete one record of each, or allow it with "
        "allow_duplicate_keys=True, after which such a key leads to the last record that has it",
        key=found[0].key,
        numbers=found[0].positions,
    )
