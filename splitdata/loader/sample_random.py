"""The random generator of one sample: keyed by (seed, epoch, record), so that nothing else can change its draws.

transform(record, rng=...)   rng = Generator(Philox) whose key is derived from (seed, epoch, record)

Which worker makes a sample, when, and what it made before has no influence.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from splitdata.order.permutation import derive_key

__all__ = ["sample_generator", "wants_generator"]


def sample_generator(seed: int, epoch: int, record: int) -> np.random.Generator:
    """Return the generator for one record in one epoch; it is the caller's, and costs about 5 us."""
    key = derive_key(seed, epoch, record, "transform")
    return np.random.Generator(np.random.Philox(key=key))


def wants_generator(transform: Callable[..., Any]) -> bool:
    """Tell whether a transform has a parameter named `rng`; builtins without a signature have none."""
    try:
        parameter = inspect.signature(transform).parameters.get("rng")
    except (TypeError, ValueError):
        return False
    return parameter is not None and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
