"""JAX on eight devices that the CPU plays: batches over a mesh, ahead of the loop, without torch.

jax_program.py DATASET  ->  JSON: device counts, samples, what holds of the arrays
"""

from __future__ import annotations

import json
import sys

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from splitdata import WorkerOptions
from splitdata.interop.jax import PutOn
from tests.interop.stream import make_loader, samples_of


def main(path: str) -> None:
    """Take two epochs over a mesh, and keep all batches."""
    mesh = jax.make_mesh((8,), ("data",))
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    options = WorkerOptions(to_device=PutOn(sharding), device_batches=2)
    with make_loader(path, batch_size=8, tail="drop", num_workers=1, workers=options) as loader:
        batches = [*loader, *loader]
        first = batches[0]["noise"]
        total = jax.jit(lambda batch: batch["noise"].sum())(batches[0])
        report = {
            "shards": [shard.data.shape for shard in first.addressable_shards],
            "is_sharded": all(batch["number"].sharding == sharding for batch in batches),
            "samples": samples_of(batches),
            "sum_error": abs(float(total) - float(np.asarray(first).sum())),
        }
    with make_loader(path) as loader:
        report["torch is loaded"] = "torch" in sys.modules
        report["plain"] = [type(value).__name__ for value in next(iter(loader)).values()]
    print(json.dumps(report))  # noqa: T201  # it is read by the test


if __name__ == "__main__":
    main(*sys.argv[1:])
