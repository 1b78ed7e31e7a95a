"""PackedCollate: sequences of one length out of the samples of a packed batch, and where each sample lies in them.

The samples come in the order of their packs, so that filling one sequence after the other finds the packs again.

    samples      [5 6 7] [8 9] [1 2 3 4]              size 6, two packs
    input_ids    5 6 7 8 9 . | 1 2 3 4 . .            int64[packs, size], padded
    segment_ids  1 1 1 2 2 0 | 1 1 1 1 0 0            which sample of the pack, from 1; 0 pads
    position_ids 0 1 2 0 1 0 | 0 1 2 3 0 0            place in the sample
    seq_lens     [3 2] [4]                            a list of arrays
    records      [31 7] [12]                          numbers of the records, a list of arrays

Where samples are split, what a batch has of them is cut every `size` elements: a piece is a part of one sample in one
pack.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from splitdata.order.counts import checked_count
from splitdata.order.packs import in_order_packs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["PackedCollate"]


# Beside the fields that are named.
_OWN: Final = frozenset({"segment_ids", "position_ids", "seq_lens", "records"})


class _Piece(NamedTuple):
    """Elements of one sample of the batch that lie in one pack."""

    sample: int
    part: range


@dataclass(frozen=True)
class PackedCollate:
    """A `collate_fn` for batches that `Packed` of the same size has made; gives a dict of numpy arrays.

        PackedCollate(4096, pad={"input_ids": 0, "labels": -100})

    Each field that is named becomes an array [packs, size] of the dtype of its samples, which are arrays or lists of
    one axis, of one length in all fields of a sample. "segment_ids" and "position_ids", int32[packs, size], "seq_lens"
    and, in a loader, "records" come with them. It pickles, and keeps nothing.

    Attributes:
        size: Length of a sequence.
        pad: Name of each field -> what pads it.
    """

    size: int
    pad: Mapping[str, float]

    def __post_init__(self) -> None:
        """Check both.

        Raises:
            TypeError, ValueError: If the size is invalid, no field is named, or one as what comes with them.
        """
        object.__setattr__(self, "size", checked_count("the size of packs", self.size, 1))
        if not self.pad:
            raise ValueError('pad names the fields to pack and what pads them, as {"input_ids": 0}; it is empty')
        if taken := sorted(_OWN.intersection(self.pad)):
            raise ValueError(f"a batch has {taken[0]!r} of its own: give the field another name")

    def __call__(self, samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the batch.

        Raises:
            ValueError: If fields of a sample differ in length, have more than one axis, or do not fit a sequence.
            KeyError: If a sample lacks a field.
        """
        return self.pack(samples)

    def pack(
        self,
        samples: Sequence[Mapping[str, Any]],
        *,
        records: Sequence[int] | None = None,
        span: tuple[int, int] | None = None,
    ) -> dict[str, Any]:
        """Return the batch.

        Args:
            samples: In the order of their packs.
            records: Number of each sample's record.
            span: Where samples are split: elements of the first that earlier batches have, and elements of this one.

        Raises:
            ValueError, KeyError: As a call.
        """
        columns = {name: [np.asarray(sample[name]) for sample in samples] for name in self.pad}
        lengths = self._lengths(columns)
        packs = self._whole(lengths) if span is None else self._split(lengths, *span)
        shape = (len(packs), self.size)
        batch: dict[str, Any] = {
            name: np.full(shape, fill, np.result_type(*columns[name])) for name, fill in self.pad.items()
        }
        batch["segment_ids"] = np.zeros(shape, np.int32)
        batch["position_ids"] = np.zeros(shape, np.int32)
        batch["seq_lens"] = [np.array([len(piece.part) for piece in pack], np.int64) for pack in packs]
        if records is not None:
            batch["records"] = [np.array([records[piece.sample] for piece in pack], np.int64) for pack in packs]
        for row, pack in enumerate(packs):
            begin = 0
            for number, (sample, part) in enumerate(pack, 1):
                here = slice(begin, begin + len(part))
                for name, values in columns.items():
                    batch[name][row, here] = values[sample][part.start : part.stop]
                batch["segment_ids"][row, here] = number
                batch["position_ids"][row, here] = part
                begin += len(part)
        return batch

    def _whole(self, lengths: list[int]) -> list[list[_Piece]]:
        """Return the packs of samples that are not split.

        Raises:
            ValueError: If one fits no sequence.
        """
        for place, length in enumerate(lengths):
            if length > self.size:
                raise ValueError(
                    f"sample {place} of the batch has {length} elements, a sequence has {self.size}: give Packed the "
                    "same size, and lengths of the same unit"
                )
        packs = in_order_packs(lengths, self.size)
        return [[_Piece(sample, range(lengths[sample])) for sample in pack.tolist()] for pack in packs]

    def _split(self, lengths: list[int], taken: int, num_elements: int) -> list[list[_Piece]]:
        """Return the packs of samples that are split.

        Raises:
            ValueError: If the samples are longer or shorter than they were said to be.
        """
        before = sum(lengths[:-1]) - taken
        if not (taken < lengths[0] and before < num_elements <= before + lengths[-1]):
            raise ValueError(
                f"the samples of a batch have {sum(lengths)} elements, of which those behind the first {taken} should "
                f"end in the last sample after {num_elements}: lengths of Packed must be those that the transform gives"
            )
        packs: list[list[_Piece]] = []
        room = 0
        for sample, length in enumerate(lengths):
            begin = taken if sample == 0 else 0
            length = min(length, begin + num_elements)
            num_elements -= length - begin
            while begin < length:
                if not room:
                    packs.append([])
                    room = self.size
                piece = range(begin, min(length, begin + room))
                packs[-1].append(_Piece(sample, piece))
                room -= len(piece)
                begin = piece.stop
        return packs

    def _lengths(self, columns: Mapping[str, list[NDArray[Any]]]) -> list[int]:
        lengths: list[int] = []
        for place, values in enumerate(zip(*columns.values(), strict=True)):
            shapes = {value.shape for value in values}
            if len(shapes) != 1 or values[0].ndim != 1:
                named = ", ".join(f"{name} {value.shape}" for name, value in zip(columns, values, strict=True))
                raise ValueError(f"fields to pack have one axis of one length; sample {place} of the batch has {named}")
            lengths.append(len(values[0]))
        return lengths
