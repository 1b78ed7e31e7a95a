"""Samples per second of the interfaces in splitdata.compat, each beside the library whose names it has.

    python -m benchmarks.compat                     medians of five rounds
    python -m benchmarks.compat --quick             one round of a tenth of the work
    python -m benchmarks.compat --only pyloader     the cases whose name begins so

In each round all sides of a case run, one after the other. A case is from the call to the last sample, with the start
of its processes (but in class_loaders.py); datasets to read are open, and were read once. The goal is twice the old
library's speed; a library that is not installed is left out.

    a case: name -> {side: function of a folder -> samples}      cases(scale)
    sides:  ours first, then what it is held against
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import queue
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from benchmarks.class_loaders import class_loader_cases
from splitdata.compat import pyloader
from splitdata.compat import splitdataloader as ours

Side: TypeAlias = Callable[[Path], int]
Cases: TypeAlias = dict[str, dict[str, Side]]

GOAL = 2.0

# -- splitdataloader ---------------------------------------------------------------------------------------

RECORD_BYTES = 4096


def made(num_records: int) -> Iterator[bytes]:
    """Yield records of one size, each different."""
    blob = np.random.default_rng(0).bytes(RECORD_BYTES)
    for number in range(num_records):
        yield number.to_bytes(8, "little") + blob[8:]


def write(library: Any, num_records: int, folder: Path) -> int:
    """Write all records into a fresh dataset."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        library.write_split_data(place, made(num_records))
    return num_records


@cache
def written(library: Any, num_records: int, folder: Path) -> Any:
    """Return a loader of the records, which stays open, as in training over several epochs."""
    path = folder / f"read by {library.__name__}"
    library.write_split_data(str(path), made(num_records))
    return library.SplitDataLoader(str(path))


def read_by_index(library: Any, num_records: int, folder: Path) -> int:
    """Read records in random order, one by one."""
    loader = written(library, num_records, folder)
    for place in np.random.default_rng(1).permutation(num_records).tolist():
        loader[place]
    return num_records


def walk(library: Any, num_records: int, folder: Path, *, shuffle: bool) -> int:
    """Read all records bin by bin."""
    return sum(1 for _ in written(library, num_records, folder).iterate_binwise(shuffle=shuffle))


def arrays(num_batches: int) -> Iterator[Any]:
    """Yield batches of 64 small images."""
    for number in range(num_batches):
        yield np.full((64, 3, 64, 64), number % 251, np.uint8)


def iterate(library: Any, num_batches: int, folder: Path) -> int:
    """Run a generator of batches in another process."""
    del folder
    return sum(len(batch) for batch in library.MpQItr(arrays, num_batches))


def splitdataloader_cases(scale: float) -> Cases:
    """Return what the package splitdataloader does."""
    num_records, num_batches = int(40_000 * scale), int(1500 * scale)
    work: dict[str, Callable[..., int]] = {
        "splitdataloader: write": partial(write, num_records=num_records),
        "splitdataloader: [i]": partial(read_by_index, num_records=num_records),
        "splitdataloader: binwise": partial(walk, num_records=num_records, shuffle=False),
        "splitdataloader: binwise, shuffled": partial(walk, num_records=num_records, shuffle=True),
        "splitdataloader: MpQItr": partial(iterate, num_batches=num_batches),
    }
    libraries = {"ours": ours}
    if importlib.util.find_spec("splitdataloader") is not None:
        import splitdataloader

        libraries["splitdataloader 0.0.1"] = splitdataloader

    def side(function: Callable[..., int], library: Any) -> Side:
        return lambda folder: function(library, folder=folder)

    return {name: {label: side(f, library) for label, library in libraries.items()} for name, f in work.items()}


# -- pyloader ----------------------------------------------------------------------------------------------

NUM_FILES = 24
WORDS = 40
SEQUENCE = 60
BATCH = 64
EPOCHS = 4


class PlainReader(pyloader.DataReader):
    """Reads JSON lines as the examples of PyLoader do."""

    def read_file(self, path: str) -> Any:
        """Return a dict of lists, and the number of samples."""
        columns: dict[str, list[Any]] = {}
        num_samples = 0
        with open(path, encoding="utf-8") as lines:  # noqa: PTH123  # as a user writes it
            for line in lines:
                num_samples += 1
                for name, value in json.loads(line).items():
                    columns.setdefault(name, []).append(value)
        return columns, num_samples


class PlainEncoder(pyloader.Dataset):
    """Encodes text word by word, as the examples of PyLoader do."""

    def __init__(self, vocab_file: Path) -> None:
        """Load the vocabulary."""
        self.numbers = {word: number for number, word in enumerate(vocab_file.read_text().split("\n"))}

    def batch_encode(self, batch_data: Any) -> Any:
        """Return numbers, masks and labels, as lists."""
        input_ids, attention_mask = [], []
        for text in batch_data["input_text"]:
            ids = [self.numbers.get(word, 0) for word in text.split()][:SEQUENCE]
            padding = [0] * (SEQUENCE - len(ids))
            input_ids.append(ids + padding)
            attention_mask.append([1] * len(ids) + padding)
        return {"input_ids": input_ids, "attention_mask": attention_mask, "label": batch_data["label"]}


class PlainCollator(pyloader.DataCollator):
    """Makes arrays as the examples of PyLoader do."""

    def collate_batch(self, features: Any) -> Any:
        """Return an array of each list."""
        return {name: np.array(list(values), dtype=np.float64) for name, values in features.items()}


class TorchCollator(pyloader.DataCollator):
    """Makes tensors as the examples of PyLoader do, in the process of the loop."""

    def collate_batch(self, features: Any) -> Any:
        """Return a tensor of each list."""
        import torch

        return {name: torch.tensor(list(values), dtype=torch.long) for name, values in features.items()}


def text_files(num_lines: int, folder: Path) -> Path:
    """Return a folder of JSON lines, which is made by the first who asks."""
    place = folder / "text"
    if not place.exists():
        place.mkdir()
        words = [f"word{number}" for number in range(5000)]
        (folder / "vocab.txt").write_text("\n".join(words))
        draws = np.random.default_rng(0)
        for number in range(NUM_FILES):
            texts = [" ".join(words[k] for k in draws.integers(0, 5000, WORDS)) for _ in range(num_lines)]
            lines = [json.dumps({"input_text": text, "label": k % 2}) for k, text in enumerate(texts)]
            (place / f"{number:02}.jsonl").write_text("\n".join(lines))
    return place


def load(num_lines: int, collator: Any, folder: Path, *, is_plain: bool) -> int:
    """Give all batches through the DataLoader here, with its own classes or with those of the user."""
    place = text_files(num_lines, folder)
    reader = PlainReader(BATCH, shuffle=True) if is_plain else pyloader.JsonLineDataReader(BATCH, shuffle=True)
    vocabulary = folder / "vocab.txt"
    dataset = PlainEncoder(vocabulary) if is_plain else pyloader.TextDataset(vocabulary, max_seq_len=SEQUENCE)
    with pyloader.DataLoader(reader, dataset, collator, place, num_epoch=EPOCHS, shuffle=True) as loader:
        return sum(len(batch["label"]) for batch in loader)


def _given(loaded_file: Any, path: str) -> Any:
    del path
    return loaded_file


def documented_loop(num_lines: int, collator: Any, folder: Path) -> int:
    """Do what PyLoader documents: a thread fills a queue of loaded files, the loop encodes and collates."""
    paths = sorted(text_files(num_lines, folder).iterdir())
    dataset = PlainEncoder(folder / "vocab.txt")
    loaded: queue.Queue[Any] = queue.Queue(10)

    def fill() -> None:
        for path in paths * EPOCHS:
            reader = PlainReader(BATCH)
            columns, num_samples = reader.read_file(str(path))
            # It shuffled a list of dicts, one for each sample.
            samples = [{name: values[k] for name, values in columns.items()} for k in range(num_samples)]
            random.Random(0).shuffle(samples)
            shuffled = {name: [sample[name] for sample in samples] for name in columns}
            loaded_file: Any = shuffled, num_samples
            reader.load(str(path), partial(_given, loaded_file))
            loaded.put(reader)
        loaded.put(None)

    threading.Thread(target=fill, daemon=True).start()
    num_samples = 0
    while (one := loaded.get()) is not None:
        for number in range(one.n_batch):
            batch = collator.collate_batch(dataset.batch_encode(one.get_batch(number)[0]))
            num_samples += len(batch["label"])
    return num_samples


def pyloader_cases(scale: float) -> Cases:
    """Return PyLoader's documented workflow on text: with the classes that come along, and with the user's."""
    num_lines = int(2000 * scale)
    plain, tensors = PlainCollator(), TorchCollator()
    found: Cases = {
        "pyloader: text to arrays, its classes": {
            "ours": partial(load, num_lines, pyloader.NumpyDataCollator(), is_plain=False),
            "documented loop": partial(documented_loop, num_lines, plain),
        },
        "pyloader: text to arrays, own classes": {
            "ours": partial(load, num_lines, plain, is_plain=True),
            "documented loop": partial(documented_loop, num_lines, plain),
        },
    }
    if importlib.util.find_spec("torch") is not None:
        found["pyloader: text to tensors, own classes"] = {
            "ours": partial(load, num_lines, tensors, is_plain=True),
            "documented loop": partial(documented_loop, num_lines, tensors),
        }
    return found


# -- measuring ---------------------------------------------------------------------------------------------


def cases(scale: float) -> Cases:
    """Return all cases."""
    return splitdataloader_cases(scale) | pyloader_cases(scale) | class_loader_cases(scale)


def measure(chosen: Cases, rounds: int) -> dict[str, dict[str, float]]:
    """Return the median samples per second of each side of each case; a round before them does not count."""
    seen: dict[str, dict[str, list[float]]] = {name: {side: [] for side in sides} for name, sides in chosen.items()}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds + 1):
            for name, sides in chosen.items():
                for side, run in sides.items():
                    begun = time.perf_counter()
                    num_samples = run(Path(folder))
                    if number:
                        seen[name][side].append(num_samples / (time.perf_counter() - begun))
    return {name: {side: statistics.median(figures) for side, figures in sides.items()} for name, sides in seen.items()}


def show(figures: dict[str, dict[str, float]]) -> None:
    """Print a line for each case and what it is held against."""
    print(f"{'samples per second':40} {'ours':>10} {'other':>10} {'ratio':>6}   goal {GOAL:g}")
    for name, sides in figures.items():
        mine = sides["ours"]
        for side, other in sides.items():
            if side != "ours":
                print(f"{name:40} {mine:10,.0f} {other:10,.0f} {mine / other:6.2f}   {side}")


def main() -> None:
    """Measure and show."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--only", default="", help="cases whose name begins so")
    parser.add_argument("--rounds", type=int, default=None)
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    chosen = {
        name: sides for name, sides in cases(0.1 if arguments.quick else 1.0).items() if name.startswith(arguments.only)
    }
    figures = measure(chosen, arguments.rounds or (1 if arguments.quick else 5))
    if arguments.json:
        print(json.dumps(figures, indent=2))
    else:
        show(figures)


if __name__ == "__main__":
    main()
