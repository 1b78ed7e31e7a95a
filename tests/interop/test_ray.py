"""Ray: conversions on two nodes of which one dies, datasets of Ray Data read and written, each record once.

All of it runs in one program, as a cluster takes half a minute to start.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.command import ROOT

pytest.importorskip("ray")

pytestmark = [pytest.mark.slow, pytest.mark.time_limit(400)]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what the program prints."""
    return run_program("tests.interop.ray_program", tmp_path_factory.mktemp("ray"))


def run_program(module: str, folder: Path) -> dict[str, Any]:
    paths = os.pathsep.join((str(ROOT), str(ROOT / "cli")))
    ended = subprocess.run(
        [sys.executable, "-m", module, str(folder)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": paths, "RAY_USAGE_STATS_ENABLED": "0"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-5000:]
    told: dict[str, Any] = json.loads((folder / "shown.json").read_text(encoding="utf-8"))
    return told


def test_conversion_on_two_nodes_of_which_one_is_killed_equals_one_process(shown: dict[str, Any]) -> None:
    found = shown["convert"]
    assert found["nodes"] == 2
    assert found["units"] > 5
    assert found["records"] is True
    assert found["files"] is True
    assert found["intact"] is True
    assert found["left"] == 0
    assert found["progress"] is True


def test_conversion_that_is_called_again_leaves_out_what_is_written(shown: dict[str, Any]) -> None:
    assert shown["convert"]["again"] == 0
    found = shown["resume"]
    assert 0 < found["before"] < found["units"]
    assert found["records"] == 400


def test_command_line_converts_on_the_cluster_and_reports_the_commit(shown: dict[str, Any]) -> None:
    found = shown["command"]
    assert found["num_committed"] == shown["resume"]["units"]
    assert found["records"] == 400


def test_error_of_a_record_arrives_as_itself(shown: dict[str, Any]) -> None:
    assert shown["resume"]["error"] is True


def test_rows_read_are_the_samples_with_their_types(shown: dict[str, Any]) -> None:
    found = shown["read"]
    assert found["labels"] is True
    assert found["image"] is True
    assert found["type"] == "uint8"
    assert found["columns"] == ["label"]
    assert found["raw"] is True
    assert found["limit"] == 7
    assert found["unknown"] is True


def test_rows_are_written_once_though_a_task_dies_and_in_one_commit(shown: dict[str, Any]) -> None:
    found = shown["write"]
    assert found["died"] is True
    assert found["numbers"] is True
    assert found["array"] == ["float32", [3]]
    assert found["metadata"] == {"by": "ray", "record_codec": "sample"}
    assert (found["generation"], found["waiting"]) == (1, 0)
    assert found["refused"] is True
    assert found["bytes"] is True


def test_actors_as_workers_give_the_batches_of_no_workers_and_resume(shown: dict[str, Any]) -> None:
    found = shown["actors"]
    assert found["num"] == 116
    assert found["same"] is True
    assert found["resumed"] is True
    assert found["writeable"] is True


def test_actor_that_raises_dies_or_hangs_is_an_error_and_none_is_left(shown: dict[str, Any]) -> None:
    found = shown["actors"]
    assert found["raised"][:2] == ["KeyError", "'of an actor'"]
    assert found["died"][0] == "WorkerCrashedError"
    assert "an actor of Ray, has died" in found["died"][1]
    assert found["hung"][0] == "WorkerTimeoutError"
    assert found["free"] == 1
