"""Samples as bytes on their way from a worker to the loader, which keeps them for some time.

Bytes name a namedtuple or dataclass, and hold no class. The packer sends each class along, once; so the samples
that are unpacked are of the types that were packed.

    [sample, sample, ...] ──SamplePacker──> data  | sample 0 | gap | sample 1 | ...     each at a multiple of 64
                                            starts, lengths, classes
    one sample's bytes    ──SampleUnpacker──> sample, its arrays views of them
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from splitdata.loader.samples.error_notes import add_note
from splitdata.samples.collate import Allocate
from splitdata.samples.decode import SampleDecoder
from splitdata.samples.decode_plan import HEADER
from splitdata.samples.encode import encode_sample_parts
from splitdata.samples.nesting import keys_of, part
from splitdata.samples.restore import kind_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from splitdata._types import BytesLike

__all__ = ["PackedSamples", "SamplePacker", "SampleUnpacker", "aligned", "kind_of_sample", "unpack_all"]


_ALIGNMENT: Final = 64
# Past it a schema is walked again: samples of so many kinds are no reason to keep all of them.
_MAX_KNOWN: Final = 4096


class PackedSamples(NamedTuple):
    """Some samples as bytes.

    `data` is uint8; `starts` and `lengths` say in int64 where each lies; `classes` those that are new among them.
    """

    data: NDArray[np.uint8]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    classes: tuple[type, ...]


def aligned(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return what samples of these lengths take up, so that the next one begins aligned."""
    return -(-lengths // _ALIGNMENT) * _ALIGNMENT


class SamplePacker:
    """Packs samples; one for each worker. Not thread-safe.

    Args:
        allocate: Makes the array that the bytes of samples are put into.
    """

    def __init__(self, allocate: Allocate = np.empty) -> None:
        self._allocate = allocate
        self._known_heads: set[BytesLike] = set()
        self._known_classes: set[type] = set()

    def pack(self, samples: Sequence[Any], records: Sequence[int]) -> PackedSamples:
        """Return the bytes of samples; `records` are what they were made from, for messages.

        Raises:
            TypeError, ValueError: A sample holds what has no such bytes: names the part and the record.
        """
        encoded = [self._encode(sample, record) for sample, record in zip(samples, records, strict=True)]
        views = [[memoryview(piece).cast("B") for piece in pieces] for pieces in encoded]
        lengths = np.array([sum(map(len, pieces)) for pieces in views], np.int64)
        ends = np.cumsum(aligned(lengths))
        starts = ends - aligned(lengths)
        data = self._allocate((int(ends[-1]) if len(ends) else 0,), np.dtype(np.uint8))
        room = data.data
        for start, pieces in zip(starts.tolist(), views, strict=True):
            for piece in pieces:
                room[start : start + len(piece)] = piece
                start += len(piece)
        return PackedSamples(data, starts, lengths, self._new_classes(samples, encoded))

    def _encode(self, sample: Any, record: int) -> list[BytesLike]:
        try:
            return encode_sample_parts(sample)
        except Exception as error:
            add_note(
                error,
                f"raised while the sample of record {record} was packed for rotation, which keeps samples as bytes: "
                "return arrays, tensors, numbers, text, bytes and containers of them from the transform",
            )
            raise

    def _new_classes(self, samples: Sequence[Any], encoded: Sequence[list[BytesLike]]) -> tuple[type, ...]:
        new: dict[type, None] = {}
        for sample, pieces in zip(samples, encoded, strict=True):
            # Samples that are alike in everything but values share this piece.
            if pieces[0] not in self._known_heads:
                if len(self._known_heads) >= _MAX_KNOWN:
                    self._known_heads.clear()
                self._known_heads.add(pieces[0])
                _add_classes(sample, new)
        found = tuple(cls for cls in new if cls not in self._known_classes)
        self._known_classes.update(found)
        return found


def _add_classes(value: Any, found: dict[type, None]) -> None:
    keys = keys_of(value)
    if keys is None:
        return
    if kind_of(type(value)) is not None:
        found[type(value)] = None
    for key in keys:
        _add_classes(part(value, key), found)


class SampleUnpacker:
    """Makes samples from bytes; learns classes on the way. Not thread-safe."""

    def __init__(self) -> None:
        self._decoder = SampleDecoder()

    def learn(self, classes: Iterable[type]) -> None:
        """Take what `PackedSamples.classes` said.

        Raises:
            ValueError: Two classes of samples have one name.
        """
        known = self._decoder.known.types
        new = [cls for cls in classes if cls not in known]
        if new:
            self._decoder = SampleDecoder((*known, *new))

    def unpack(self, data: memoryview) -> Any:
        """Return a sample. Its arrays and tensors are views of `data`, which they keep; the rest is copied."""
        return self._decoder.decode(data)

    def unpack_batch(self, data: Sequence[memoryview]) -> Any:
        """Return samples of one kind as the batch that the default collate makes of them; shares no memory.

        Raises:
            ValueError: They differ in structure or shapes.
        """
        return self._decoder.decode_columns(data)


def kind_of_sample(data: memoryview) -> bytes:
    """Return bytes that are the same for all samples that are alike in structure and types."""
    _, size = HEADER.unpack_from(data)
    return bytes(data[: HEADER.size + size])


def unpack_all(packed: PackedSamples) -> list[Any]:
    """Return the samples again, as views of `packed.data`."""
    unpacker = SampleUnpacker()
    unpacker.learn(packed.classes)
    ends = (packed.starts + packed.lengths).tolist()
    return [
        unpacker.unpack(packed.data.data[start:end]) for start, end in zip(packed.starts.tolist(), ends, strict=True)
    ]
