"""An augmentation that training waits for: made anew every epoch, kept in a Cache, or used several times by Rotation.

plain      augment every image in every epoch
Cache      augment every image once for two epochs, then again with other random numbers
Rotation   augment every image once an epoch, use it three times before it goes
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from splitdata import Cache, DistributedLoader, Rotation, SplitWriter

SHAPE = (48, 48, 3)
NUM_IMAGES = 300


def write_images(path: Path) -> None:
    rng = np.random.default_rng(0)
    with SplitWriter(path) as writer:
        for number in range(NUM_IMAGES):
            image = rng.integers(0, 256, SHAPE, np.uint8)
            image[0, 0] = number % 256, number // 256, 0
            writer.write(image.tobytes())


class Augment:
    """Crops and flips; counts what it makes, which is why this example has no worker processes."""

    def __init__(self) -> None:
        self.made: Counter[int] = Counter()

    def __call__(self, record: bytes, rng: np.random.Generator) -> dict[str, Any]:
        """Return a part of the image, every second one mirrored."""
        image = np.frombuffer(record, np.uint8).reshape(SHAPE)
        number = int(image[0, 0, 0]) + 256 * int(image[0, 0, 1])
        self.made[number] += 1
        time.sleep(0.0005)  # stands for the decoding of a large image
        top, left = rng.integers(0, 9, 2)
        crop = image[top : top + 40, left : left + 40]
        return {"image": crop[:, ::-1] if rng.random() < 0.5 else crop, "number": number}


def train(path: Path, reuse: dict[str, Any], num_epochs: int) -> None:
    augment = Augment()
    loader = DistributedLoader(path, batch_size=30, shuffle="global", transform=augment, **reuse)
    name = type(next(iter(reuse.values()))).__name__ if reuse else "plain"
    with loader:
        for epoch in range(num_epochs):
            before, begin = augment.made.total(), time.perf_counter()
            seen: dict[int, set[bytes]] = {}
            num_seen = 0
            for batch in loader:
                num_seen += len(batch["number"])
                for number, image in zip(batch["number"].tolist(), batch["image"], strict=True):
                    seen.setdefault(number, set()).add(image.tobytes())
            made, looks = augment.made.total() - before, sum(map(len, seen.values()))
            milliseconds = 1000 * (time.perf_counter() - begin)
            print(
                f"{name:>8}, epoch {epoch}: {made:3} augmented, {num_seen} seen of {len(seen)} images, "
                f"{looks} different, {milliseconds:4.0f} ms"
            )


with tempfile.TemporaryDirectory() as folder:
    images = Path(folder) / "images"
    write_images(images)
    train(images, {}, num_epochs=2)
    train(images, {"cache": Cache(Path(folder) / "cache", refresh_every=2)}, num_epochs=4)
    train(images, {"rotation": Rotation(times=3, size=100)}, num_epochs=2)
