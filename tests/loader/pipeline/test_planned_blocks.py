"""Steps are planned many at a time, and asked for no further ahead than that is wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from splitdata import DistributedLoader, WorkerOptions
from splitdata.loader.pipeline.executors import InProcess
from splitdata.loader.plan.epoch_steps import PositionRun
from splitdata.loader.plan.steps import StepRequest

if TYPE_CHECKING:
    import pytest

    from splitdata.loader.plan.steps import Part


def test_small_batches_are_planned_by_few_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    planned: list[int] = []
    parts = PositionRun.parts

    def noted(self: PositionRun, first: int, stop: int) -> list[tuple[Part, ...]]:
        planned.append(stop - first)
        return parts(self, first, stop)

    monkeypatch.setattr(PositionRun, "parts", noted)
    loader = DistributedLoader(range(1024), batch_size=4, shuffle="global")
    assert sorted(record for batch in loader for record in batch.tolist()) == list(range(1024))
    # The first steps by themselves, so that a batch comes soon.
    assert len(planned) == 2
    assert sum(planned) == 256


def test_steps_that_are_planned_are_asked_for_when_their_time_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    ask = InProcess.ask

    def noted(self: InProcess, *requests: StepRequest) -> None:
        asked.append(len(requests))
        ask(self, *requests)

    monkeypatch.setattr(InProcess, "ask", noted)
    workers = WorkerOptions(prefetch=1, read_ahead=3)
    iterator = iter(DistributedLoader(range(1024), batch_size=4, workers=workers))
    for taken in range(1, 257):
        next(iterator)
        assert sum(asked) <= min(256, taken + 3)
    assert sum(asked) == 256
