"""Taking turns: peer after peer inside each repetition, so that what else the machine does hits all alike.

warm up and calibrate    a b c      how many records fill the time of one run
repetition 1             a b c
repetition 2             a b c      ...  the median of each peer's rates counts
"""

from __future__ import annotations

import gc
import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from benchmarks.peers.base import Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Result", "Settings", "take_turns", "timed"]

# The first, small run of a calibration, in records.
_FIRST_COUNT: Final = 512
_GROWTH: Final = 8


@dataclass(frozen=True, slots=True)
class Settings:
    """How thorough a run is.

    Attributes:
        share: Part of the data that is used, above 0 to 1.
        repeat: Repetitions, of which the median counts.
        seconds: What one run of one peer should take at most; slower peers read fewer records.
        patience: A run that takes longer than this, in seconds, is not repeated.
    """

    share: float
    repeat: int
    seconds: float
    patience: float


@dataclass(slots=True)
class Result:
    """What one peer reached in one workload.

    Attributes:
        workload, data, peer: What was measured.
        rates: Records per second, of each repetition.
        num_records: In one run.
        cpu_seconds: Of each repetition, for each record; of all processes. Where it was measured.
        answer: Why there are no rates: what the peer does not have, or how it failed.
    """

    workload: str
    data: str
    peer: str
    rates: list[float] = field(default_factory=list)
    num_records: int = 0
    cpu_seconds: list[float] = field(default_factory=list)
    answer: str = ""

    @property
    def rate(self) -> float | None:
        """Median of the rates."""
        return statistics.median(self.rates) if self.rates else None

    def as_json(self) -> dict[str, Any]:
        """Return it for the results file."""
        shown: dict[str, Any] = {"workload": self.workload, "data": self.data, "peer": self.peer}
        if self.answer:
            return shown | {"answer": self.answer}
        rate = self.rate or 0.0
        if self.cpu_seconds:
            shown["cpu_us_per_record"] = round(statistics.median(self.cpu_seconds) * 1e6, 2)
        return shown | {
            "records_per_second": round(rate, 1),
            "runs": [round(one, 1) for one in self.rates],
            "num_records": self.num_records,
        }


def timed(action: Callable[[], int]) -> tuple[int, float]:
    """Run an action once; returns the records it handled and the seconds it took."""
    gc.collect()
    start = time.perf_counter()
    count = action()
    return count, time.perf_counter() - start


def take_turns(
    workload: str, data: str, operations: Mapping[str, Callable[[int], int]], full: int, settings: Settings
) -> list[Result]:
    """Measure one workload of all peers.

    Args:
        workload, data: For the results.
        operations: For each peer, what handles up to so many records and returns how many it did.
        full: Records of a complete run.
        settings: How often and how long.
    """
    results = {name: Result(workload, data, name) for name in operations}
    for name, operation in operations.items():
        try:
            results[name].num_records = _calibrate(operation, full, settings.seconds)
        except Unsupported as error:
            results[name].answer = str(error)
        except Exception as error:  # a peer that fails is reported, the others go on
            results[name].answer = f"failed: {type(error).__name__}: {error}"
    for _ in range(settings.repeat):
        for name, operation in operations.items():
            result = results[name]
            if result.answer:
                continue
            wanted = result.num_records
            count, seconds = timed(lambda operation=operation, wanted=wanted: operation(wanted))  # type: ignore[misc]  # mypy cannot infer defaults of a lambda
            result.rates.append(count / seconds)
    return list(results.values())


def _calibrate(operation: Callable[[int], int], full: int, seconds: float) -> int:
    """Warm up, and return how many records take about `seconds`, at most `full`."""
    wanted = min(full, _FIRST_COUNT)
    while True:
        count, elapsed = timed(lambda: operation(wanted))  # noqa: B023  # called at once
        if wanted == full or elapsed > seconds / 3:
            return max(1, min(full, int(count / elapsed * seconds)))
        wanted = min(full, wanted * _GROWTH)
