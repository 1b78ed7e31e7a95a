"""How many classes a batch passes between the worker's pipe and the loop: each is one more to read and to pay for."""

from __future__ import annotations

import sys
import time
from types import FrameType
from typing import Any

import pytest

from splitdata import DistributedLoader
from tests.loader.workloads import Numbers


@pytest.mark.skipif(sys.platform == "win32", reason="its pipes are others")
def test_ready_batch_from_a_worker_passes_nine_classes_at_most() -> None:
    passed: set[type] = set()

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_globals.get("__name__", "").startswith("splitdata."):
            passed.update({type(frame.f_locals["self"])} if "self" in frame.f_locals else ())

    with DistributedLoader(Numbers(64), batch_size=2, num_workers=1) as loader:
        batches = iter(loader)
        next(batches)
        while not loader.stats().num_ready:
            time.sleep(0.01)
        sys.setprofile(note)
        try:
            next(batches)
        finally:
            sys.setprofile(None)

    assert len(passed) <= 9, sorted(one.__name__ for one in passed)
