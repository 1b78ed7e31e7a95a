"""What DistributedLoader is to reach beside other loaders in the same run, and what it is not to exceed.

L        images per second of ours / of theirs      >=  ratio
L cold   records per second, loader / disk          >=  ratio
S        milliseconds to the first batch of ours    <=  theirs, with the same start method
S        the same in a later epoch                  <=  5 ms
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from benchmarks.goals import Goal, Outcome, outcome_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["GOALS", "loader_outcomes"]

_IN_PROCESS: Final = "splitdata, in process"
_THREADS: Final = "splitdata, 2 threads"
_PROCESSES: Final = "splitdata, 2 processes"
_VIEWS: Final = {name: name.replace(",", " as_views,") for name in (_IN_PROCESS, _THREADS, _PROCESSES)}
_LATER_MILLISECONDS: Final = 5.0

# fmt: off
GOALS: Final = (
    Goal("L", "D3", "torch, 2 workers", 4.0, peer=_PROCESSES),
    Goal("L", "D3", "torch, 2 workers", 4.0, peer=_VIEWS[_PROCESSES]),
    Goal("L", "D3", "SPDL, 2 threads", 1.0, peer=_VIEWS[_THREADS]),
    Goal("L", "D3", "torch on splitdata, 0 workers", 0.9, peer=_IN_PROCESS),
    # It copies the bytes once and looks at none of them.
    Goal("L", "D3", "torch, 0 workers", 0.9, peer=_VIEWS[_IN_PROCESS], is_stretch=True),
    Goal("L cold", "D2", "disk", 0.85, peer=_PROCESSES),
    Goal("L cold", "D3", "disk", 0.85, peer=_PROCESSES),
)
# fmt: on


def loader_outcomes(results: Mapping[str, Any]) -> list[Outcome]:
    """Hold a results file of loader_workload.py against all goals."""
    rates = {
        (one["workload"], one["data"], one["peer"]): one["records_per_second"]
        for one in results["results"]
        if "records_per_second" in one
    }
    return [outcome_of(goal, rates, results) for goal in GOALS] + list(_first_batches(results))


def _first_batches(results: Mapping[str, Any]) -> Iterator[Outcome]:
    waits = {(one["peer"], one["start_method"]): one for one in results["first_batch"] if "first_ms" in one}
    for method in ("spawn", "fork"):
        ours, theirs = waits.get((_PROCESSES, method)), waits.get(("torch, 2 workers", method))
        if ours and theirs:
            yield Outcome(
                f"S first batch, {method}: {_PROCESSES} / torch, 2 workers",
                f"{ours['first_ms']:.0f} ms",
                f"{theirs['first_ms']:.0f} ms",
                ours["first_ms"] <= theirs["first_ms"],
                False,
            )
    # By themselves, processes start by "spawn".
    later = {peer: waits.get((peer, method)) for peer, method in ((_PROCESSES, "spawn"), (_THREADS, None))}
    later[_IN_PROCESS] = waits.get((_IN_PROCESS, None))
    for peer, waited in later.items():
        yield Outcome(
            f"S first batch of a later epoch: {peer}",
            f"{waited['later_ms']:.1f} ms" if waited else None,
            f"{_LATER_MILLISECONDS:.0f} ms",
            waited["later_ms"] <= _LATER_MILLISECONDS if waited else None,
            False,
        )
