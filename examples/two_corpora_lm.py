"""A language model of two corpora: shares that change, packed sequences, a stop in mid-schedule, on with fewer ranks.

Two ranks begin, in this process, and one goes on with what was left. Needs torch.
"""

from __future__ import annotations

import argparse
import inspect
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from splitdata import DistributedLoader, Mixture, OrderOptions, Packed, PackedCollate, SplitWriter, TokenBudget

PACKS = Packed(size=256, window=60, length="ids")
SEQUENCES = PackedCollate(256, {"ids": 0})
PADDED = TokenBudget(max_tokens=4096, window=200, length="ids")


def write(path: Path, module: Any) -> None:
    with SplitWriter(path) as writer:
        for text in filter(None, Path(module.__file__).read_bytes().split(b"\n\n")):
            writer.write_sample({"ids": np.frombuffer(text[:256], np.uint8).astype(np.int64) % 128})


def padded(samples: list[dict[str, Any]]) -> dict[str, Any]:
    longest = max(len(sample["ids"]) for sample in samples)
    ids = np.array([np.pad(sample["ids"], (0, longest - len(sample["ids"]))) for sample in samples])
    return {"ids": ids, "segment_ids": ids > 0}


def loader(folder: Path, rank: int, world_size: int) -> DistributedLoader:
    sources: dict[str, Any] = {"args": (folder / "args", 0.8), "look": (folder / "look", 0.2)}
    mixture = Mixture(sources, schedule=[(100, {"args": 0.2, "look": 0.8})], until=240)
    options: dict[str, Any] = {"batch_size": 2, "shuffle": "global", "order": OrderOptions(batching=PACKS, lanes=2)}
    return DistributedLoader(mixture, rank=rank, world_size=world_size, collate_fn=SEQUENCES, **options)


def main(folder: Path) -> None:
    import torch

    write(folder / "args", argparse)
    write(folder / "look", inspect)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    embed, rnn, head = torch.nn.Embedding(128, 32), torch.nn.GRU(32, 64, batch_first=True), torch.nn.Linear(64, 128)
    optimizer = torch.optim.Adam([*embed.parameters(), *rnn.parameters(), *head.parameters()], lr=0.01)

    def loss_of(batch: dict[str, Any]) -> Any:
        ids, segments = torch.as_tensor(batch["ids"]), torch.as_tensor(batch["segment_ids"])
        inside = (segments[:, 1:] == segments[:, :-1]) & (segments[:, 1:] > 0)
        return torch.nn.functional.cross_entropy(head(rnn(embed(ids[:, :-1]))[0])[inside], ids[:, 1:][inside])

    def train(batch: dict[str, Any]) -> Any:
        optimizer.zero_grad()
        loss_of(batch).backward()
        optimizer.step()
        return np.hstack(batch["records"]).tolist()

    expected = [np.hstack(batch["records"]).tolist() for batch in loader(folder, 0, 1)]
    ranks, alone = (loader(folder, 0, 2), loader(folder, 1, 2)), loader(folder, 0, 1)
    seen = [train(batch) for _, *two in zip(range(10), *ranks, strict=False) for batch in two]
    alone.load_state_dict(ranks[1].state_dict())
    print(f"{len(seen)} batches on two ranks, {len(expected) - len(seen)} on one")
    seen += map(train, alone)
    print(f"together the uninterrupted stream: {seen == expected}; packs {alone.stats().fill_ratio:.0%} full")
    check = DistributedLoader(folder / "args", collate_fn=padded, order=OrderOptions(batching=PADDED))
    losses = [loss_of(batch).item() for batch in check]
    print(f"{len(losses)} padded batches, {check.stats().fill_ratio:.0%} full; learned: {np.mean(losses) < 3.5}")


if find_spec("torch") is None:
    print("this example needs torch: pip install 'splitdata[torch]'")
else:
    with tempfile.TemporaryDirectory() as name:
        main(Path(name))
