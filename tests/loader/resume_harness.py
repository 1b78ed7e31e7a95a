"""One examination for every loader: broken off, saved and begun anew at random, it gives the uninterrupted stream.

    reference    world of 1, batch of 1, no workers: samples of each epoch in order
    examined     a world of loaders that are stepped together; what each rank gets must be the reference's samples at
                 the positions that its course says, from wherever the last state was taken
                   next       a batch from each rank
                   break      the iterators are dropped; then resume() or the next epoch
                   save+load  into fresh or used loaders, at another world size, batch size, number of workers, that
                              know their ranks from the beginning, or learn them after the state was loaded

A course is how an epoch is cut into steps of ranks. A sample is compared with its random bytes, so a generator that
depended on anything else would show.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, get_args

import numpy as np
import pytest

from splitdata.errors import StateMismatchError
from splitdata.loader.distributed_loader import DistributedLoader

__all__ = ["Contiguous", "Course", "Endless", "Entrance", "LoaderMaker", "Strided", "examine", "merged", "noisy"]

# When loaders learn their ranks: when they are made; with start() once a state is loaded; after they were used as the
# only rank before that; where they are unpickled with the state.
Entrance: TypeAlias = Literal["made", "started", "used alone", "unpickled"]


def noisy(record: bytes, rng: np.random.Generator) -> tuple[int, bytes]:
    """Return the number in a record, and bytes that its generator draws."""
    return int.from_bytes(record[:8], "little"), rng.bytes(6)


class LoaderMaker(Protocol):
    """Makes the loader of one rank; batches are lists of samples."""

    def __call__(
        self, *, rank: int | None, world_size: int | None, batch_size: int, num_workers: int
    ) -> DistributedLoader:
        """Return a fresh loader."""


class Stand(NamedTuple):
    """Where training stands: the epoch, samples of it that ranks were handed, steps of it, samples before it."""

    epoch: int = 0
    samples: int = 0
    steps: int = 0
    origin: int = 0


@dataclass
class World:
    """Loaders that are stepped together."""

    make: LoaderMaker
    world_size: int
    batch_size: int
    num_workers: int
    entrance: Entrance = "made"
    loaders: list[DistributedLoader] = field(init=False)

    def __post_init__(self) -> None:
        is_known = self.entrance == "made"
        self.loaders = [
            self.make(
                rank=rank if is_known else None,
                world_size=self.world_size if is_known else None,
                batch_size=self.batch_size,
                num_workers=self.num_workers,
            )
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
        """Load a state; then the ranks are known."""
        for loader in self.loaders:
            if self.entrance == "used alone":
                len(loader)
                next(iter(loader))
            loader.load_state_dict(state)
            assert loader.state_dict() == state
        if self.entrance == "unpickled":
            # As pickle does it; not all that tests have is found again by name.
            for loader in self.loaders:
                loader.close()
            self.loaders = [copy.copy(loader) for loader in self.loaders]
            assert self.state() == state
        if self.entrance != "made":
            for rank, loader in enumerate(self.loaders):
                loader.start(rank=rank, world_size=self.world_size)
        self.entrance = "made"

    def load_and_begin(self, state: dict[str, Any]) -> None:
        """Load a state and go on: only then it shows who cannot, where ranks came later."""
        self.load(state)
        iter(self.loaders[0])

    def close(self) -> None:
        for loader in self.loaders:
            loader.close()


class Course(Protocol):
    """How the samples of an epoch are cut into steps of ranks."""

    def can_load(self, stands: Stand, before: int, after: int) -> bool:
        """Tell whether another number of ranks may go on."""

    def next_epoch(self, stands: Stand, step_samples: int) -> Stand:
        """Return the beginning of the next epoch."""

    def step(self, reference: Reference, stands: Stand, world: World) -> tuple[list[list[Any]], Stand]:
        """Return what each rank gets in the next step, and where training stands behind it."""

    def agrees(self, state: dict[str, Any], stands: Stand) -> bool:
        """Tell whether a state says so."""


class Strided:
    """Rank r has the positions p with p mod world_size == r; the tail is padded from the beginning of the epoch."""

    def can_load(self, stands: Stand, before: int, after: int) -> bool:
        """Always."""
        return True

    def next_epoch(self, stands: Stand, step_samples: int) -> Stand:
        """Return its beginning."""
        return Stand(stands.epoch + 1)

    def step(self, reference: Reference, stands: Stand, world: World) -> tuple[list[list[Any]], Stand]:
        """Return the batches of the ranks, and what is behind them."""
        samples = reference.epoch(stands.epoch)
        count = min(world.batch_size, -(-(len(samples) - stands.samples) // world.world_size))
        stop = stands.samples + count * world.world_size
        positions = range(stands.samples, stop)
        batches = [
            [samples[p % len(samples)] for p in positions if p % world.world_size == rank]
            for rank in range(world.world_size)
        ]
        is_last = stop >= len(samples)
        return batches, Stand(stands.epoch + 1) if is_last else stands._replace(samples=stop)

    def agrees(self, state: dict[str, Any], stands: Stand) -> bool:
        """Compare epoch and samples."""
        return (state["epoch"], state["samples"]) == (stands.epoch, stands.samples)


class Contiguous(Strided):
    """Rank r has a stretch of its own."""

    def can_load(self, stands: Stand, before: int, after: int) -> bool:
        """Between epochs."""
        return not stands.samples or before == after

    def step(self, reference: Reference, stands: Stand, world: World) -> tuple[list[list[Any]], Stand]:
        """Return the batches of the ranks, and what is behind them."""
        samples = reference.epoch(stands.epoch)
        share = -(-len(samples) // world.world_size)
        taken = stands.samples // world.world_size
        count = min(world.batch_size, share - taken)
        batches = [
            [samples[(rank * share + taken + place) % len(samples)] for place in range(count)]
            for rank in range(world.world_size)
        ]
        is_last = taken + count >= share
        behind = stands._replace(samples=stands.samples + count * world.world_size)
        return batches, Stand(stands.epoch + 1) if is_last else behind


class Endless:
    """Epochs of `num_steps` full steps, cut from pass after pass."""

    def __init__(self, num_steps: int) -> None:
        self._num_steps = num_steps

    def can_load(self, stands: Stand, before: int, after: int) -> bool:
        """Always."""
        return True

    def next_epoch(self, stands: Stand, step_samples: int) -> Stand:
        """Leave out as many steps as are left, of the present size."""
        left_out = (self._num_steps - stands.steps) * step_samples
        return Stand(stands.epoch + 1, origin=stands.origin + stands.samples + left_out)

    def step(self, reference: Reference, stands: Stand, world: World) -> tuple[list[list[Any]], Stand]:
        """Return the batches of the ranks, and what is behind them."""
        begin = stands.origin + stands.samples
        stop = begin + world.batch_size * world.world_size
        batches = [
            [reference.sample(p) for p in range(begin, stop) if p % world.world_size == rank]
            for rank in range(world.world_size)
        ]
        behind = Stand(stands.epoch, stands.samples + stop - begin, stands.steps + 1, stands.origin)
        is_last = behind.steps == self._num_steps
        return batches, Stand(stands.epoch + 1, origin=stop) if is_last else behind

    def agrees(self, state: dict[str, Any], stands: Stand) -> bool:
        """Compare the epoch, its steps, and the place in the stream."""
        steps = state["samples"] / (state["batch_size"] * state["world_size"])
        place = state["origin"] + state["samples"]
        return (state["epoch"], steps, place) == (stands.epoch, stands.steps, stands.origin + stands.samples)


def merged(batches: list[list[Any]], start: int, world_size: int) -> list[Any]:
    """Return the samples of one step of all ranks by position; `start` is the first."""
    first = start % world_size
    ranks = [batches[(first + turn) % world_size] for turn in range(world_size)]
    return [batch[place] for place in range(max(map(len, ranks))) for batch in ranks if place < len(batch)]


class Reference:
    """The uninterrupted stream, an epoch at a time."""

    def __init__(self, make: LoaderMaker) -> None:
        self._loader = make(rank=0, world_size=1, batch_size=1, num_workers=0)
        self._stream = self._endless()
        self._samples: list[Any] = []
        self._epochs: dict[int, list[Any]] = {}

    def epoch(self, epoch: int) -> list[Any]:
        """Return the samples of an epoch."""
        if epoch not in self._epochs:
            self._loader.set_epoch(epoch)
            self._epochs[epoch] = [sample for batch in self._loader for sample in batch]
        return self._epochs[epoch]

    def sample(self, place: int) -> Any:
        """Return a sample of the stream that runs through all epochs."""
        while place >= len(self._samples):
            self._samples.append(next(self._stream))
        return self._samples[place]

    def _endless(self) -> Iterator[Any]:
        while True:
            for batch in self._loader:
                yield from batch


def examine(
    make: LoaderMaker,
    *,
    seed: int,
    num_actions: int,
    world_sizes: tuple[int, ...] = (1, 2, 3),
    batch_sizes: tuple[int, ...] = (1, 3, 4),
    workers: tuple[int, ...] = (0,),
    course: Course | None = None,
) -> int:
    """Do random things to loaders and compare every sample; return how many states were loaded.

    Every world uses tail="pad": at the end of an epoch it may repeat samples from its beginning.
    """
    draw = random.Random(seed)
    reference = Reference(make)
    course = course or Strided()
    num_loads = 0

    def fresh(entrance: Entrance) -> World:
        return World(make, draw.choice(world_sizes), draw.choice(batch_sizes), draw.choice(workers), entrance)

    world = fresh("made")
    # Where the loaders stand, and where their present iterators do: they differ until a batch was taken.
    stands = goes = Stand()
    is_given = True
    iterators: list[Iterator[Any]] | None = None
    try:
        for _ in range(num_actions):
            action = draw.choices(["next", "break", "resume", "load", "whole"], [12, 1, 1, 3, 0.5])[0]
            if action == "load":
                state = world.state()
                assert course.agrees(state, stands), (state, stands)
                if draw.random() < 0.8:
                    other = fresh(draw.choice(get_args(Entrance)))
                    if not course.can_load(stands, world.world_size, other.world_size):
                        with pytest.raises(StateMismatchError):
                            other.load_and_begin(state)
                        other.close()
                        # As it was.
                        other = World(make, world.world_size, other.batch_size, other.num_workers, "started")
                    world.close()
                    world = other
                world.load(state)
                num_loads += 1
                is_given = True
            if action == "resume":
                goes, iterators = stands, [loader.resume() for loader in world.loaders]
            elif iterators is None or action in ("break", "load"):
                step_samples = world.batch_size * world.world_size
                goes = stands if is_given or not stands.samples else course.next_epoch(stands, step_samples)
                iterators = [iter(loader) for loader in world.loaders]
            for _ in range(draw.randint(0, 3) if action != "whole" else 10_000):
                if (behind := _step(world, iterators, reference, course, goes)) is None:
                    iterators = None
                    break
                stands = goes = behind
                is_given = False
    finally:
        world.close()
    return num_loads


def _step(
    world: World, iterators: list[Iterator[Any]], reference: Reference, course: Course, goes: Stand
) -> Stand | None:
    """Take a batch from each rank; return where they stand behind it, None if the epoch is over."""
    batches = [next(iterator, None) for iterator in iterators]
    if batches[0] is None:
        assert batches == [None] * world.world_size
        return None
    expected, behind = course.step(reference, goes, world)
    assert [list(batch or ()) for batch in batches] == expected, (goes, world.world_size)
    state = world.state()
    assert course.agrees(state, behind), (state, behind)
    return behind
