"""Decode text in a background process while the main process trains: no main guard, no torch.

worker process:  lines of text -> words -> ids -> batches of equal length
this process:    batches arrive through shared memory, ready to use
"""

from __future__ import annotations

import gzip
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from splitdata import MpQItr

SENTENCES = ["the cat sat on the mat", "a dog slept under the warm sun", "rain fell on the quiet town all day"]


@dataclass
class TextBatch:
    """Ids of words, one row per line, 0 where a line has ended; and the length of each line."""

    ids: npt.NDArray[np.int32]
    lengths: npt.NDArray[np.int32]


def write_corpus(path: Path, num_lines: int) -> None:
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(f"{SENTENCES[number % 3]} {number}\n" for number in range(num_lines))


def decode(path: Path, batch_size: int, width: int) -> Iterator[TextBatch]:
    """Runs in the worker: unpack, split, look up, pad."""
    vocabulary: dict[str, int] = {}
    batch = TextBatch(np.zeros((batch_size, width), np.int32), np.zeros(batch_size, np.int32))
    row = 0
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            ids = [vocabulary.setdefault(word, len(vocabulary) + 1) for word in line.split()[:width]]
            batch.ids[row] = 0
            batch.ids[row, : len(ids)] = ids
            batch.lengths[row] = len(ids)
            row += 1
            if row == batch_size:
                # The arrays are filled again for the next batch: each batch is copied out when it is yielded.
                yield batch
                row = 0


def train_step(batch: TextBatch) -> float:
    """Stands for real work: takes time here, while the worker decodes ahead."""
    time.sleep(0.005)
    return float(batch.ids.sum() / batch.lengths.sum())


with tempfile.TemporaryDirectory() as folder:
    corpus = Path(folder) / "corpus.txt.gz"
    write_corpus(corpus, 64_000)
    batches = MpQItr.options(max_batches=8, timeout=60)(decode, corpus, batch_size=512, width=16)
    for epoch in range(2):
        begun = time.perf_counter()
        waited = 0.0
        num_batches = 0
        running = iter(batches)
        asked = time.perf_counter()
        for batch in running:
            waited += time.perf_counter() - asked
            train_step(batch)
            num_batches += 1
            asked = time.perf_counter()
        taken = time.perf_counter() - begun
        print(f"epoch {epoch}: {num_batches} batches in {taken:.2f} s, {waited:.2f} s of it waiting for the worker")
