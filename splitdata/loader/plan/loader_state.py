"""A checkpoint of the loader: a few JSON values, the same on every rank, and the check of one that is loaded.

A state that was made with other data or another order is refused: training would go on with wrong samples.

    {"splitdata_loader": 1,                    version of this layout
     "epoch": 3, "samples": 512, "origin": 0,  where training stands: nothing else moves
     "seed": 0, "shuffle": "global", ...       what the order depends on: must agree, or it is StateMismatchError
     "num_records": 10000, "fingerprint": "…", "generation": 4, "mixture": null,     the data
     "batch_size": 64, "world_size": 8}        how it was reached; may differ (see Plan.adopt)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, TypeAlias

from splitdata._shown import cut, shown
from splitdata.errors import StateMismatchError
from splitdata.loader.plan.steps import Position, StepShape
from splitdata.order.counts import MAX_LANES

__all__ = ["STATE_VERSION", "LoaderState", "StateDict"]

# JSON values.
StateDict: TypeAlias = dict[str, Any]

STATE_VERSION: Final = 1
_VERSION_KEY: Final = "splitdata_loader"
_MAX_COUNT: Final = 1 << 62
# Of a message.
_MAX_ROWS: Final = 10
# Each with its least and its most: all numbers are looked at before any of them is used. The origin of an epoch of
# small steps, counted in larger ones, may lie before the first sample.
_NUMBERS: Final = {
    "epoch": (0, _MAX_COUNT),
    "samples": (0, _MAX_COUNT),
    "origin": (-_MAX_COUNT, _MAX_COUNT),
    "lanes": (1, MAX_LANES),
    "num_records": (0, _MAX_COUNT),
    "batch_size": (1, 1 << 40),
    "world_size": (1, MAX_LANES),
}

# What the sequence of samples depends on; the data are compared apart, for their own message.
_MUST_AGREE: Final = (
    "seed",
    "shuffle",
    "interleave",
    "partition",
    "subset",
    "num_steps",
    "unit",
    "rotation",
    "sampler",
)


@dataclass(frozen=True, kw_only=True)
class LoaderState:
    """All fields of a state; see the drawing above.

    Attributes:
        shuffle: False, "global", "bins", or ["window", size].
        interleave: Bins that are mixed, None where the order has none.
        lanes: Interleaved lanes of the order.
        subset, sampler: Digest of what was given, None for nothing. The sampler's is that of this epoch.
        unit: What `samples` counts: "samples", or "batches" with a batch sampler.
        rotation: [times, size] or None.
        mixture: What the samples so far depend on, where the dataset is a mixture: see Mixture.past. Then num_records
            is 0, and the fingerprint "mixture".
    """

    epoch: int
    samples: int
    origin: int
    seed: int
    shuffle: bool | str | list[Any]
    interleave: int | None
    lanes: int
    partition: str
    subset: str | None
    sampler: str | None
    num_steps: int | None
    unit: str
    rotation: list[int] | None
    num_records: int
    fingerprint: str
    generation: int | None
    mixture: dict[str, Any] | None
    batch_size: int
    world_size: int

    @property
    def position(self) -> Position:
        """The position at which training stood."""
        return Position(self.epoch, self.samples, self.origin)

    @property
    def shape(self) -> StepShape:
        """In what steps it was reached."""
        return StepShape(self.batch_size, self.world_size, self.lanes)

    def as_dict(self) -> StateDict:
        """Return the state as a caller saves it."""
        return {_VERSION_KEY: STATE_VERSION} | {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_dict(cls, state: object) -> LoaderState:
        """Read a state back.

        Raises:
            StateMismatchError: If it is not a state of this loader, or one of a newer version.
        """
        if not isinstance(state, Mapping) or _VERSION_KEY not in state:
            raise StateMismatchError(f"this is no state of a DistributedLoader: {_described(state)}")
        if state[_VERSION_KEY] != STATE_VERSION:
            raise StateMismatchError(
                f"the state has version {shown(state[_VERSION_KEY])}, this splitdata reads version {STATE_VERSION}: "
                "update splitdata"
            )
        names = {field.name for field in fields(cls)}
        given = set(state) - {_VERSION_KEY}
        if given != names:
            odd = cut(", ".join(sorted(map(str, given ^ names))))
            raise StateMismatchError(f"the state is damaged: these fields are missing or unknown: {odd}")
        for name, (least, most) in _NUMBERS.items():
            _check_number(name, state[name], least, most)
        if state["generation"] is not None:
            _check_number("generation", state["generation"], 0, _MAX_COUNT)
        if not isinstance(state["mixture"], dict | None):
            raise StateMismatchError(f"the state is damaged: mixture is {shown(state['mixture'])}")
        if not isinstance(state["fingerprint"], str):
            raise StateMismatchError(f"the state is damaged: fingerprint is {shown(state['fingerprint'])}")
        return cls(**{name: state[name] for name in names})

    def check_order(self, own: LoaderState, *, own_lanes: int | None) -> None:
        """Refuse a state whose sequence of samples is not ours.

        Args:
            own: The state of the loader that is to take this one.
            own_lanes: The lanes that its user asked for, None for any.

        Raises:
            StateMismatchError: Naming every difference, both sides.
        """
        different = [name for name in _MUST_AGREE if _plain(getattr(self, name)) != _plain(getattr(own, name))]
        rows = [(name, getattr(self, name), getattr(own, name)) for name in different]
        if own_lanes is not None and own_lanes != self.lanes:
            rows.append(("lanes", self.lanes, own_lanes))
        if rows:
            raise StateMismatchError(
                "the state was saved by a loader with another order; with this one other samples would come.\n"
                f"{_table(rows)}\nMake the loader with the options of then, or start anew with set_epoch(n)."
            )

    def check_data(self, own: LoaderState, fingerprint_of: Callable[[int], str | None]) -> None:
        """Refuse a state of other data; say so if they are the same with more behind.

        Args:
            own: The state of the loader that is to take this one.
            fingerprint_of: Generation -> fingerprint of our dataset as it was then, None if it is gone.

        Raises:
            StateMismatchError: Showing both sides.
        """
        if (self.num_records, self.fingerprint) == (own.num_records, own.fingerprint):
            self._check_mixture(own)
            return
        rows = [(name, getattr(self, name), getattr(own, name)) for name in ("num_records", "fingerprint")]
        raise StateMismatchError(
            f"the state was saved with other data.\n{_table(rows)}\n{self._way_on(own, fingerprint_of)}"
        )

    def _check_mixture(self, own: LoaderState) -> None:
        if self.mixture == own.mixture:
            return
        ours, saved = own.mixture or {}, self.mixture or {}
        names = sorted(set(saved) | set(ours), key=str)
        rows = [
            (cut(shown(name)), saved.get(name), ours.get(name)) for name in names if saved.get(name) != ours.get(name)
        ][:_MAX_ROWS]
        table = _table(rows or [("mixture", self.mixture, own.mixture)])
        raise StateMismatchError(
            "the state was saved with a mixture that was another one before its position: other sources, or other "
            f"shares.\n{table}\nOnly what lies ahead may change: further stages of the schedule, and sources behind "
            "the others, which had no share so far."
        )

    def _way_on(self, own: LoaderState, fingerprint_of: Callable[[int], str | None]) -> str:
        then = self.generation
        if own.num_records > self.num_records and then is not None and fingerprint_of(then) == self.fingerprint:
            num_new = own.num_records - self.num_records
            appended = "1 record was" if num_new == 1 else f"{num_new} records were"
            return (
                f"{appended} appended since. To finish with the data of then: "
                f"SplitDataLoader(path, generation={then}). To go on with all of them from the next epoch: "
                f"set_epoch({self.epoch + 1}) instead of load_state_dict."
            )
        return "Open the data of then, or start anew with these: set_epoch(n)."


def _check_number(name: str, value: object, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise StateMismatchError(f"the state is damaged: {name} is {shown(value)}, not a number of {least} to {most}")


def _described(state: object) -> str:
    """Say what was passed in place of a state, and what to do."""
    if not isinstance(state, Mapping):
        return f"it is of type {type(state).__name__}. Pass the dict that state_dict() returned"
    if not state:
        return "it is an empty dict. Where no state was saved, leave load_state_dict out: the loader begins at epoch 0"
    keys = ", ".join(map(shown, list(state)[:6])) + (", ..." if len(state) > 6 else "")
    inside = next((key for key, value in state.items() if isinstance(value, Mapping) and _VERSION_KEY in value), None)
    way = "what state_dict() returned" if inside is None else f"its entry {shown(inside)}, which is one"
    return f"it has no {_VERSION_KEY!r}, but {keys}. Pass {way}"


def _plain(value: object) -> object:
    # A state that went through JSON or a checkpoint has lists where we may have tuples.
    return list(value) if isinstance(value, tuple) else value


def _table(rows: list[tuple[str, object, object]]) -> str:
    width = max(len(name) for name, _, _ in rows)
    lines = []
    for name, saved, own in rows:
        lines.append(f"  {name:<{width}}  saved: {shown(saved)}")
        lines.append(f"  {'':<{width}}  here:  {shown(own)}")
    return "\n".join(lines)
