"""open_part: a writer of one part of a dataset, which nobody sees until `commit_parts` lists it with the others.

It is written as any dataset is; only its end differs.

    open_part(path, "shard 3") ──> PartWriter ──close──> sealed segment, descriptor ──> commit_parts(path, descriptors)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from splitdata.dataset.parts.descriptor import check_part_id
from splitdata.dataset.parts.part_session import PartSession
from splitdata.dataset.writer import SplitWriter
from splitdata.errors import ClosedError
from splitdata.format.compression import DEFAULT_LEVEL

if TYPE_CHECKING:
    import os

    from splitdata.dataset.writing.session_options import SessionOptions
    from splitdata.dataset.writing.write_session import WriteSession

__all__ = ["PartWriter", "open_part"]


class PartWriter(SplitWriter):
    """Writes one part; `open_part` makes it. It has the methods of SplitWriter, but `commit`."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        part_id: str,
        *,
        bins: int | None = None,
        compression: Literal["zstd"] | None = None,
        compression_level: int = DEFAULT_LEVEL,
        compression_threads: int = 1,
        dictionary: bool = False,
        durability: Literal["commit", "none"] = "commit",
        metadata: dict[str, Any] | None = None,
        reproducible: bool | str = False,
        alignment: int | None = None,
        codec: Literal["sample", "text", "json", "npy", "bytes"] | None = None,
        group: int | None = None,
        schema: Any = None,  # types in the place of values, or any sample
    ) -> None:
        """Open the directory; see `open_part`."""
        self.part_id = check_part_id(part_id)
        source = reproducible if isinstance(reproducible, str) else ""
        super().__init__(
            path,
            bins=bins,
            mode="append",
            compression=compression,
            compression_level=compression_level,
            compression_threads=compression_threads,
            dictionary=dictionary,
            durability=durability,
            metadata=metadata,
            reproducible=f"{source} part {part_id}" if reproducible else False,
            alignment=alignment,
            codec=codec,
            group=group,
            schema=schema,
        )

    def _begun_session(self, options: SessionOptions) -> WriteSession:
        self._part_session = PartSession(self._directory(), options, self.part_id)
        return self._part_session

    def commit(self, *, metadata: dict[str, Any] | None = None) -> range:
        """Raise ValueError: a part is committed with others."""
        raise ValueError(
            f"part {self.part_id!r} of {self.path} is committed with others: close it, and give its descriptor to "
            "commit_parts"
        )

    @property
    def descriptor(self) -> dict[str, Any]:
        """What `commit_parts` takes: a dict of four JSON values, to be sent or stored in any way.

        Raises:
            ClosedError: If the part is not sealed: its writer is open still, or has failed.
        """
        found = self._part_session.descriptor
        if found is None:
            raise ClosedError(f"part {self.part_id!r} of {self.path} is not sealed: close its writer first")
        return found.to_json()


def open_part(
    path: str | os.PathLike[str],
    part_id: str,
    *,
    bins: int | None = None,
    compression: Literal["zstd"] | None = None,
    compression_level: int = DEFAULT_LEVEL,
    compression_threads: int = 1,
    dictionary: bool = False,
    durability: Literal["commit", "none"] = "commit",
    metadata: dict[str, Any] | None = None,
    reproducible: bool | str = False,
    alignment: int | None = None,
    codec: Literal["sample", "text", "json", "npy", "bytes"] | None = None,
    group: int | None = None,
    schema: Any = None,  # types in the place of values, or any sample
) -> PartWriter:
    """Return a writer of one part of a dataset; closing it seals the part, which no reader sees before `commit_parts`.

    Any number of processes, on any machines that share the directory, write parts at once, and may write one again: an
    attempt that was killed, or is late, leaves nothing that is ever read. Close the writer, then take its
    `descriptor`. ::

        with open_part("data/train", "shard 3") as writer:
            writer.write_many(records)
        descriptors.append(writer.descriptor)

    A sealed part waits for its commit for a week; nobody removes it before, unless the dataset is replaced, or another
    part of its name is committed.

    Args:
        path: The dataset; it is made where it does not exist.
        part_id: Its name, which is the same in each attempt to write it: 1 to 200 characters.
        bins: As `SplitWriter` takes it, and so are the others.
        compression: Of each record.
        compression_level: Of zstd.
        compression_threads: That compress.
        dictionary: With what the first records of the part have in common.
        durability: "none" does not wait for the medium while records are written.
        metadata: The commit adds them to the dataset's; of several parts the first that has a key counts.
        reproducible: Derive the ids from the options and the name of the part: equal records then give equal files.
        alignment: Of payloads.
        codec: Of the records, the same for all parts.
        group: Records that are stored together.
        schema: Of samples, the same for all parts.

    Raises:
        As `SplitWriter` with mode="append" does.
    """
    return PartWriter(
        path,
        part_id,
        bins=bins,
        compression=compression,
        compression_level=compression_level,
        compression_threads=compression_threads,
        dictionary=dictionary,
        durability=durability,
        metadata=metadata,
        reproducible=reproducible,
        alignment=alignment,
        codec=codec,
        group=group,
        schema=schema,
    )
