"""Finds the rank of this process, and how many ranks there are.

    arguments given? ─> those
    torch.distributed running? ─> what it says                (only if torch is loaded already)
    RANK and WORLD_SIZE set? ─> those                         (torchrun, accelerate, DeepSpeed, ...)
    a pair of MPI's, PMI's, jsrun's or Flux's? ─> that        (mpirun, mpiexec)
    a step of SLURM's? ─> SLURM_PROCID of its tasks           (srun; not python alone in a batch script)
    else ─> rank 0 of 1          only one argument, and nothing that says the other: an error

Ranks that work on the same samples, of tensor, context or pipeline parallelism, count as one: `replicate` neighbours of
those above (World.in_groups), or the part of a mesh that shares the data out (World.of_mesh).

Ranks hold what is found first, and compare it whenever an iterator begins: `init_process_group` may come later.
"""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import dataclass, field
from typing import Any, Final

from splitdata._shown import one_line
from splitdata.order.counts import MAX_LANES

__all__ = ["Ranks", "World"]

_log = logging.getLogger("splitdata")

# Innermost launcher first: mpirun itself starts its daemons, one on each node, as tasks of a step of SLURM's.
_LAUNCHERS: Final = (
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
    ("JSM_NAMESPACE_RANK", "JSM_NAMESPACE_SIZE"),
    ("FLUX_TASK_RANK", "FLUX_JOB_SIZE"),
)
# A batch script and a shell of salloc have SLURM_NTASKS, some even SLURM_PROCID, but are not a task of a step.
_SLURM_STEP: Final = "SLURM_STEP_ID"
_SLURM_SIZES: Final = ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS")
_NOBODY: Final = "nobody"
# They say that there may be others, and never how many.
_RANKS_ALONE: Final = ("PMIX_RANK", "PALS_RANKID", "ALPS_APP_PE")


# What the dimensions of a mesh are called whose ranks work on the same samples.
_SAME_SAMPLES: Final = frozenset(
    {"cp", "ep", "etp", "pp", "sp", "tp", "context", "expert", "model", "pipeline", "pipe", "sequence", "tensor"}
)

_NAMES: Final = frozenset(
    {"RANK", "WORLD_SIZE", _SLURM_STEP, "SLURM_PROCID", *_SLURM_SIZES, *_RANKS_ALONE}.union(*_LAUNCHERS)
)


@dataclass(frozen=True, slots=True)
class World:
    """One rank among `world_size`, both checked.

    Attributes:
        rank: 0-based.
        world_size: Number of ranks, 1 or more.
        said_by: Where that was found, in words.
    """

    rank: int
    world_size: int
    said_by: str = field(default="the arguments", compare=False)

    def __post_init__(self) -> None:
        for name in ("rank", "world_size"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{name} must be an int, got {value!r}")
        if not 1 <= self.world_size <= MAX_LANES:
            raise ValueError(f"world_size must be 1 to {MAX_LANES}, got {self.world_size} from {self.said_by}")
        if not 0 <= self.rank < self.world_size:
            raise ValueError(
                f"rank must be 0 to {self.world_size - 1} in a world of {self.world_size}, got {self.rank} from "
                f"{self.said_by}"
            )

    def __str__(self) -> str:
        """Return it in words."""
        return f"rank {self.rank} of {self.world_size}"

    @classmethod
    def find(cls, rank: int | None = None, world_size: int | None = None) -> World:
        """Take what is given and find the rest; this is all of the environment that can affect the order.

        Raises:
            ValueError: If the rank lies outside of the world, or only one of the two is known.
        """
        if rank is not None and world_size is not None:
            return cls(rank, world_size)
        if rank is None and world_size == 1:
            return cls(0, 1)
        found = _from_torch() or _from_environment()
        if found is not None:
            said_by = found.said_by if rank is None and world_size is None else f"the arguments and {found.said_by}"
            return cls(
                found.rank if rank is None else rank, found.world_size if world_size is None else world_size, said_by
            )
        if rank is None and world_size is None:
            return cls(0, 1, _NOBODY)
        given, missing = (
            (f"rank={rank}", "world_size=") if world_size is None else (f"world_size={world_size}", "rank=")
        )
        raise ValueError(
            f"{given} is given, and neither torch.distributed nor RANK and WORLD_SIZE in the environment say the "
            f"rest: pass {missing} too"
        )

    def in_groups(self, size: int) -> World:
        """Return which of the groups of `size` neighbouring ranks this one is in, and how many groups there are.

        Where nobody said that there are several ranks, the only one is its group.

        Raises:
            ValueError: The ranks are no whole number of groups.
        """
        if size == 1 or self.said_by == _NOBODY:
            return self
        if self.world_size % size:
            raise ValueError(
                f"replicate={size} gives {size} neighbouring ranks the same batches, and {self.world_size} ranks, from "
                f"{self.said_by}, are no whole number of such groups"
            )
        return World(self.rank // size, self.world_size // size, f"{self.said_by}, in groups of {size}")

    @classmethod
    def of_mesh(cls, mesh: Any) -> World:
        """Take the place of this process in a torch DeviceMesh, of which all dimensions share the data out.

        Raises:
            TypeError: It is no DeviceMesh.
            ValueError: A dimension is one whose ranks get the same samples, or this process is not in the mesh.
        """
        if isinstance(mesh, cls):
            # Found before: options are made of options.
            return mesh
        if not (hasattr(mesh, "get_coordinate") and hasattr(mesh, "mesh_dim_names")):
            raise TypeError(f"mesh must be a torch DeviceMesh, got {mesh!r}")
        names = mesh.mesh_dim_names or ()
        if same := [name for name in names if name in _SAME_SAMPLES]:
            others = [name for name in names if name not in same]
            part = ", ".join(map(repr, others)) or "..."
            raise ValueError(
                f"mesh has the dimension {same[0]!r}, whose ranks work on the same samples: give the part that shares "
                f"the data out, mesh=mesh[{part}]"
            )
        place = mesh.get_coordinate()
        if place is None:
            raise ValueError(
                "this process is not in the mesh: give the mesh that it belongs to, or rank and world_size"
            )
        rank, world_size = 0, 1
        for coordinate, size in zip(place, mesh.shape, strict=True):
            rank, world_size = rank * size + coordinate, world_size * size
        return cls(int(rank), int(world_size), "the mesh")


class Ranks:
    """The world that one loader belongs to: given, or found when it is first needed and then held.

    Args:
        rank, world_size: Arguments of the loader, None for those that the environment tells.
        replicate: Neighbouring ranks that count as one.
    """

    def __init__(self, rank: int | None, world_size: int | None, replicate: int = 1) -> None:
        self._rank = rank
        self._world_size = world_size
        self._replicate = replicate
        self._held: World | None = None
        self.is_given = world_size == 1 or (rank is not None and world_size is not None)

    def give(self, rank: int | None, world_size: int | None) -> None:
        """Take what `start` was given, in place of the arguments.

        Raises:
            ValueError: The world is held already, and is another one.
        """
        given = self._find(self._rank if rank is None else rank, self._world_size if world_size is None else world_size)
        if self._held is not None and self._held != given:
            raise ValueError(
                f"this loader was started as {self._held}, it cannot become {given}: make one loader for each rank"
            )
        self._held = given
        self.is_given = True

    def now(self) -> World:
        """Return the world that is held, or else what would be found now; holds nothing."""
        return self._held or self._find(self._rank, self._world_size)

    def held(self) -> World:
        """Return the world; from now on it is this one."""
        if self._held is None:
            self._held = self._find(self._rank, self._world_size)
            _tell(self._held)
        return self._held

    def check(self) -> None:
        """Compare what is held with what is found now.

        Raises:
            ValueError: Ranks have come into being, or gone, since: what was handed out or told was for another.
        """
        if self.is_given or self._held is None:
            return
        now = self._find(self._rank, self._world_size)
        if now != self._held:
            raise ValueError(
                f"this loader took itself for {self._held} when it was first used (asked for a batch, its length or "
                f"its rank), and is {now} now. Use it after init_process_group; "
                "before, peek() shows a batch and binds it to no rank. Or pass rank= and world_size=; or go on as "
                "this rank with loader.load_state_dict(loader.state_dict()), the same on every rank"
            )

    def _find(self, rank: int | None, world_size: int | None) -> World:
        return World.find(rank, world_size).in_groups(self._replicate)

    def release(self) -> None:
        """Let what was found be found anew; what was given stays."""
        if not self.is_given:
            self._held = None


def _tell(world: World) -> None:
    if world.said_by != _NOBODY:
        _log.info("%s, as %s says", world, one_line(world.said_by))
        return
    alone = sorted({*_RANKS_ALONE}.union(*_LAUNCHERS).intersection(os.environ))
    if alone:
        _log.warning(
            "%s in the environment may say that this process is one of several, but not which of how many: it takes "
            "itself for the only one, and reads everything. If there are others, pass rank= and world_size=, or set "
            "RANK and WORLD_SIZE; if not, world_size=1 says so",
            one_line(", ".join(f"{name}={os.environ[name]}" for name in alone)),
        )


def _from_torch() -> World | None:
    torch = sys.modules.get("torch")
    distributed = getattr(torch, "distributed", None)
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return None
    return World(int(distributed.get_rank()), int(distributed.get_world_size()), "torch.distributed")


def _from_environment() -> World | None:
    # One pass: asking for a name that is not there raises inside, and Ctrl-C would show with that.
    present = _NAMES.intersection(os.environ)
    if {"RANK", "WORLD_SIZE"} <= present:
        return _parsed("RANK", "WORLD_SIZE")
    if "RANK" in present:
        raise ValueError("the environment has RANK and no WORLD_SIZE: set both, or pass rank= and world_size=")
    if "WORLD_SIZE" in present:
        raise ValueError(
            f"the environment has WORLD_SIZE={os.environ['WORLD_SIZE']} and no RANK: a launcher that starts its "
            "processes later, as Lightning does, has not said yet which of them this is. Ask for length, rank or "
            "batches when they run (after init_process_group), or set RANK too, or pass rank= and world_size="
        )
    pairs = list(_LAUNCHERS)
    if _SLURM_STEP in present:
        pairs += [("SLURM_PROCID", size) for size in _SLURM_SIZES]
    return next((_parsed(*names) for names in pairs if present.issuperset(names)), None)


def _parsed(rank_name: str, size_name: str) -> World:
    rank, world_size = os.environ[rank_name], os.environ[size_name]
    said_by = f"{rank_name}={rank} with {size_name}={world_size} in the environment"
    try:
        numbers = int(rank), int(world_size)
    except ValueError:
        raise ValueError(f"{said_by}: these must be ints; or pass rank= and world_size=") from None
    return World(*numbers, said_by)
