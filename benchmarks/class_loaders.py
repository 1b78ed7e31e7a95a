"""dataset_server and swift_loader, whose loaders take a class and its arguments, for compat.py: beside torch's.

Both are on no package index, so torch's DataLoader stands for them, with as many persistent workers over the same
dataset. Loaders are made in the round that does not count and stay: starting is left out, beginning an epoch is not.

    images    150,528 bytes of u8 and a label, batches of 64
    small     3,072 bytes of u8 and a label, batches of 64
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["class_loader_cases"]

BATCH = 64
WORKERS = 2
# Samples of an epoch, shape of one.
DATA = {"images": (8192, (3, 224, 224)), "small": (32_768, (3, 32, 32))}


class Images:
    """A dataset as users write it; making a sample costs nothing, so that loading is measured."""

    def __init__(self, size: int, shape: tuple[int, ...]) -> None:
        self._size = size
        self._images = np.random.default_rng(0).integers(0, 256, (16, *shape), np.uint8)

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self._images[index % 16], index


@cache
def server_loader(size: int, shape: tuple[int, ...]) -> Any:
    """Return dataset_server's loader as it is documented, shuffled."""
    from splitdata.compat.dataset_server import DataLoader

    return DataLoader(Images, {"size": size, "shape": shape}, BATCH, WORKERS, shuffle=True)


@cache
def swift_loader(size: int, shape: tuple[int, ...]) -> Any:
    """Return swift_loader's as it is documented, of one consumer."""
    from splitdata.compat.swift_loader import SwiftLoader

    loader = SwiftLoader(Images, {"size": size, "shape": shape}, BATCH, 1, WORKERS, shuffle=True)
    loader.start(0)
    return loader


@cache
def torch_loader(size: int, shape: tuple[int, ...]) -> Any:
    """Return torch's."""
    from torch.utils.data import DataLoader

    return DataLoader(
        Images(size, shape),
        batch_size=BATCH,
        shuffle=True,
        num_workers=WORKERS,
        persistent_workers=True,
        multiprocessing_context="spawn",
    )


def go_through(loader: Callable[..., Any], size: int, shape: tuple[int, ...], _folder: Path) -> int:
    """Take all batches of an epoch, and look at one number of each."""
    num_samples = 0
    for images, labels in loader(size, shape):
        int(images[0, 0, 0, 0])
        num_samples += len(labels)
    return num_samples


def class_loader_cases(scale: float) -> dict[str, dict[str, Callable[[Path], int]]]:
    """Return an epoch of each kind of samples, of both libraries."""
    found: dict[str, dict[str, Callable[[Path], int]]] = {}
    for library, loader in (("dataset_server", server_loader), ("swift_loader", swift_loader)):
        for data, (whole, shape) in DATA.items():
            size = int(whole * scale)
            sides = found[f"{library}: {data}"] = {"ours": partial(go_through, loader, size, shape)}
            if importlib.util.find_spec("torch") is not None:
                sides[f"torch, {WORKERS} workers"] = partial(go_through, torch_loader, size, shape)
    return found
