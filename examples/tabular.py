"""Rows of a table: written as samples, read as columns, a linear model trained by numpy alone.

Columns of one type make a batch without a loop over rows: `Fields` picks them, or `SampleDataset.gather` reads all.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from splitdata import DistributedLoader, Fields, SampleDataset, SplitWriter

NUM_ROWS = 8_000
WEIGHTS = np.array([2.0, -1.0, 0.5])


def main(path: Path) -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(NUM_ROWS, 3)).astype(np.float32)
    prices = features @ WEIGHTS + rng.normal(0, 0.1, NUM_ROWS)
    with SplitWriter(path) as writer:
        writer.write_samples(
            {"features": row, "price": float(price), "town": f"town {number % 7}"}
            for number, (row, price) in enumerate(zip(features, prices, strict=True))
        )
    weights = np.zeros(3)
    with DistributedLoader(path, batch_size=64, shuffle="global", transform=Fields("features", "price")) as loader:
        for x, price in loader:
            weights += 0.1 * x.T @ (price - x @ weights) / len(price)
    print(f"weights {weights.round(2).tolist()}; they are found: {np.allclose(weights, WEIGHTS, atol=0.05)}")
    dataset = SampleDataset(path)
    batch = dataset.gather(slice(0, 5000))
    print(f"mean price of 5000 rows, by column: {batch['price'].mean():.3f}; first towns {batch['town'][:2]}")


with tempfile.TemporaryDirectory() as name:
    main(Path(name) / "houses")
