"""Samples per second of a loader as each framework takes it, beside what the framework's users usually write.

    python -m benchmarks.frameworks                  medians of five rounds, as a table of ratios
    python -m benchmarks.frameworks --rounds 1       to see that it runs

The data: 20,000 images uint8[32, 32, 3] with a label. The usual loader reads them from a memory map of one array of
numpy's, which is as fast as data can lie, and verifies nothing; splitdata reads and verifies samples. Both shuffle as a
whole, make batches of 64 in this process, and hand them out as the framework has them. All run in every round.
Frameworks that are not installed are left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from splitdata import DistributedLoader, Fields, SampleDataset, SplitWriter, WorkerOptions

NUM_SAMPLES, BATCH_SIZE = 20_000, 64

Case = Callable[[Path], Any]


def write(folder: Path) -> None:
    """Write the data in both forms."""
    images = np.random.default_rng(0).integers(0, 256, (NUM_SAMPLES, 32, 32, 3), dtype=np.uint8)
    np.save(folder / "images.npy", images)
    with SplitWriter(folder / "data") as writer:
        writer.write_samples({"image": image, "label": number % 10} for number, image in enumerate(images))


def loader(folder: Path, **options: Any) -> DistributedLoader:
    """Return splitdata's loader."""
    picked = Fields("image", "label")
    return DistributedLoader(folder / "data", batch_size=BATCH_SIZE, shuffle="global", transform=picked, **options)


class Mapped:
    """The images as users read an array that is larger than memory: one by one."""

    def __init__(self, folder: Path) -> None:
        self._images = np.load(folder / "images.npy", mmap_mode="r")

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        """Return one, with its label."""
        return np.array(self._images[index]), index % 10

    def batches(self) -> Iterator[tuple[Any, Any]]:
        """Yield shuffled batches, as a loop of numpy does."""
        order = np.random.default_rng(0).permutation(len(self))
        for start in range(0, len(order), BATCH_SIZE):
            rows = order[start : start + BATCH_SIZE]
            yield self._images[rows], rows % 10


def torch_usual(folder: Path) -> Any:
    """Torch's DataLoader, which Lightning, accelerate and Trainer use too."""
    from torch.utils.data import DataLoader

    return DataLoader(Mapped(folder), batch_size=BATCH_SIZE, shuffle=True)


def torch_dataset(folder: Path) -> Any:
    """Torch's DataLoader over a dataset of splitdata's."""
    from torch.utils.data import DataLoader

    return DataLoader(SampleDataset(folder / "data", copy=True), batch_size=BATCH_SIZE, shuffle=True)


def torch_loader(folder: Path) -> Any:
    """The loader as it is, as Lightning and accelerate take it."""
    return loader(folder, as_tensors=True)


def torch_dataloader(folder: Path) -> Any:
    """As Trainer of transformers takes it."""
    from splitdata.interop.torch import as_dataloader

    return as_dataloader(loader(folder, as_tensors=True))


def torchdata_usual(folder: Path) -> Any:
    """Torchdata's StatefulDataLoader."""
    from torchdata.stateful_dataloader import StatefulDataLoader

    return StatefulDataLoader(Mapped(folder), batch_size=BATCH_SIZE, shuffle=True)


def torchdata_node(folder: Path) -> Any:
    """A pipeline of nodes."""
    from torchdata.nodes import Loader

    from splitdata.interop.torchdata import LoaderNode

    return Loader(LoaderNode(loader(folder, as_tensors=True)))


def tensorflow_usual(folder: Path) -> Any:
    """tf.data from a generator of shuffled batches."""
    import tensorflow

    kinds = tensorflow.uint8, tensorflow.int64
    shapes = (None, 32, 32, 3), (None,)
    signature = tuple(tensorflow.TensorSpec(shape, kind) for shape, kind in zip(shapes, kinds, strict=True))
    return tensorflow.data.Dataset.from_generator(Mapped(folder).batches, output_signature=signature)


def tensorflow_loader(folder: Path) -> Any:
    """The loader as tf.data."""
    from splitdata.interop.tensorflow import to_tf_dataset

    return to_tf_dataset(loader(folder))


def jax_usual(folder: Path) -> Any:
    """Batches of numpy's put on the device by hand."""
    import jax

    return (jax.device_put(batch) for batch in Mapped(folder).batches())


def jax_loader(folder: Path) -> Any:
    """The loader, which puts them ahead."""
    import jax

    from splitdata.interop.jax import PutOn

    return loader(folder, workers=WorkerOptions(to_device=PutOn(jax.devices()[0])))


def grain_usual(folder: Path) -> Any:
    """Grain over the memory map."""
    import grain

    return iter(grain.MapDataset.source(Mapped(folder)).shuffle(seed=0).batch(BATCH_SIZE))


def grain_dataset(folder: Path) -> Any:
    """Grain over a dataset of splitdata's."""
    import grain

    return iter(grain.MapDataset.source(SampleDataset(folder / "data")).shuffle(seed=0).batch(BATCH_SIZE))


# Framework, its usual loader, and ours by the name of what is given to it.
CASES: list[tuple[str, Case, dict[str, Case]]] = [
    (
        "torch",
        torch_usual,
        {"DistributedLoader": torch_loader, "as_dataloader": torch_dataloader, "SampleDataset": torch_dataset},
    ),
    ("torchdata", torchdata_usual, {"LoaderNode": torchdata_node}),
    ("tensorflow", tensorflow_usual, {"to_tf_dataset": tensorflow_loader}),
    ("jax", jax_usual, {"PutOn": jax_loader}),
    ("grain", grain_usual, {"SampleDataset": grain_dataset}),
]


def rate(case: Case, folder: Path) -> float:
    """Return samples per second of an epoch, from its first batch on."""
    batches = iter(case(folder))
    next(batches)
    begin, num_batches = time.perf_counter(), 0
    for _ in batches:
        num_batches += 1
    return num_batches * BATCH_SIZE / (time.perf_counter() - begin)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description="Samples per second of each framework's loaders.")
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    print("| framework | usual loader, thousand samples/s | given | ratio |\n|---|--:|---|--:|")
    with tempfile.TemporaryDirectory() as name:
        write(Path(name))
        for framework, usual, ours in CASES:
            if importlib.util.find_spec(framework) is None:
                continue
            rates: dict[str, list[float]] = {given: [] for given in ("", *ours)}
            for turn in range(rounds + 1):
                for given, case in {"": usual, **ours}.items():
                    measured = rate(case, Path(name))
                    # The first is to warm up.
                    if turn:
                        rates[given].append(measured)
            middle = {given: statistics.median(values) for given, values in rates.items()}
            for given in ours:
                print(f"| {framework} | {middle[''] / 1000:.1f} | {given} | {middle[given] / middle['']:.2f} |")


if __name__ == "__main__":
    main()
