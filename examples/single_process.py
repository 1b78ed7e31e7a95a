"""DistributedLoader in one process: two workers decode and augment, every epoch has another order.

records: images as bytes ──worker──> {"image": float32[3, 32, 32], "label": int} ──worker──> batches of 64
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from splitdata import DistributedLoader, SplitWriter

SHAPE = (32, 32, 3)
NUM_IMAGES = 5_000


def write_images(path: Path) -> None:
    rng = np.random.default_rng(0)
    with SplitWriter(path, bins=8) as writer:
        for number in range(NUM_IMAGES):
            image = rng.integers(0, 256, SHAPE, np.uint8)
            image[0, 0, 0] = number % 10
            writer.write(image.tobytes())


def augment(record: bytes, rng: np.random.Generator) -> dict[str, Any]:
    """Runs in a worker. `rng` depends on seed, epoch and record: not on who does it, or when."""
    image = np.frombuffer(record, np.uint8).reshape(SHAPE)
    label = int(image[0, 0, 0])
    if rng.random() < 0.5:
        image = image[:, ::-1]
    return {"image": image.transpose(2, 0, 1).astype(np.float32) / 255, "label": label}


def first_images(path: Path, num_workers: int) -> float:
    """Return a number that any other pixel, order or flip would change."""
    with DistributedLoader(
        path, batch_size=64, shuffle="global", seed=7, transform=augment, num_workers=num_workers
    ) as loader:
        batch = next(iter(loader))
        return float((batch["image"] * np.arange(batch["image"].size).reshape(batch["image"].shape)).sum())


with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "images"
    write_images(path)
    loader = DistributedLoader(path, batch_size=64, shuffle="global", seed=7, transform=augment, num_workers=2)
    with loader:
        # next(iter(loader)) would use up an epoch.
        shapes = {name: values.shape for name, values in loader.peek().items()}
        print(f"{len(loader)} batches an epoch from {NUM_IMAGES} images, as {shapes}")
        for epoch in range(2):
            labels = np.zeros(10, np.int64)
            for batch in loader:
                labels += np.bincount(batch["label"], minlength=10)
                time.sleep(0.002)  # stands for a training step
            print(f"epoch {epoch}: {batch['image'].shape[1:]} {batch['image'].dtype}, images of each label {labels}")
            print(f"         first records {loader.records(epoch, 0)[:6]}, state {loader.position}")
        print(loader.stats())
    same = first_images(path, num_workers=0) == first_images(path, num_workers=2)
    print("the first batch without workers and with two:", "identical" if same else "different")
