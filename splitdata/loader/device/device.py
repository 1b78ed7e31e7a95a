"""Chooses the engine that moves batches to a device: the one module of the loader that imports torch.

torch is imported only where a device is asked for, since it takes seconds to load.

    device=None              None            batches stay as they are; torch is not needed
    device="cpu", "mps" ...  HostEngine      .to(device), and pinned if asked for
    device="cuda"            CudaEngine      pinned staging buffers and a stream of its own
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from splitdata.loader.device.engines import CudaEngine, HostEngine

if TYPE_CHECKING:
    from splitdata.loader.device.engines import Engine

__all__ = ["open_engine", "resolve_device"]

_log = logging.getLogger("splitdata")


def _torch(wanted_by: str) -> Any:
    try:
        import torch
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{wanted_by} needs torch: pip install 'splitdata[torch]'", name="torch") from error
    return torch


def resolve_device(device: Any) -> Any:
    """Return the `torch.device` that is meant, with its number.

    "cuda" is the current device of this process, where `model.to("cuda")` goes too: in a distributed job call
    `torch.cuda.set_device(local_rank)` before the first batch, or name the device, "cuda:3". LOCAL_RANK is not
    read. Asking for the current device initialises CUDA in this process.

    Args:
        device: What `torch.device` takes: a name, a number of a CUDA device, a `torch.device`.

    Raises:
        ValueError: There is no such device here.
        ModuleNotFoundError: torch is not installed.
    """
    torch = _torch(f"device={device!r}")
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device={device!r} is no device that torch knows: {error}") from error
    if resolved.type != "cuda":
        return resolved
    if not torch.cuda.is_available():
        raise ValueError(f"device={device!r} asks for a GPU and torch {torch.__version__} sees none: use device='cpu'")
    number = torch.cuda.current_device() if resolved.index is None else resolved.index
    if number >= torch.cuda.device_count():
        raise ValueError(f"device={device!r}: this process sees {torch.cuda.device_count()} CUDA devices, from 0 on")
    return torch.device("cuda", number)


def open_engine(device: Any, *, pin_memory: bool = False) -> Engine | None:
    """Return what moves batches to a device; None where they stay as they are.

    An engine of a CUDA device holds a stream, so one is made for each loader and kept over its epochs.

    Args:
        device: As for `resolve_device`; None leaves batches where they are.
        pin_memory: Without a device, or with "cpu": batches become tensors in pinned memory. With a CUDA device
            staging is pinned anyway; a user's own `to_device` then gets pinned tensors. Without CUDA there is
            nothing to pin for: a warning is logged, and the batches are the same otherwise.

    Raises:
        ValueError: There is no such device here.
        ModuleNotFoundError: torch is not installed, and a device or pinned memory is asked for.
    """
    if device is None and not pin_memory:
        return None
    torch = _torch("pin_memory=True" if device is None else f"device={device!r}")
    resolved = resolve_device("cpu" if device is None else device)
    if pin_memory and not torch.cuda.is_available():
        _log.warning("pin_memory=True has no effect: torch %s sees no CUDA device", torch.__version__)
        pin_memory = False
    engine = CudaEngine if resolved.type == "cuda" else HostEngine
    return engine(torch, resolved, pins=pin_memory)
