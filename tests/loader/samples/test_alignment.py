"""Samples of every data type through every way of reusing and sending them: what arrives lies as it needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest

from splitdata import Cache, DistributedLoader, Rotation
from splitdata.samples.nesting import leaves
from tests.loader.workloads import Numbers
from tests.samples.aligned import NUMPY_DTYPES, TORCH_DTYPES, arrays_of, is_placed, tensors_of

pytest.importorskip("torch")

# A sample or a batch.
Anything: TypeAlias = Any

SIZES = (1, 2, 3, 5)


def all_types(record: int) -> Anything:
    """Make a sample of arrays below and above 64 bytes; the text moves them by one byte a record."""
    arrays = {name: list(arrays_of(name, SIZES)) for name in NUMPY_DTYPES}
    tensors = {name: list(tensors_of(name, SIZES)) for name in TORCH_DTYPES}
    return {"record": record, "text": "x" * record, "arrays": arrays, "tensors": tensors}


def check(value: Anything) -> None:
    for leaf in leaves(value):
        if hasattr(leaf, "dtype") and not isinstance(leaf, np.generic):
            assert is_placed(leaf), (leaf.dtype, leaf.shape)


def checked(samples: list[Anything]) -> list[Anything]:
    """Collate as a user would who does more: every leaf is looked at where it is used."""
    check(samples)
    return samples


# In processes only what differs there: each loads torch.
@pytest.mark.parametrize(
    ("workers", "reuse"),
    [
        *((0, reuse) for reuse in ("none", "cache", "rotation", "rotation on disk", "rotation of a cache")),
        *((1, reuse) for reuse in ("none", "rotation of a cache")),
    ],
)
@pytest.mark.parametrize("collate_fn", [None, checked])
def test_samples_of_every_data_type_arrive_where_they_may_lie(
    tmp_path: Path, workers: int, reuse: str, collate_fn: Anything
) -> None:
    with DistributedLoader(
        Numbers(8),
        batch_size=4,
        transform=all_types,
        collate_fn=collate_fn,
        num_workers=workers,
        cache=Cache(tmp_path / "cache", version="1") if "cache" in reuse else None,
        rotation=Rotation(2, 4, "disk" if "disk" in reuse else "memory") if "rotation" in reuse else None,
    ) as loader:
        seen: list[int] = []
        for _ in range(2):
            for batch in loader:
                check(batch)
                seen += [one["record"] for one in batch] if collate_fn else batch["record"].tolist()

    assert sorted(set(seen)) == list(range(8))
