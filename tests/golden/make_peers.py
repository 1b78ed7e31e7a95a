"""Makes the golden files that other libraries wrote: run by hand where these are installed.

python tests/golden/make_peers.py mosaicml      mosaicml-streaming 0.13.0
python tests/golden/make_peers.py litdata       litdata 0.2.76
"""

from __future__ import annotations

import shutil
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
NUM_SAMPLES = 5
MDS_COLUMNS = {
    "raw": "bytes",
    "text": "str",
    "number": "int",
    "f": "float32",
    "u": "uint8",
    "any": "ndarray",
    "halves": "ndarray:float16",
    "shaped": "ndarray:int32:2,3",
    "big": "str_int",
    "exact": "str_float",
    "money": "str_decimal",
    "tree": "json",
    "pixels": "pil",
    "png": "png",
    "pngs": "list[png]",
}


def mds_sample(k: int) -> dict[str, Any]:
    """Return sample k, without its pictures."""
    return {
        "raw": b"ab" * k,
        "text": f"ü{k}",
        "number": -k,
        "f": np.float32(k / 3),
        "u": np.uint8(k),
        "any": np.arange(k + 1, dtype=np.int64).reshape(1, -1),
        "halves": np.arange(k + 1).astype(np.float16),
        "shaped": np.arange(6, dtype=np.int32).reshape(2, 3) + k,
        "big": 10**30 + k,
        "exact": k / 7,
        "money": Decimal("1.10"),
        "tree": {"k": [k, None]},
    }


def litdata_sample(k: int) -> dict[str, Any]:
    """Return item k, with its tensor as an array."""
    return {
        "x": k,
        "y": k / 2,
        "flag": k % 2 == 0,
        "text": f"ü{k}",
        "raw": b"ab" * k,
        "array": np.arange(k + 1, dtype=np.float32).reshape(1, -1),
        "tensor": np.arange(6).reshape(2, 3) + k,
        "flat": np.arange(k, dtype=np.int16),
        "nested": [k, "z"],
        "pair": (k, {"q": k}),
    }


def _mosaicml(folder: Path) -> None:
    from PIL import Image  # type: ignore[import-not-found, unused-ignore]  # of the peers' environment
    from streaming import MDSWriter

    def full(k: int) -> dict[str, Any]:
        picture = Image.fromarray(np.arange(24, dtype=np.uint8).reshape(2, 4, 3) + k)
        return mds_sample(k) | {"pixels": picture, "png": picture, "pngs": [picture] * k}

    small = {name: MDS_COLUMNS[name] for name in ("raw", "text", "number", "any")}
    ways: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
        "plain": (MDS_COLUMNS, {"hashes": ["sha1", "xxh64"], "size_limit": 2000}),
        **{name: (small, {"compression": name, "hashes": ["sha1"]}) for name in ("zstd:7", "gz", "bz2", "br")},
        "pickled": ({"number": "int", "text": "pkl"}, {}),
    }
    for name, (columns, options) in ways.items():
        with MDSWriter(out=str(folder / name.partition(":")[0]), columns=columns, **options) as writer:
            for k in range(NUM_SAMPLES):
                writer.write({column: full(k)[column] for column in columns})


def _litdata(folder: Path) -> None:
    import torch
    from litdata.streaming import Cache
    from litdata.streaming.item_loader import TokensLoader

    def full(k: int) -> dict[str, Any]:
        sample = litdata_sample(k)
        return sample | {"tensor": torch.from_numpy(sample["tensor"])}

    ways: dict[str, tuple[Any, dict[str, Any]]] = {
        "tree": (full, {}),
        **{way: (full, {"compression": "zstd", "compression_level": way}) for way in ("chunk", "batch", "sample")},
        "tokens": (lambda k: torch.arange(k, k + 4), {"item_loader": TokensLoader(block_size=4)}),
        "alone": (lambda k: k, {}),
        "pickled": (lambda k: {"x": k, "y": {1, 2}}, {}),
    }
    for name, (make, options) in ways.items():
        cache = Cache(str(folder / name), chunk_size=3, **options)
        for k in range(NUM_SAMPLES):
            cache[k] = make(k)
        cache.done()
        cache.merge()


if __name__ == "__main__":
    shutil.rmtree(HERE / sys.argv[1], ignore_errors=True)
    {"mosaicml": _mosaicml, "litdata": _litdata}[sys.argv[1]](HERE / sys.argv[1])
