"""convert_on_ray against a module that stands for Ray: tasks in any order, twice, or failing. With Ray: test_ray.py."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cloudpickle
import pytest

from splitdata import SplitDataLoader, convert, convert_on_ray, waiting_parts
from splitdata.conversion import work_units
from tests.dataset.record_kinds import tree_of


class FakeRay:
    """Runs tasks when they are waited for, the newest first, and each twice, as for a node that was believed dead."""

    def __init__(self) -> None:
        self.num_cancelled = 0

    def is_initialized(self) -> bool:
        return True

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 2}

    def remote(self, task: Callable[..., Any]) -> Any:
        def begin(unit: Any) -> Any:
            return task, cloudpickle.dumps(unit)

        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=begin))

    def wait(self, refs: list[Any], num_returns: int) -> tuple[list[Any], list[Any]]:
        return refs[-num_returns:], refs[:-num_returns]

    def get(self, ref: Any) -> Any:
        task, unit = ref
        task(pickle.loads(unit))
        return task(pickle.loads(unit))

    def cancel(self, ref: Any, *, force: bool) -> None:
        self.num_cancelled += 1


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    fake = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", fake)
    monkeypatch.setattr(work_units, "UNIT_BYTES", 500)
    return fake


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    path = tmp_path / "lines.txt"
    path.write_text("".join(f"line {number}\n" for number in range(300)), encoding="utf-8")
    return path


def read(path: Path) -> list[bytes]:
    with SplitDataLoader(path) as loader:
        return list(loader)


def test_units_that_end_in_any_order_and_run_twice_are_one_conversion(
    ray: FakeRay, lines: Path, tmp_path: Path
) -> None:
    seen: list[int] = []
    report = convert_on_ray(lines, tmp_path / "on_ray", progress=lambda at: seen.append(at.source_bytes))
    convert(lines, tmp_path / "alone")

    assert read(tmp_path / "on_ray") == read(tmp_path / "alone")
    assert report.num_committed == len(seen) > 4
    assert seen[-1] == lines.stat().st_size
    assert waiting_parts(tmp_path / "on_ray") == []


def test_failing_unit_ends_all_leaves_what_is_written_and_resume_goes_on(
    ray: FakeRay, lines: Path, tmp_path: Path
) -> None:
    def fails(record: bytes) -> bytes:
        if record == b"line 150":
            raise ValueError("no")
        return record

    with pytest.raises(ValueError, match="no"):
        convert_on_ray(lines, tmp_path / "on_ray", transform=fails, reproducible=True)
    assert ray.num_cancelled
    assert waiting_parts(tmp_path / "on_ray")

    report = convert_on_ray(lines, tmp_path / "on_ray", reproducible=True)
    again = convert_on_ray(lines, tmp_path / "on_ray", reproducible=True, resume=True)
    assert (again.num_committed, report.num_records) == (0, 300)
    before = tree_of(tmp_path / "on_ray")
    convert_on_ray(lines, tmp_path / "on_ray", reproducible=True, resume=True)
    assert tree_of(tmp_path / "on_ray") == before


@pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is installed")
def test_without_ray_the_error_names_the_extra(lines: Path, tmp_path: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'splitdata\[ray\]'"):
        convert_on_ray(lines, tmp_path / "on_ray")
    assert not (tmp_path / "on_ray").exists()
