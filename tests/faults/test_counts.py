"""docs/reliability.md says how many cases are tried; where that follows from numbers of the tests, it says these."""

from __future__ import annotations

import re

import pytest

from tests.command import ROOT
from tests.faults import (
    test_hostile_slices,
    test_kill,
    test_power_loss,
    test_repair_kill,
    test_system_calls,
    test_tool_kill,
)
from tests.faults.kill_workloads import workloads
from tests.planted_bugs import BUGS

WRITES, TOOLS = len(workloads()), len(test_tool_kill.TOOLS)
REPAIR_KILLS = (
    len(test_repair_kill.adopting_workloads()) * test_repair_kill.WRITER_POINTS
    + WRITES * (test_repair_kill.WRITER_POINTS // 2)
    + len(test_repair_kill.CASES) * test_repair_kill.REPAIR_POINTS
)
STATES = WRITES + 7 * len(test_power_loss.OTHERS)
SLICES = test_hostile_slices.SLICES.values()

# What a row begins with, and numbers that its columns "in each run" and "in soak" have.
ROWS: dict[str, tuple[list[int], list[int]]] = {
    "kill -9 at every byte and operation of a write": ([sum(test_kill.POINTS.values()) + test_kill.LARGE_POINTS], []),
    f"kill -9 of {TOOLS} calls of tools": (
        [TOOLS * test_tool_kill.POINTS],
        [test_tool_kill.SOAK_POINTS, TOOLS * test_tool_kill.SOAK_POINTS],
    ),
    "kill -9 of a writer, then `repair --adopt`": ([REPAIR_KILLS], []),
    "loss of power": (
        [STATES * test_power_loss.STATES + TOOLS * test_power_loss.TOOL_STATES],
        [WRITES * test_power_loss.SOAK_STATES + TOOLS * test_power_loss.SOAK_TOOL_STATES],
    ),
    "reads and writes that do half of what is asked": ([TOOLS + 1], []),
    "real system calls": ([], [3 * len(test_system_calls.CALLS) * len(test_system_calls.FAULTS)]),
    "hostile input": ([], [sum(slices * count for slices, count in SLICES), sum(slices for slices, _ in SLICES)]),
    f"{len(BUGS)} bugs planted one at a time": ([], []),
}


@pytest.mark.parametrize("begins", ROWS)
def test_number_of_cases_in_the_page_is_that_of_the_tests(begins: str) -> None:
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    table = page.partition("\n| what is tried |")[2].partition("\n\n")[0]
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith(f"| {begins}")]

    assert len(rows) == 1
    for column, expected in zip(rows[0][1:3], ROWS[begins], strict=True):
        told = [int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*", column)]
        assert [number for number in expected if number not in told] == []
