"""JAX and Keras take batches where they belong; each backend in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from tests.command import ROOT
from tests.interop.stream import BATCH_SIZE, NUM_RECORDS, expected

pytestmark = [pytest.mark.slow, pytest.mark.time_limit(300)]


def report_of(program: str, path: str, **environment: str) -> dict[str, Any]:
    """Run a program of this folder and return its report."""
    ended = subprocess.run(
        [sys.executable, ROOT / "tests" / "interop" / f"{program}.py", path],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    report: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return report


def test_batches_lie_over_the_devices_of_a_mesh_and_torch_is_not_needed(path: str) -> None:
    pytest.importorskip("jax")

    flags = "--xla_force_host_platform_device_count=8"
    report = report_of("jax_program", path, XLA_FLAGS=flags, JAX_PLATFORMS="cpu")

    assert report["shards"] == [[1]] * 8
    assert report["is_sharded"]
    assert report["sum_error"] < 1e-5
    samples = expected(path, 2)
    samples = samples[:48] + samples[NUM_RECORDS:][:48]
    assert [number for number, _ in report["samples"]] == [number for number, _ in samples]
    np.testing.assert_allclose([noise for _, noise in report["samples"]], [noise for _, noise in samples], rtol=1e-6)
    assert not report["torch is loaded"]
    assert report["plain"] == ["ndarray", "ndarray"]


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_keras_has_each_epoch_in_order_and_resumes_in_mid_epoch(path: str, backend: str) -> None:
    pytest.importorskip("keras")
    pytest.importorskip(backend)

    report = report_of("keras_program", path, KERAS_BACKEND=backend)

    samples = expected(path, 4)
    # Behind three batches of the second epoch of fourteen.
    state, done = report["state"], NUM_RECORDS + 3 * BATCH_SIZE
    assert (state["epoch"], state["samples"]) == (1, 3 * BATCH_SIZE)
    for got, wanted in (
        (report["whole"], samples[: 3 * NUM_RECORDS]),
        # Two epochs of Keras, which end inside of the fourth of the data.
        (report["rest"], samples[done : done + 2 * NUM_RECORDS + BATCH_SIZE - 1]),
    ):
        assert [number for number, _ in got] == [number for number, _ in wanted][: len(got)]
        np.testing.assert_allclose([noise for _, noise in got], [noise for _, noise in wanted][: len(got)], rtol=1e-5)
    assert len(report["whole"]) == 3 * NUM_RECORDS
    assert len(report["rest"]) == 2 * NUM_RECORDS
