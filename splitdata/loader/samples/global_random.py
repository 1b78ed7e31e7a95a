"""The global generators of Python, numpy and torch, set for one sample at a time.

    sample (seed, epoch, record) ──> key ──> random.seed, np.random.seed, torch's default generator where it is loaded
    worker process     set before each sample: nobody else draws from them there
    this process       the same, and behind each batch what the user had is put back
    worker threads     left alone: they share the generators with the whole program

So a transform that draws from them, as those of torchvision do, gives the same sample in any worker at any time.
"""

from __future__ import annotations

import random
import sys
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any, Final

from splitdata.order.permutation import derive_key

__all__ = ["GlobalRandom"]

# What torch's generator begins with, so what it holds where torch was loaded meanwhile.
_FIRST_SEED_OF_TORCH: Final = 67280421310721


class GlobalRandom:
    """Sets the global generators. Belongs to one thread, and the generators to it while it works.

    Args:
        seed: Of the loader.
        puts_back: Whether the user's state comes back behind `borrowed`.

    Attributes:
        is_borrowed: The user's state is away at present.
    """

    def __init__(self, seed: int, *, puts_back: bool) -> None:
        self._seed = seed
        self._puts_back = puts_back
        self.is_borrowed = False
        self._has_torch = False

    def set(self, epoch: int, record: int, purpose: str) -> None:
        """Set all of them for a sample; costs up to twice what the generator does that `rng` gets."""
        import numpy as np

        key = derive_key(self._seed, epoch, record, purpose)
        random.seed(key)
        np.random.seed(key & 0xFFFF_FFFF)
        torch = sys.modules.get("torch")
        self._has_torch = torch is not None
        if torch is not None:
            torch.default_generator.manual_seed(key)

    @property
    def is_torch_new(self) -> bool:
        """Whether torch was loaded since `set`, which so could not set it."""
        return not self._has_torch and "torch" in sys.modules

    def borrowed(self) -> AbstractContextManager[Any]:
        """Put the user's state back behind a block, where that is wanted; blocks may nest."""
        return _Borrowed(self) if self._puts_back and not self.is_borrowed else nullcontext()


class _Borrowed:
    """The user's state while it is away. A class: contextlib's own would set attributes of errors that pass through."""

    def __init__(self, owner: GlobalRandom) -> None:
        self._owner = owner

    def __enter__(self) -> None:
        import numpy as np

        torch = sys.modules.get("torch")
        self._of_python, self._of_numpy = random.getstate(), np.random.get_state(legacy=False)
        self._of_torch = None if torch is None else torch.default_generator.get_state()
        self._owner.is_borrowed = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        import numpy as np

        self._owner.is_borrowed = False
        random.setstate(self._of_python)
        np.random.set_state(self._of_numpy)
        torch = sys.modules.get("torch")
        if torch is None:
            return
        if self._of_torch is not None:
            torch.default_generator.set_state(self._of_torch)
        else:
            torch.default_generator.manual_seed(_FIRST_SEED_OF_TORCH)
