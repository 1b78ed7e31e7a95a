"""One examination for every loader: broken off, saved and begun anew at random, it gives the uninterrupted stream.

    reference    world of 1, batch of 1, no workers: samples of each epoch in order
    examined     a world of loaders that are stepped together; merged by position, their samples must be the
                 reference's, from wherever the last state was taken
                   next       a batch from each rank
                   break      the iterators are dropped; then resume() or the next epoch
                   save+load  into fresh or used loaders, at another world size, batch size, number of workers

A sample is compared with its random bytes, so a generator that depended on anything else would show.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from splitdata.loader.distributed_loader import DistributedLoader

__all__ = ["LoaderMaker", "examine", "noisy"]


def noisy(record: bytes, rng: np.random.Generator) -> tuple[int, bytes]:
    """Return the number in a record, and bytes that its generator draws."""
    return int.from_bytes(record[:8], "little"), rng.bytes(6)


class LoaderMaker(Protocol):
    """Makes the loader of one rank; batches are lists of samples."""

    def __call__(self, *, rank: int, world_size: int, batch_size: int, num_workers: int) -> DistributedLoader:
        """Return a fresh loader."""


@dataclass
class World:
    """Loaders that are stepped together."""

    make: LoaderMaker
    world_size: int
    batch_size: int
    num_workers: int
    loaders: list[DistributedLoader] = field(init=False)

    def __post_init__(self) -> None:
        self.loaders = [
            self.make(rank=rank, world_size=self.world_size, batch_size=self.batch_size, num_workers=self.num_workers)
            for rank in range(self.world_size)
        ]

    def state(self) -> dict[str, Any]:
        """Return the state, which is the same on every rank and survives JSON."""
        texts = {json.dumps(loader.state_dict()) for loader in self.loaders}
        assert len(texts) == 1, texts
        (text,) = texts
        assert len(text) < 1024
        state: dict[str, Any] = json.loads(text)
        return state

    def load(self, state: dict[str, Any]) -> None:
        for loader in self.loaders:
            loader.load_state_dict(state)

    def close(self) -> None:
        for loader in self.loaders:
            loader.close()


def merged(batches: list[list[Any]], start: int, world_size: int) -> list[Any]:
    """Return the samples of one step of all ranks by position; `start` is the first."""
    first = start % world_size
    ranks = [batches[(first + turn) % world_size] for turn in range(world_size)]
    return [batch[place] for place in range(max(map(len, ranks))) for batch in ranks if place < len(batch)]


class Reference:
    """The uninterrupted stream, an epoch at a time."""

    def __init__(self, make: LoaderMaker) -> None:
        self._loader = make(rank=0, world_size=1, batch_size=1, num_workers=0)
        self._epochs: dict[int, list[Any]] = {}

    def epoch(self, epoch: int) -> list[Any]:
        if epoch not in self._epochs:
            self._loader.set_epoch(epoch)
            self._epochs[epoch] = [sample for batch in self._loader for sample in batch]
        return self._epochs[epoch]


def examine(
    make: LoaderMaker,
    *,
    seed: int,
    num_actions: int,
    world_sizes: tuple[int, ...] = (1, 2, 3),
    batch_sizes: tuple[int, ...] = (1, 3, 4),
    workers: tuple[int, ...] = (0,),
) -> int:
    """Do random things to loaders and compare every sample; return how many states were loaded.

    Every world uses tail="pad": at the end of an epoch it may repeat samples from its beginning.
    """
    draw = random.Random(seed)
    reference = Reference(make)
    num_loads = 0

    def fresh() -> World:
        return World(make, draw.choice(world_sizes), draw.choice(batch_sizes), draw.choice(workers))

    world = fresh()
    # Where the loaders stand, and where their present iterators do: they differ until a batch was taken.
    stands, goes = (0, 0), (0, 0)
    is_given = True
    iterators: list[Iterator[Any]] | None = None
    try:
        for _ in range(num_actions):
            action = draw.choices(["next", "break", "resume", "load", "whole"], [12, 1, 1, 3, 0.5])[0]
            if action == "load":
                state = world.state()
                assert (state["epoch"], state["samples"]) == stands
                if draw.random() < 0.8:
                    world.close()
                    world = fresh()
                world.load(state)
                num_loads += 1
                is_given = True
            if action == "resume":
                goes, iterators = stands, [loader.resume() for loader in world.loaders]
            elif iterators is None or action in ("break", "load"):
                goes = stands if is_given or not stands[1] else (stands[0] + 1, 0)
                iterators = [iter(loader) for loader in world.loaders]
            for _ in range(draw.randint(0, 3) if action != "whole" else 10_000):
                if (behind := _step(world, iterators, reference.epoch(goes[0]), goes)) is None:
                    iterators = None
                    break
                stands = goes = behind
                is_given = False
    finally:
        world.close()
    return num_loads


def _step(
    world: World, iterators: list[Iterator[Any]], expected: list[Any], position: tuple[int, int]
) -> tuple[int, int] | None:
    """Take a batch from each rank; return epoch and samples behind it, None if the epoch is over."""
    epoch, samples = position
    batches = [next(iterator, None) for iterator in iterators]
    if batches[0] is None:
        assert batches == [None] * world.world_size
        return None
    found = merged([list(batch or ()) for batch in batches], samples, world.world_size)
    room = expected[samples:] + expected[: world.world_size]
    assert found == room[: len(found)], f"epoch {epoch}, sample {samples}, {world.world_size} ranks"
    samples += len(found)
    if samples >= len(expected):
        assert samples - len(expected) < world.world_size
        epoch, samples = epoch + 1, 0
    state = world.state()
    assert (state["epoch"], state["samples"]) == (epoch, samples)
    return epoch, samples
