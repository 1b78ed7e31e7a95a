"""L: batches of images from a warm page cache, through each loader.

    proof     one pass of each loader: every image once, as it was written
    round 1   a b c ...    each is opened, gives its first batches unmeasured, then runs for `seconds`, is closed
    round 2   a b c ...    the median of each loader's rates counts

The consumer looks at one number of each batch. Starting is S, not this.
"""

from __future__ import annotations

import gc
import time
from collections import Counter
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.cpu_time import family_seconds
from benchmarks.loaders.base import IMAGE_BYTES, Images
from benchmarks.measure import Result

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.loaders.base import LoaderPeer
    from benchmarks.measure import Settings

__all__ = ["DATA", "make_images", "measure_loading", "prove"]

DATA: Final = "D3"

_NUM_RECORDS: Final = 2000
_PASSES: Final = 8
_SEED: Final = 20261121
# Until the buffers between workers and consumer are full, and their memory has been touched.
_NUM_UNMEASURED: Final = 16


def make_images(folder: Path, share: float) -> tuple[Images, list[bytes]]:
    """Make D3 as a bare file; each record begins with its number, which proves what a loader gives.

    Returns:
        What and where it is, and the records.
    """
    count = max(256, int(_NUM_RECORDS * share))
    generator = np.random.default_rng(_SEED)
    records = [number.to_bytes(8, "little") + generator.bytes(IMAGE_BYTES - 8) for number in range(count)]
    with (folder / "bare").open("wb") as file:
        file.writelines(records)
    return Images(folder, count, _PASSES), records


def prove(peer: LoaderPeer, images: Images) -> None:
    """Run one pass, and see that every image comes once, in batches as they should be.

    Raises:
        ValueError: One is missing, or comes again, or a batch has another shape.
    """
    seen: Counter[int] = Counter()
    with closing(peer.open(replace(images, passes=1))) as feed:
        for batch in feed.epoch():
            if tuple(batch.shape[1:]) != (224, 224, 3) or len(batch) > images.batch_size:
                raise ValueError(f"{peer.name} gave a batch of shape {tuple(batch.shape)}")
            heads = batch.reshape(len(batch), -1)[:, :8].contiguous().numpy()
            seen.update(heads.view(np.int64).reshape(-1).tolist())
    if seen != Counter(range(images.num_records)):
        raise ValueError(f"{peer.name} gave {seen.total()} images, {len(seen)} of {images.num_records} different ones")


def measure_loading(peers: list[LoaderPeer], images: Images, settings: Settings) -> Iterator[Result]:
    """Yield what each loader reached, in images per second, when all rounds are over."""
    results = {peer.name: Result("L", DATA, peer.name) for peer in peers}
    for _ in range(settings.repeat):
        for peer in peers:
            result = results[peer.name]
            if not result.answer:
                try:
                    count, seconds, cpu_seconds = _run(peer, images, settings.seconds)
                except Exception as error:  # a peer that fails is reported, the others go on
                    result.answer = f"failed: {type(error).__name__}: {error}"
                else:
                    result.num_records = count
                    result.rates.append(count / seconds)
                    if cpu_seconds is not None:
                        result.cpu_seconds.append(cpu_seconds / count)
    yield from results.values()


def _run(peer: LoaderPeer, images: Images, seconds: float) -> tuple[int, float, float | None]:
    """Return images, seconds, and seconds of all processors, of one run."""
    gc.collect()
    count, begin, now = 0, 0.0, 0.0
    cpu_begin: float | None = None
    with closing(peer.open(images)) as feed:
        batches = feed.epoch()
        for number, batch in enumerate(batches, start=1 - _NUM_UNMEASURED):
            batch[0, 0, 0, 0]
            now = time.perf_counter()
            if number == 0:
                cpu_begin = family_seconds()
                begin = time.perf_counter()
            elif number > 0:
                count += len(batch)
                if now - begin > seconds:
                    break
        cpu_end = family_seconds()
        # A generator would go on to hold its threads.
        del batches
    if not count:
        raise ValueError(f"an epoch has {_NUM_UNMEASURED} batches or fewer: nothing was measured")
    return count, now - begin, None if cpu_begin is None or cpu_end is None else cpu_end - cpu_begin
