"""JAX as one of two processes that share a mesh: goes on from a state in mid-epoch, each batch one global array.

jax_processes.py DATASET ADDRESS PROCESS STATE  ->  JSON: this process's samples, shapes, a sum over all, the state
"""

from __future__ import annotations

import json
import sys
from itertools import islice

import jax
from jax.sharding import NamedSharding, PartitionSpec

from splitdata import WorkerOptions
from splitdata.interop.jax import PutOn
from tests.interop.stream import BATCH_SIZE, Samples, make_loader


def main(path: str, address: str, process: str, state: str) -> None:
    """Take three batches."""
    jax.distributed.initialize(address, 2, int(process))
    sharding = NamedSharding(jax.make_mesh((8,), ("data",)), PartitionSpec("data"))
    loader = make_loader(
        path,
        batch_size=BATCH_SIZE,
        tail="drop",
        rank=jax.process_index(),
        world_size=jax.process_count(),
        workers=WorkerOptions(to_device=PutOn(sharding), device_batches=2),
    )
    loader.load_state_dict(json.loads(state))
    total, shapes = 0.0, []
    samples: Samples = []
    for batch in islice(loader, 3):
        shapes.append(batch["noise"].shape)
        # Over the devices of both processes.
        total += float(jax.jit(lambda noise: noise.sum())(batch["noise"]))
        pieces = [[shard.data[0].item() for shard in batch[name].addressable_shards] for name in ("number", "noise")]
        samples += list(zip(*pieces, strict=True))
    report = {"samples": samples, "shapes": shapes, "sum": total, "state": loader.state_dict()}
    jax.distributed.shutdown()
    print(json.dumps(report))  # noqa: T201  # it is read by the test


if __name__ == "__main__":
    main(*sys.argv[1:])
