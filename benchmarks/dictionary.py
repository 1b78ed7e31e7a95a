"""What a zstd dictionary does for small JSON records: ratio and speed against zstd without, and gzip of the whole.

    python benchmarks/dictionary.py [--records 100000] [--json RESULT]

Records of 100 to 500 bytes, each compressed by itself so that any of them can be read alone; gzip
compresses the file of all lines as one, of which nothing can be read without all that stands before.
Each line is the best of three rounds, in which the ways take turns.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from splitdata import SplitDataLoader, SplitWriter, describe

_ROUNDS: Final = 3
_WAYS: Final[dict[str, dict[str, Any]]] = {
    "uncompressed": {},
    "zstd, each record": {"compression": "zstd"},
    "zstd, dictionary": {"compression": "zstd", "dictionary": True},
}


def json_records(count: int, seed: int = 0) -> list[bytes]:
    """Return records like those of a log: 100 to 500 bytes, the same keys, values of many kinds."""
    source = random.Random(seed)
    names = [
        f"{source.choice('bcdfghklmnprst')}{source.choice('aeiou')}{source.randrange(10_000)}" for _ in range(5000)
    ]
    words = ["".join(source.choices("etaoinshrdlucmfwyp", k=source.randrange(2, 10))) for _ in range(4000)]
    records: list[bytes] = []
    while len(records) < count:
        record = {
            "id": f"{source.getrandbits(64):016x}",
            "time": f"2026-{source.randrange(1, 13):02d}-{source.randrange(1, 29):02d}T{source.randrange(24):02d}:00Z",
            "user": source.choice(names),
            "language": source.choice(["en", "de", "fr", "es", "zh"]),
            "score": round(source.random(), 3),
            "text": " ".join(source.choices(words, k=source.randrange(2, 45))),
        }
        data = json.dumps(record).encode()
        if 100 <= len(data) <= 500:
            records.append(data)
    return records


def measure(records: list[bytes], folder: Path) -> dict[str, dict[str, float]]:
    """Return for each way its ratios and its times in microseconds a record."""
    raw_bytes = sum(map(len, records))
    places = random.Random(1).sample(range(len(records)), len(records))
    results: dict[str, dict[str, float]] = {way: {} for way in [*_WAYS, "gzip, whole file"]}

    def note(way: str, what: str, began: float) -> None:
        taken = (time.perf_counter() - began) / len(records) * 1e6
        results[way][what] = min(taken, results[way].get(what, taken))

    for _ in range(_ROUNDS):
        for way, options in _WAYS.items():
            path = folder / "data"
            shutil.rmtree(path, ignore_errors=True)
            began = time.perf_counter()
            with SplitWriter(path, bins=4, durability="none", **options) as writer:
                writer.write_many(records)
            note(way, "write_us", began)
            with SplitDataLoader(path) as loader:
                began = time.perf_counter()
                if sum(map(len, loader)) != raw_bytes:
                    raise RuntimeError("the records read are not those written")
                note(way, "walk_us", began)
                began = time.perf_counter()
                for place in places:
                    loader[place]
                note(way, "random_us", began)
            described = describe(path)
            results[way]["payload_ratio"] = raw_bytes / described.stored_bytes
            results[way]["disk_ratio"] = raw_bytes / described.disk_bytes
        lines = b"\n".join(records)
        began = time.perf_counter()
        packed = gzip.compress(lines)
        note("gzip, whole file", "write_us", began)
        began = time.perf_counter()
        gzip.decompress(packed).split(b"\n")
        note("gzip, whole file", "walk_us", began)
        results["gzip, whole file"]["payload_ratio"] = results["gzip, whole file"]["disk_ratio"] = raw_bytes / len(
            packed
        )
    return results


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description="Dictionaries for small JSON records.")
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    arguments = parser.parse_args()
    records = json_records(arguments.records)
    with tempfile.TemporaryDirectory() as folder:
        results = measure(records, Path(folder))
    print(f"{len(records)} records of {sum(map(len, records)) / len(records):.0f} bytes on average")
    columns = ("payload_ratio", "disk_ratio", "write_us", "walk_us", "random_us")
    print(f"{'':20}" + "".join(f"{column:>15}" for column in columns))
    for way, figures in results.items():
        print(f"{way:20}" + "".join(f"{figures[one]:15.2f}" if one in figures else f"{'-':>15}" for one in columns))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2), "utf-8")


if __name__ == "__main__":
    main()
