"""The random generator of one sample: keyed by (seed, epoch, record), so that nothing else can change its draws.

Which worker makes a sample, when, and what it made before has no influence.

    transform(record, rng=...)   rng = Generator(Philox) whose key is derived from (seed, epoch, record)
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from splitdata.order.permutation import derive_key

__all__ = ["sample_generator", "wants_generator"]


class _Key:
    """A key of Philox in the form of a seed: `Philox(key=...)` asks the system for a seed first, which it drops."""

    def __init__(self, key: int) -> None:
        self._words = np.array([key, 0], np.uint64)

    def generate_state(self, n_words: int, dtype: DTypeLike = np.uint64) -> NDArray[np.uint64]:
        """Return the key's 128 bits, which are all that Philox wants."""
        return self._words


@functools.cache
def _philox() -> Callable[..., np.random.Philox]:
    # At the first call: numpy loads its generators only on use.
    np.random.bit_generator.ISeedSequence.register(_Key)
    return np.random.Philox


def sample_generator(seed: int, epoch: int, record: int) -> np.random.Generator:
    """Return the generator for one record in one epoch; it is the caller's, and costs about 5 us."""
    key = derive_key(seed, epoch, record, "transform")
    return np.random.Generator(_philox()(_Key(key)))


def wants_generator(transform: Callable[..., Any]) -> bool:
    """Tell whether a transform has a parameter named `rng`; builtins without a signature have none."""
    try:
        parameter = inspect.signature(transform).parameters.get("rng")
    except (TypeError, ValueError):
        return False
    return parameter is not None and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
