"""The bare file as a dataset: one map of all records, made anew in each process. No check of anything."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, Any

from benchmarks.loaders.base import IMAGE_BYTES, Images, to_image

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["BareImages"]


class BareImages:
    """Images by number, as views of the map; the least that reading can cost."""

    def __init__(self, images: Images) -> None:
        self._path = images.folder / "bare"
        self._num_records = images.num_records
        self._num_samples = images.num_samples
        self._data: memoryview | None = None

    def __len__(self) -> int:
        return self._num_samples

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        data = self._data
        if data is None:
            with self._path.open("rb") as file:
                # A private map may be written to, without which torch warns at every image.
                data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
            self._data = data
        start = index % self._num_records * IMAGE_BYTES
        return to_image(data[start : start + IMAGE_BYTES])

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_data": None}
