"""Which of how many ranks this process is.

arguments given? ─> those
torch.distributed running? ─> what it says        (only if torch is loaded already)
RANK and WORLD_SIZE set? ─> those                 (torchrun, SLURM wrappers, accelerate, ...)
else ─> rank 0 of 1          only one argument, and nothing that says the other: an error
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

__all__ = ["World"]


@dataclass(frozen=True, slots=True)
class World:
    """One rank among `world_size`, both checked.

    Attributes:
        rank: 0-based.
        world_size: Number of ranks, 1 or more.
    """

    rank: int
    world_size: int

    def __post_init__(self) -> None:
        for name in ("rank", "world_size"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{name} must be an int, got {value!r}")
        if self.world_size < 1:
            raise ValueError(f"world_size must be 1 or more, got {self.world_size}")
        if not 0 <= self.rank < self.world_size:
            raise ValueError(
                f"rank must be 0 to {self.world_size - 1} in a world of {self.world_size}, got {self.rank}"
            )

    @classmethod
    def find(cls, rank: int | None = None, world_size: int | None = None) -> World:
        """Take what is given and find the rest; this is all of the environment that can affect the order.

        Raises:
            ValueError: If the rank lies outside of the world, or only one of the two is known.
        """
        if rank is not None and world_size is not None:
            return cls(rank, world_size)
        found = _from_torch() or _from_environment()
        if found is not None:
            return cls(found[0] if rank is None else rank, found[1] if world_size is None else world_size)
        if rank is None and world_size in (None, 1):
            return cls(0, 1)
        given, missing = (
            (f"rank={rank}", "world_size=") if world_size is None else (f"world_size={world_size}", "rank=")
        )
        raise ValueError(
            f"{given} is given, and neither torch.distributed nor RANK and WORLD_SIZE in the environment say the "
            f"rest: pass {missing} too"
        )


def _from_torch() -> tuple[int, int] | None:
    torch = sys.modules.get("torch")
    distributed = getattr(torch, "distributed", None)
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return None
    return int(distributed.get_rank()), int(distributed.get_world_size())


def _from_environment() -> tuple[int, int] | None:
    rank, world_size = os.environ.get("RANK"), os.environ.get("WORLD_SIZE")
    if rank is None and world_size is None:
        return None
    if rank is None or world_size is None:
        missing, there = ("RANK", "WORLD_SIZE") if rank is None else ("WORLD_SIZE", "RANK")
        raise ValueError(f"the environment has {there} and no {missing}: set both, or pass rank= and world_size=")
    try:
        return int(rank), int(world_size)
    except ValueError:
        raise ValueError(f"RANK={rank!r} and WORLD_SIZE={world_size!r} in the environment must be ints") from None
