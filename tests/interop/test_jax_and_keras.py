"""JAX and Keras take batches where they belong; each backend in a process of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from tests.command import ROOT
from tests.interop.stream import BATCH_SIZE, NUM_RECORDS, expected, interleaved, make_loader, samples_of

pytestmark = [pytest.mark.slow, pytest.mark.time_limit(300)]


def report_of(program: str, *arguments: str, **environment: str) -> dict[str, Any]:
    """Run a program of this folder and return its report."""
    (report,) = reports_of(program, [arguments], **environment)
    return report


def reports_of(program: str, arguments: list[tuple[str, ...]], **environment: str) -> list[dict[str, Any]]:
    """Run a program of this folder in several processes at once, each with its arguments; return their reports."""
    processes = [
        subprocess.Popen(
            [sys.executable, ROOT / "tests" / "interop" / f"{program}.py", *of_one],
            env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        for of_one in arguments
    ]
    ended = [process.communicate() for process in processes]
    assert not any(process.returncode for process in processes), ended
    return [json.loads(output.splitlines()[-1]) for output, _ in ended]


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


def test_jax_resumes_in_mid_epoch_over_two_processes_with_one_global_array(path: str) -> None:
    pytest.importorskip("jax")
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"}
    first = make_loader(path, batch_size=8, tail="drop")
    running = iter(first)
    taken = samples_of(next(running) for _ in range(2))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = "127.0.0.1:" + str(probe.getsockname()[1])

    state = json.dumps(first.state_dict())
    reports = reports_of("jax_processes", [(path, address, str(rank), state) for rank in range(2)], **flags)
    last = make_loader(path, batch_size=5, tail="drop")
    last.load_state_dict(reports[0]["state"])

    assert reports[0]["state"] == reports[1]["state"]
    assert reports[0]["shapes"] == reports[1]["shapes"] == [[8]] * 3
    # JAX has float32 unless it is told otherwise.
    of_processes: Any = interleaved([report["samples"] for report in reports])
    got = [number for number, _ in (*taken, *of_processes, *samples_of(last))]
    # The last step is not full.
    assert got == [number for number, _ in expected(path)[:50]]
    noise = sum(noise for _, noise in expected(path)[16:40])
    np.testing.assert_allclose([report["sum"] for report in reports], noise, rtol=1e-5)


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_keras_has_each_epoch_in_order_and_resumes_in_mid_epoch_also_at_another_world_size(
    path: str, backend: str
) -> None:
    pytest.importorskip("keras")
    pytest.importorskip(backend)

    report = report_of("keras_program", path, KERAS_BACKEND=backend)

    samples = expected(path, 4)
    # Behind three batches of the second epoch of fourteen.
    state, done = report["state"], NUM_RECORDS + 3 * BATCH_SIZE
    assert (state["epoch"], state["samples"]) == (1, 3 * BATCH_SIZE)
    # The rest of the second epoch, behind which Keras goes into the third: a sample of the last step is repeated.
    ranks = interleaved(report["ranks"])[: NUM_RECORDS - 3 * BATCH_SIZE]
    for got, wanted in (
        (report["whole"], samples[: 3 * NUM_RECORDS]),
        (ranks, samples[done:]),
        # Two epochs of Keras, which end inside of the fourth of the data.
        (report["rest"], samples[done : done + 2 * NUM_RECORDS + BATCH_SIZE - 1]),
    ):
        assert [number for number, _ in got] == [number for number, _ in wanted][: len(got)]
        np.testing.assert_allclose([noise for _, noise in got], [noise for _, noise in wanted][: len(got)], rtol=1e-5)
    assert len(report["whole"]) == 3 * NUM_RECORDS
    assert len(report["rest"]) == 2 * NUM_RECORDS
    assert len(ranks) == NUM_RECORDS - 3 * BATCH_SIZE
