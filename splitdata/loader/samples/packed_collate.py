"""PackedCollate: sequences of one length out of the samples of a packed batch, and where each sample lies in them.

The samples come in the order of their packs, so that filling one sequence after the other finds the packs again.

    samples      [5 6 7] [8 9] [1 2 3 4]              size 6, two packs
    input_ids    5 6 7 8 9 . | 1 2 3 4 . .            int64[packs, size], padded
    segment_ids  1 1 1 2 2 0 | 1 1 1 1 0 0            which sample of the pack, from 1; 0 pads
    position_ids 0 1 2 0 1 0 | 0 1 2 3 0 0            place in the sample
    seq_lens     [3 2] [4]                            a list of arrays
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from splitdata.order.batching import in_order_packs
from splitdata.order.counts import checked_count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["PackedCollate"]


@dataclass(frozen=True)
class PackedCollate:
    """A `collate_fn` for batches that `Packed` of the same size has made; gives a dict of numpy arrays.

        PackedCollate(4096, pad={"input_ids": 0, "labels": -100})

    Each field that is named becomes an array [packs, size] of the dtype of its samples, which are arrays or lists of
    one axis, of one length in all fields of a sample. "segment_ids" and "position_ids", int32[packs, size], and
    "seq_lens" come with them. It pickles, and keeps nothing.

    Attributes:
        size: Length of a sequence.
        pad: Name of each field -> what pads it.
    """

    size: int
    pad: Mapping[str, float]

    def __post_init__(self) -> None:
        """Check both.

        Raises:
            TypeError, ValueError: If the size is invalid, or no field is named.
        """
        object.__setattr__(self, "size", checked_count("the size of packs", self.size, 1))
        if not self.pad:
            raise ValueError('pad names the fields to pack and what pads them, as {"input_ids": 0}; it is empty')

    def __call__(self, samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the batch.

        Raises:
            ValueError: If fields of a sample differ in length, have more than one axis, or do not fit a sequence.
            KeyError: If a sample lacks a field.
        """
        columns = {name: [np.asarray(sample[name]) for sample in samples] for name in self.pad}
        lengths = self._lengths(columns)
        packs = in_order_packs(lengths, self.size)
        shape = (len(packs), self.size)
        batch: dict[str, Any] = {
            name: np.full(shape, fill, np.result_type(*columns[name])) for name, fill in self.pad.items()
        }
        batch["segment_ids"] = np.zeros(shape, np.int32)
        batch["position_ids"] = np.zeros(shape, np.int32)
        batch["seq_lens"] = [np.array([lengths[sample] for sample in pack], np.int64) for pack in packs]
        for row, pack in enumerate(packs):
            begin = 0
            for number, sample in enumerate(pack.tolist(), 1):
                here = slice(begin, begin + lengths[sample])
                for name, values in columns.items():
                    batch[name][row, here] = values[sample]
                batch["segment_ids"][row, here] = number
                batch["position_ids"][row, here] = np.arange(lengths[sample])
                begin += lengths[sample]
        return batch

    def _lengths(self, columns: Mapping[str, list[NDArray[Any]]]) -> list[int]:
        lengths: list[int] = []
        for place, values in enumerate(zip(*columns.values(), strict=True)):
            shapes = {value.shape for value in values}
            if len(shapes) != 1 or values[0].ndim != 1:
                named = ", ".join(f"{name} {value.shape}" for name, value in zip(columns, values, strict=True))
                raise ValueError(f"fields to pack have one axis of one length; sample {place} of the batch has {named}")
            if len(values[0]) > self.size:
                raise ValueError(
                    f"sample {place} of the batch has {len(values[0])} elements, a sequence has {self.size}: give "
                    "Packed the same size, and lengths of the same unit"
                )
            lengths.append(len(values[0]))
        return lengths
