"""Rare classes as often as common ones: pictures of three classes, one of them in one picture of fifty.

Each step has as many of each class, each picture of a class comes before one comes again, and a stop changes nothing.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from splitdata import DistributedLoader, OrderOptions, SplitWriter

LABELS = ["cat"] * 35 + ["dog"] * 14 + ["lynx"]


def write(path: Path) -> None:
    rng = np.random.default_rng(0)
    with SplitWriter(path) as writer:
        for number in range(600):
            pixels = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
            writer.write_sample({"image": pixels, "label": LABELS[number % 50], "number": number})


def loader(path: Path, **drawing: Any) -> DistributedLoader:
    return DistributedLoader(path, batch_size=12, shuffle="global", order=OrderOptions(**drawing))


def main(path: Path) -> None:
    write(path)
    for title, drawing in (("as they are", {}), ("balanced_by", {"balanced_by": "label"})):
        batches = list(loader(path, **drawing))
        rare = sorted({batch["label"].count("lynx") for batch in batches})
        shown = {number for batch in batches for number in batch["number"].tolist()}
        print(f"{title}: {len(batches)} steps, lynxes in a step: {rare}, different pictures: {len(shown)}")

    whole = [batch["number"].tolist() for batch in loader(path, balanced_by="label")]
    begun = loader(path, balanced_by="label")
    first = [batch["number"].tolist() for _, batch in zip(range(20), begun, strict=False)]
    resumed = loader(path, balanced_by="label")
    resumed.load_state_dict(begun.state_dict())
    print(f"stopped and resumed: the same: {first + [batch['number'].tolist() for batch in resumed] == whole}")

    # Lynxes three times as often as they are, and nothing else changed.
    weights = [3 if LABELS[number % 50] == "lynx" else 1 for number in range(600)]
    labels = [label for batch in loader(path, weights=weights) for label in batch["label"]]
    print(f"weights: {labels.count('lynx')} lynxes in {len(labels)}, where there are {600 // 50}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        main(Path(name) / "pictures")
