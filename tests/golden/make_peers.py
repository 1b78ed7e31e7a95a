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


def _examples() -> None:
    import importlib

    descriptor_pb2, descriptor_pool, message_factory = (
        importlib.import_module(f"google.protobuf.{name}")
        for name in ("descriptor_pb2", "descriptor_pool", "message_factory")
    )

    from tests.conversion.sources.records.test_tfrecord import framed

    file = descriptor_pb2.FileDescriptorProto(name="e.proto", package="t", syntax="proto3")
    schema: dict[str, list[tuple[int, str, int, str]]] = {
        "B": [(1, "v", 12, "")],
        "F": [(1, "v", 2, "")],
        "I": [(1, "v", 3, "")],
        "Feature": [(1, "bytes_list", 11, "B"), (2, "float_list", 11, "F"), (3, "int64_list", 11, "I")],
        "Entry": [(1, "key", 9, ""), (2, "value", 11, "Feature")],
        "Features": [(1, "feature", 11, "Entry")],
        "Example": [(1, "features", 11, "Features")],
    }
    for name, fields in schema.items():
        message = file.message_type.add(name=name)
        for number, field, kind, of in fields:
            label = 3 if field in ("v", "feature") else 1
            message.field.add(name=field, number=number, type=kind, label=label, type_name=f".t.{of}" if of else None)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    make = message_factory.GetMessageClass(pool.FindMessageTypeByName("t.Example"))
    frames = []
    for k in range(NUM_SAMPLES):
        example = make()
        feature = example.features.feature
        feature.add(key="label").value.int64_list.v.extend([k - 2, 1 << 40])
        feature.add(key="score").value.float_list.v.extend([k / 4] * k)
        feature.add(key="image").value.bytes_list.v.append(b"\xff\xd8" * k)
        frames.append(framed(example.SerializeToString()))
    (HERE / "tensorflow" / "examples.tfrecord").write_bytes(b"".join(frames))


if __name__ == "__main__":
    if sys.argv[1] == "examples":
        _examples()
        sys.exit()
    shutil.rmtree(HERE / sys.argv[1], ignore_errors=True)
    {"mosaicml": _mosaicml, "litdata": _litdata}[sys.argv[1]](HERE / sys.argv[1])
