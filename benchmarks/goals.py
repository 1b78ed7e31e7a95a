"""What splitdata is to reach, as ratios within one run, every check on.

figure of splitdata / figure of the other   >=   goal
figure of splitdata / memcpy of this run    >=   goal / 21 GB/s        where no peer is the measure
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["GOALS", "Goal", "Key", "Outcome", "outcome_of", "outcomes"]

# Some goals were set on a machine that copies so much, and scale with what this one copies.
_REFERENCE_GIGABYTES: Final = 21.0
_OPEN_MILLISECONDS: Final = 10.0
_OPEN_MEGABYTES: Final = 50.0
_ORDERED_PER_SECOND: Final = 5e6

# Workload, data, peer.
Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Goal:
    """One ratio to be reached.

    Attributes:
        workload, data: What is measured.
        against: A peer, or "memcpy".
        ratio: To be reached, or with "memcpy" the records/s at 21 GB/s.
        is_stretch: It was known when it was set that Python alone may not reach it.
        peer: Whose figure it is.
        in_bytes: The goal is in bytes per second, not in records.
    """

    workload: str
    data: str
    against: str
    ratio: float
    is_stretch: bool = False
    peer: str = "splitdata"
    in_bytes: bool = False


# fmt: off
GOALS: Final = (
    Goal("W", "D1", "lmdb", 1.0),
    Goal("W", "D2", "lmdb", 1.0),
    Goal("W durable", "D1", "lmdb", 1.0),
    Goal("W durable", "D2", "lmdb", 1.0),
    Goal("R1", "D1", "lmdb", 1.2, is_stretch=True),
    Goal("R1", "D2", "lmdb", 1.0, is_stretch=True),
    Goal("R1", "D1", "bare-file", 0.45),
    Goal("R1", "D2", "bare-file", 0.45),
    Goal("R2", "D1", "lmdb", 1.7),
    Goal("R2", "D2", "lmdb", 1.2),
    Goal("gather", "D1", "numpy-rows", 0.5),
    Goal("R2 cold", "D2", "willneed-then-read", 0.9),
    Goal("R2 cold", "D2", "plain-mmap", 8.0),
    Goal("R3", "D1", "lmdb", 0.8),
    Goal("R3", "D2", "memcpy", 6e9, in_bytes=True),
    Goal("R3", "D2", "memcpy", 12e9, is_stretch=True, in_bytes=True),
    Goal("R3", "D1", "lmdb", 1.0, peer="splitdata-unverified"),
    Goal("R3", "D2", "memcpy", 12e9, peer="splitdata-unverified", in_bytes=True),
    Goal("R4", "D1", "memcpy", 1.5e6),
    Goal("R4", "D2", "memcpy", 500e3),
)
# fmt: on


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a goal stands.

    Attributes:
        what: The goal in words.
        reached: The figure that corresponds to it, None where it was not measured.
        goal: What it is to be.
        is_met: Whether it is; None where it was not measured.
    """

    what: str
    reached: str | None
    goal: str
    is_met: bool | None
    is_stretch: bool


def outcomes(results: Mapping[str, Any]) -> list[Outcome]:
    """Hold a results file against all goals."""
    rates = {
        (one["workload"], one["data"], one["peer"]): one["records_per_second"]
        for one in results["results"]
        if "records_per_second" in one
    }
    found = [outcome_of(goal, rates, results) for goal in GOALS]
    billion = results.get("billion", {})
    for key, limit, unit in (("open_ms", _OPEN_MILLISECONDS, "ms"), ("peak_rss_mb", _OPEN_MEGABYTES, "MB")):
        value = billion.get(key)
        shown = None if value is None else f"{value:.1f} {unit}"
        what = f"O, 10^9 records, {'open' if unit == 'ms' else 'memory of the process'}"
        found.append(Outcome(what, shown, f"{limit:.0f} {unit}", None if value is None else value < limit, False))
    rate = results.get("order", {}).get("positions_per_second", {}).get("global")
    shown = None if rate is None else f"{rate / 1e6:.1f} M/s"
    is_met = None if rate is None else rate >= _ORDERED_PER_SECOND
    found.append(Outcome("K, global order of 10^9 records", shown, f"{_ORDERED_PER_SECOND / 1e6:g} M/s", is_met, False))
    return found


def outcome_of(goal: Goal, rates: Mapping[Key, float], results: Mapping[str, Any]) -> Outcome:
    """Hold measured rates against one goal."""
    own = rates.get((goal.workload, goal.data, goal.peer))
    name = {"splitdata": "", "splitdata-unverified": " unverified"}.get(goal.peer, f": {goal.peer}")
    what = f"{goal.workload} {goal.data}{name} / {goal.against}"
    if goal.against == "memcpy":
        scale = results["memcpy_gigabytes_per_second"] / _REFERENCE_GIGABYTES
        size = results["data"].get(goal.data, {}).get("mean_bytes", 0.0) if goal.in_bytes else 1.0
        value = None if own is None else own * size / scale
        unit = "GB/s" if goal.in_bytes else "M/s"
        divisor = 1e9 if goal.in_bytes else 1e6
        shown = None if value is None else f"{value / divisor:.2f} {unit}"
        wanted = f"{goal.ratio / divisor:g} {unit} at 21 GB/s"
    else:
        other = rates.get((goal.workload, goal.data, goal.against))
        value = own / other if own and other else None
        shown = None if value is None else f"{value:.2f}"
        wanted = f"{goal.ratio:g}"
    return Outcome(what, shown, wanted, None if value is None else value >= goal.ratio, goal.is_stretch)
