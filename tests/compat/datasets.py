"""Datasets for the loaders that take a class and its keyword arguments. No torch: workers import this module."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path
from typing import Any

import numpy as np


class Numbered:
    """Sample i is a small array of i, and i as its label."""

    def __init__(self, size: int = 10) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < self.size:
            raise IndexError(index)
        return np.full((2, 3), index, np.float32), index


class Growing(Numbered):
    """Each sample is larger than the one before, by 8 KiB."""

    def __getitem__(self, index: int) -> Any:
        return [np.full((1024 * (index + 1),), index)]


class Drawing(Numbered):
    """The label is drawn from the global generators, as augmentations do; so is something when it is made."""

    def __init__(self, size: int = 10) -> None:
        super().__init__(size)
        self.offset = 0 * random.random() * np.random.random()

    def __getitem__(self, index: int) -> Any:
        return index, random.random() + np.random.random() + self.offset


class Counted(Drawing):
    """Notes each call of `__getitem__` in a file."""

    def __init__(self, log: str, size: int = 10) -> None:
        super().__init__(size)
        self.log = log

    def __getitem__(self, index: int) -> Any:
        with Path(self.log).open("a", encoding="utf-8") as file:
            file.write(f"{index}\n")
        return super().__getitem__(index)


class Failing(Numbered):
    """The sample `bad` is not to be had: an exception, an exit, or the death of whoever asks."""

    def __init__(self, how: str, bad: int = 5, size: int = 10) -> None:
        super().__init__(size)
        self.how, self.bad = how, bad

    def __getitem__(self, index: int) -> Any:
        if index == self.bad:
            if self.how == "raise":
                raise OSError(f"sample {index} is not readable")
            if self.how == "exit":
                raise SystemExit(3)
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)


class Environment(Numbered):
    """The label is the GPU that the worker sees."""

    def __getitem__(self, index: int) -> Any:
        return int(os.environ.get("CUDA_VISIBLE_DEVICES", -1)), index


class Broken:
    """Cannot be made."""

    def __init__(self) -> None:
        raise FileNotFoundError("no such photos")


def read_indices(log: Path) -> list[int]:
    """Return which samples a Counted dataset was asked for."""
    return [int(line) for line in log.read_text().split()] if log.exists() else []
