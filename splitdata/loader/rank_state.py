"""The state of one loader: its rank among how many, its progress, and the plan that follows from both.

A loader may be made before its ranks are known, and moved to another number of ranks by a state.

    resolved ┐                 held at first use, compared at every iter()
    ranks  ──┼──> plan() ──> steps of this rank
    lanes  ──┘                 asked for, else those of the first use, which a state keeps
    progress ──> state()       as it was reached: the ranks of now are asked for only at the very beginning
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from splitdata._shown import one_line
from splitdata.loader.plan.loader_state import LoaderState
from splitdata.loader.plan.steps import Position, StepShape
from splitdata.loader.plan.world import Ranks

if TYPE_CHECKING:
    from splitdata.loader.plan.plan import Plan
    from splitdata.loader.plan.progress import EpochProgress
    from splitdata.loader.plan.world import World
    from splitdata.loader.resolved_options import ResolvedOptions

__all__ = ["RankState"]

_log = logging.getLogger("splitdata")


class RankState:
    """Ranks, progress and plan of one loader.

    Attributes:
        progress: How far training has come.
        ranks: Who this process is.
    """

    def __init__(self, resolved: ResolvedOptions, progress: EpochProgress) -> None:
        self.progress = progress
        options = resolved.options
        self.ranks = Ranks(options.rank, options.world_size, options.order.replicate)
        self._resolved = resolved
        self._plan: Plan | None = None

    def plan(self) -> Plan:
        """Return the plan; from now on rank and world size are these."""
        world = self.ranks.held()
        shape = self._shape_in(world)
        plan = self._plan
        if plan is None or (plan.rank, plan.shape) != (world.rank, shape):
            plan = self._plan = self._resolved.plan(world, shape.lanes)
            reason = self._resolved.why_no_steps(plan)
            if reason is not None:
                _log.warning(
                    "the loader of %s has %s: its epochs have no batches", one_line(self._resolved.source.name), reason
                )
        return plan

    def plan_of_a_look(self) -> Plan:
        """Return what the plan would be now; holds nothing."""
        world = self.ranks.now()
        return self._resolved.plan(world, self._shape_in(world).lanes)

    def state(self) -> LoaderState:
        """Return where training stands; holds nothing."""
        progress = self.progress
        return self._resolved.state(progress.position, progress.shape or self._shape_in(self.ranks.now()))

    def check(self, state: Mapping[str, Any]) -> LoaderState:
        """Read a state back, and refuse one that is not of this loader; see DistributedLoader.load_state_dict.

        Raises:
            StateMismatchError: Nothing has changed.
        """
        resolved = self._resolved
        loaded = LoaderState.from_dict(state)
        own = resolved.state(loaded.position, loaded.shape)
        # The data first: a share by hash or a slice differs too where records were appended.
        loaded.check_data(own, resolved.fingerprint_of)
        loaded.check_order(own, own_lanes=resolved.options.order.lanes)
        resolved.check_position(loaded)
        if self.ranks.is_given:
            resolved.plan(self.ranks.now(), loaded.lanes).adopt(loaded.position, loaded.shape)
        return loaded

    def load(self, state: LoaderState) -> None:
        """Stand where a checked state does, as it was saved; ranks that were found are found anew."""
        self.ranks.release()
        self.progress.give(state.position, state.shape)

    def give_epoch(self, epoch: int) -> bool:
        """Stand at the beginning of an epoch, or stay where a position in it was set; return whether that changed."""
        progress = self.progress
        if self._resolved.options.order.num_steps is None:
            # The same for all ranks, who may come later.
            return progress.give_epoch(Position(epoch), progress.shape)
        plan = self.plan()
        return progress.give_epoch(plan.start_of(epoch), plan.shape)

    def _shape_in(self, world: World) -> StepShape:
        """Return the steps of such ranks: in the lanes that were asked for, else in those that were used first."""
        used, options = self.progress.shape, self._resolved.options
        lanes = options.order.lanes or (world.world_size if used is None else used.lanes)
        return StepShape(options.batch_size, world.world_size, lanes)
