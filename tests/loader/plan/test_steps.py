"""Requests travel to workers and stay what they were."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from numpy.typing import NDArray

from splitdata.loader.plan.steps import Part, StepFill


@pytest.mark.parametrize(
    "numbers",
    [
        np.arange(5, dtype=np.int64),
        np.arange(20, dtype=np.int64)[::-4],
        np.array([], np.int64),
        np.array([-1, 1 << 62], np.int64),
        np.arange(5, dtype=np.int32),
    ],
    ids=["dense", "strided", "empty", "extreme", "int32"],
)
def test_part_that_was_pickled_has_its_numbers_as_int64_that_may_be_written_to(numbers: NDArray[np.int64]) -> None:
    part = Part(3, numbers, numbers + 1, StepFill(7, 9), (2, 5))
    epoch, positions, records, fill, span = pickle.loads(pickle.dumps(part, 5))

    assert (fill, span) == (part.fill, part.span)
    assert (epoch, positions.tolist(), records.tolist()) == (3, numbers.tolist(), (numbers + 1).tolist())
    assert positions.dtype == records.dtype == np.int64
    assert positions.flags.writeable
    assert records.flags.writeable
