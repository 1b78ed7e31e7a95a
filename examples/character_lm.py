"""A character language model: a long text as records of equal length, shuffled as a whole, without a token in memory.

Records lie end to end: one is a stretch of text and the character behind it. Needs torch.
"""

from __future__ import annotations

import argparse
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from splitdata import DistributedLoader, SplitWriter

LENGTH = 32


def windows(record: bytes) -> tuple[Any, Any]:
    """Return the characters and those that follow each of them."""
    text = np.frombuffer(record, np.uint8).astype(np.int64)
    return text[:-1], text[1:]


def main(path: Path) -> None:
    import torch

    # At hand everywhere: the source of a module of Python's.
    text = Path(argparse.__file__).read_bytes()[:50_000]
    with SplitWriter(path) as writer:
        writer.write_many(text[start : start + LENGTH + 1] for start in range(0, len(text) - LENGTH, LENGTH))
    torch.manual_seed(0)
    torch.set_num_threads(1)
    embedding, head = torch.nn.Embedding(128, 32), torch.nn.Linear(64, 128)
    rnn = torch.nn.GRU(32, 64, batch_first=True)
    optimizer = torch.optim.Adam([*embedding.parameters(), *rnn.parameters(), *head.parameters()], lr=0.01)
    losses: list[float] = []
    with DistributedLoader(path, batch_size=32, shuffle="global", transform=windows, device="cpu") as loader:
        for _ in range(2):
            for inputs, targets in loader:
                logits = head(rnn(embedding(inputs))[0])
                loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(float(loss.detach()))
    print(f"{len(text)} characters, {len(losses)} steps of 32 x {LENGTH}")
    print(f"loss {losses[0]:.2f} nats a character at first, {losses[-1]:.2f} at last: learned: {losses[-1] < 2.5}")


if find_spec("torch") is None:
    print("this example needs torch: pip install 'splitdata[torch]'")
else:
    with tempfile.TemporaryDirectory() as name:
        main(Path(name) / "text")
