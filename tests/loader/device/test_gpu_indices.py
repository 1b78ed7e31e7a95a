"""gpu_indices: the GPUs that workers see are among those that this process may use."""

from __future__ import annotations

import pytest

from splitdata.loader.pipeline.worker_job import environment_of


def test_number_is_a_place_among_the_visible_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4, GPU-1a2b")

    assert [environment_of(worker_id, [1, 0]) for worker_id in range(2)] == [
        {"CUDA_VISIBLE_DEVICES": "GPU-1a2b"},
        {"CUDA_VISIBLE_DEVICES": "4"},
    ]


def test_number_is_the_gpu_itself_where_all_are_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    assert environment_of(0, [3]) == {"CUDA_VISIBLE_DEVICES": "3"}


def test_gpu_that_this_process_may_not_use_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")

    with pytest.raises(ValueError, match="gpu_indices gives worker 1 GPU 4, this process sees 2"):
        environment_of(1, [0, 4])
