"""JAX: batches go to the devices of a mesh while the loop computes; a flax model, optax, and an exact resume.

The CPU plays eight devices. torch is not needed. Needs jax, flax and optax.
"""

from __future__ import annotations

import os
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from splitdata import DistributedLoader, SplitWriter, WorkerOptions

NUM_RECORDS, STOP_AT = 1_024, 5


def decode(record: bytes, rng: np.random.Generator) -> dict[str, Any]:
    x = np.array([int(record) / NUM_RECORDS, rng.normal()], np.float32)
    return {"x": x, "y": np.float32(2 * x[0])}


def train(path: Path, stop_at: int | None, start: Any = None) -> tuple[Any, Any]:
    """Train for the rest of an epoch, or to a step; return parameters and optimizer, and the state of the loader."""
    import jax
    import optax
    from flax import linen
    from jax.sharding import NamedSharding, PartitionSpec

    from splitdata.interop.jax import PutOn

    model, optimizer = linen.Dense(1), optax.sgd(0.1)
    parameters = model.init(jax.random.key(0), np.zeros((1, 2), np.float32))
    trained = parameters, optimizer.init(parameters)

    def step(trained: Any, batch: Any) -> Any:
        def loss(parameters: Any) -> Any:
            return ((model.apply(parameters, batch["x"])[:, 0] - batch["y"]) ** 2).mean()

        changes, state = optimizer.update(jax.grad(loss)(trained[0]), trained[1])
        return optax.apply_updates(trained[0], changes), state

    jitted = jax.jit(step)
    sharding = NamedSharding(jax.sharding.Mesh(jax.devices(), ("data",)), PartitionSpec("data"))
    workers = WorkerOptions(to_device=PutOn(sharding), device_batches=2)
    with DistributedLoader(
        path, batch_size=64, shuffle="global", tail="drop", transform=decode, workers=workers
    ) as loader:
        if start is not None:
            trained = start[0]
            loader.load_state_dict(start[1])
        for number, batch in enumerate(loader, 1):
            trained = jitted(trained, batch)
            if number == stop_at:
                break
        return trained, loader.state_dict()


def main(path: Path) -> None:
    import jax

    with SplitWriter(path) as writer:
        writer.write_many(str(number).encode() for number in range(NUM_RECORDS))
    whole, _ = train(path, None)
    resumed, _ = train(path, None, train(path, STOP_AT))
    same = jax.tree.all(jax.tree.map(lambda one, other: bool((one == other).all()), whole, resumed))
    print(f"{len(jax.devices())} devices; stopped behind step {STOP_AT} and resumed: the same to the last bit: {same}")


os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=8")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
if any(find_spec(name) is None for name in ("jax", "flax", "optax")):
    print("this example needs JAX, flax and optax: pip install jax flax optax")
else:
    with tempfile.TemporaryDirectory() as name:
        main(Path(name) / "data")
