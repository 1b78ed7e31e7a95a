"""The sample codec beside pickle and msgpack: samples per second to bytes, and back.

    image      {"image": uint8[32, 32, 3], "label": int}
    caption    the same with a text, a list of numbers and a nested dict
    64 KB      {"x": float32[128, 128], "label": int}          1 MB: float32[512, 512]

    python benchmarks/samples.py            medians of nine rounds
    python benchmarks/samples.py --quick    one round, to see that it runs
    python benchmarks/samples.py --json     the figures for a program

All peers run in every round, one after the other, so that a busy machine is busy for all of them; what
counts are the ratios. pickle is protocol 5 in band, as it is written to a file. msgpack is given arrays as
buffers, by the package msgpack-numpy and by two functions of our own that do only what this benchmark needs.
Peers that are not installed are left out.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import pickle
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from splitdata.samples.decode import SampleDecoder, decode_sample
from splitdata.samples.encode import encode_sample

# Whatever a codec takes and returns.
Anything: TypeAlias = Any
Codec = tuple[Callable[[Anything], bytes], Callable[[bytes], Anything]]

OURS = "splitdata"
BATCH = 256
SECONDS = 0.05


def samples() -> dict[str, Anything]:
    """Return the samples that are measured, by name."""
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (32, 32, 3), np.uint8)
    meta = {"id": 12, "is_good": True, "source": None}
    return {
        "image": {"image": image, "label": 7},
        "caption": {"image": image, "label": 7, "caption": "a cat on a mat", "box": [1.0, 2.0, 3.0, 4.0], "meta": meta},
        "64 KB": {"x": random.random((128, 128), np.float32), "label": 7},
        "1 MB": {"x": random.random((512, 512), np.float32), "label": 7},
    }


def codecs() -> dict[str, Codec]:
    """Return encode and decode of each peer that is there."""
    found: dict[str, Codec] = {
        OURS: (encode_sample, decode_sample),
        "pickle 5": (lambda sample: pickle.dumps(sample, 5), pickle.loads),
    }
    if importlib.util.find_spec("msgpack") is not None:
        import msgpack

        found["msgpack, own functions"] = (
            lambda sample: msgpack.packb(sample, default=_array_to_map),
            lambda data: msgpack.unpackb(data, object_hook=_map_to_array),
        )
        if importlib.util.find_spec("msgpack_numpy") is not None:
            import msgpack_numpy

            found["msgpack-numpy"] = (
                lambda sample: msgpack.packb(sample, default=msgpack_numpy.encode),
                lambda data: msgpack.unpackb(data, object_hook=msgpack_numpy.decode),
            )
    return found


def _array_to_map(array: Anything) -> dict[str, Any]:
    return {"dtype": array.dtype.str, "shape": array.shape, "data": array.data}


def _map_to_array(value: dict[str, Any]) -> Anything:
    return np.frombuffer(value["data"], value["dtype"]).reshape(value["shape"]) if "dtype" in value else value


def seconds_each(action: Callable[[], object]) -> float:
    """Return how long one call takes, over as many as fill the time."""
    count, taken = 1, 0.0
    while taken < SECONDS:
        count = max(count, int(count * SECONDS / taken * 1.2)) if taken > SECONDS / 100 else count * 8
        gc.collect()
        begun = time.perf_counter()
        for _ in range(count):
            action()
        taken = time.perf_counter() - begun
    return taken / count


def measure(rounds: int) -> dict[str, dict[str, dict[str, float]]]:
    """Return for each sample and peer the median microseconds of encode, decode and batch (of 256, each)."""
    seen: dict[str, dict[str, dict[str, list[float]]]] = {}
    for _ in range(rounds):
        for name, sample in samples().items():
            for peer, (encode, decode) in codecs().items():
                record = encode(sample)
                if not np.array_equal(next(iter(decode(record).values())), next(iter(sample.values()))):
                    raise ValueError(f"{peer} does not return the sample {name}")
                actions = {"encode": lambda: encode(sample), "decode": lambda: decode(record)}  # noqa: B023  # called below
                if name == "image":
                    actions["batch"] = _batch_action(peer, record, decode)
                for what, action in actions.items():
                    micros = seconds_each(action) * 1e6
                    of_peer = seen.setdefault(name, {}).setdefault(peer, {})
                    of_peer.setdefault(what, []).append(micros / BATCH if what == "batch" else micros)
    return {
        name: {peer: {what: statistics.median(values) for what, values in of.items()} for peer, of in peers.items()}
        for name, peers in seen.items()
    }


def _batch_action(peer: str, record: bytes, decode: Callable[[bytes], Anything]) -> Callable[[], object]:
    """Return what makes one batch of many records: ours from the rows of a gather, others by stacking."""
    if peer == OURS:
        rows = np.frombuffer(record * BATCH, np.uint8).reshape(BATCH, -1)
        decoder = SampleDecoder()
        return lambda: decoder.decode_batch(rows)
    records = [record] * BATCH

    def stack() -> object:
        found = [decode(one) for one in records]
        return {key: np.stack([sample[key] for sample in found]) for key in found[0]}

    return stack


# Sample, what of it, the peer, and how many times faster we want to be at least.
GOALS = [
    ("image", ("encode", "decode"), "pickle 5", 0.5),
    ("image", ("encode", "decode"), "msgpack-numpy", 1.0),
    ("image", ("encode", "decode"), "msgpack, own functions", 1.0),
    ("64 KB", ("decode",), "pickle 5", 3.0),
    ("1 MB", ("decode",), "pickle 5", 3.0),
]


def ratios(figures: dict[str, dict[str, dict[str, float]]]) -> list[dict[str, Any]]:
    """Return for each goal what was reached."""
    found = []
    for name, parts, peer, goal in GOALS:
        if peer in figures[name]:
            theirs, ours = (sum(figures[name][one][part] for part in parts) for one in (peer, OURS))
            found.append(
                {"sample": name, "what": " + ".join(parts), "peer": peer, "goal": goal, "reached": theirs / ours}
            )
    return found


def show(figures: dict[str, dict[str, dict[str, float]]]) -> None:
    """Print the figures for a person."""
    for name, peers in figures.items():
        print(f"{name + ', microseconds':34} {'encode':>9} {'decode':>9} {'both':>9} {'in batches':>11}")
        for peer, taken in peers.items():
            batch = f"{taken['batch']:11.2f}" if "batch" in taken else ""
            both = taken["encode"] + taken["decode"]
            print(f"  {peer:32} {taken['encode']:9.2f} {taken['decode']:9.2f} {both:9.2f} {batch}")
    print(f"{'goals: so many times faster':58} {'reached':>8} {'goal':>6}")
    for ratio in ratios(figures):
        what = f"{ratio['sample']}: {ratio['what']} / {ratio['peer']}"
        print(f"  {what:56} {ratio['reached']:8.2f} {ratio['goal']:6.2f}")


def main() -> None:
    """Measure and show."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one round")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--rounds", type=int, default=None)
    arguments = parser.parse_args()
    rounds = arguments.rounds or (1 if arguments.quick else 9)
    figures = measure(rounds)
    if arguments.json:
        print(json.dumps({"figures": figures, "ratios": ratios(figures), "rounds": rounds}, indent=2))
    else:
        show(figures)


if __name__ == "__main__":
    main()
