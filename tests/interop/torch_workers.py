"""What the workers of torch's DataLoader make of splitdata, as a program: they and forkservers end with it.

python -m tests.interop.torch_workers DATASET  ->  JSON: epochs of each start method, what adapters refuse
"""

from __future__ import annotations

import json
import sys

import torch

from splitdata import SampleDataset, SplitDataLoader
from splitdata.interop.torch import as_dataloader, as_iterable
from tests.interop.stream import make_loader


def as_ints(records: list[bytes]) -> list[int]:
    """Collate records."""
    return [int(record) for record in records]


def epochs_of(path: str, start_method: str) -> list[list[int]]:
    """Return the numbers of two shuffled epochs of persistent workers, whose dataset was used before they started."""
    dataset = SplitDataLoader(path)
    dataset[0]
    batches = torch.utils.data.DataLoader(
        dataset,
        batch_size=8,
        shuffle=True,
        num_workers=2,
        collate_fn=as_ints,
        persistent_workers=True,
        multiprocessing_context=start_method,
    )
    return [[number for batch in batches for number in batch] for _ in range(2)]


def refusal(dataset: torch.utils.data.Dataset, batch_size: int | None) -> str:
    """Return the error of a batch that a worker is asked for."""
    batches = torch.utils.data.DataLoader(dataset, batch_size=batch_size, num_workers=1, multiprocessing_context="fork")
    try:
        next(iter(batches))
    except ValueError as error:
        return str(error)
    return ""


def main(path: str, samples: str) -> None:
    """Try everything."""
    loader = make_loader(path)
    labels = torch.utils.data.DataLoader(SampleDataset(samples, copy=True), batch_size=8, num_workers=2)
    report = {
        "epochs": {method: epochs_of(path, method) for method in ("spawn", "forkserver", "fork")},
        "refusals": [refusal(as_iterable(loader), None), refusal(as_dataloader(loader).dataset, 1)],
        "samples": [label for batch in labels for label in batch["label"].tolist()],
    }
    print(json.dumps(report))  # noqa: T201  # it is read by the test


if __name__ == "__main__":
    main(*sys.argv[1:])
