"""The memory budget: machine, cgroups of both versions, processes of the job."""

from __future__ import annotations

from pathlib import Path

import pytest

from splitdata.process.wire.memory_budget import memory_budget

MIB = 1 << 20
GIB = 1 << 30


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    monkeypatch.setattr("splitdata.process.wire.memory_budget._available_to_machine", lambda: 100 * GIB)


def test_large_machine_gives_one_gibibyte(tmp_path: Path) -> None:
    assert memory_budget(tmp_path, tmp_path / "none") == GIB


def test_limit_of_a_cgroup_above_counts(tmp_path: Path) -> None:
    membership = tmp_path / "self"
    membership.write_text("0::/job/task\n")
    group = tmp_path / "job" / "task"
    group.mkdir(parents=True)
    (group / "memory.max").write_text("max\n")
    (group / "memory.current").write_text(f"{50 * MIB}\n")
    (group.parent / "memory.max").write_text(f"{1050 * MIB}\n")
    (group.parent / "memory.current").write_text(f"{50 * MIB}\n")

    assert memory_budget(tmp_path, membership) == 100 * MIB


def test_limit_of_version_1_counts(tmp_path: Path) -> None:
    membership = tmp_path / "self"
    membership.write_text("5:cpu:/x\n4:memory:/box\n")
    group = tmp_path / "memory" / "box"
    group.mkdir(parents=True)
    (group / "memory.limit_in_bytes").write_text(f"{600 * MIB}\n")
    (group / "memory.usage_in_bytes").write_text(f"{100 * MIB}\n")

    assert memory_budget(tmp_path, membership) == 50 * MIB


def test_processes_of_one_job_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("splitdata.process.wire.memory_budget._available_to_machine", lambda: 8 * GIB)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")

    assert memory_budget(tmp_path, tmp_path / "none") == 8 * GIB // 10 // 8


@pytest.mark.parametrize("size", ["", "x", "0", "-3"])
def test_nonsense_in_the_environment_counts_as_one(size: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", size)

    assert memory_budget(tmp_path, tmp_path / "none") == GIB


def test_full_machine_still_gives_a_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("splitdata.process.wire.memory_budget._available_to_machine", lambda: 0)

    assert memory_budget(tmp_path, tmp_path / "none") == MIB


def test_budget_of_this_machine_is_within_bounds() -> None:
    assert MIB <= memory_budget() <= GIB
