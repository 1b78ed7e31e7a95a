"""Samples per second of a loader as each framework takes it, beside the loader that its users usually write.

    python -m benchmarks.frameworks                      medians of five rounds, as a table
    python -m benchmarks.frameworks --only tensorflow    one of them; --rounds 1: to see that it runs
    python -m benchmarks.frameworks --size 224 --samples 2000 --workers 2

The data: images uint8[size, size, 3] with a label, in the form that the usual loader reads: a mapped array of numpy's
for torch, TFRecord for tf.data, ArrayRecord for Grain and JAX, Arrow for Trainer. All shuffle, TensorFlow in a buffer
of half of the data, and make batches of 64 with equally many workers. splitdata verifies each record, and of the others
TFRecord and ArrayRecord do. All run in every round. Frameworks that are not installed are left out. On a busy
machine trust the processor time, which without workers is all that there is.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from splitdata import DistributedLoader, Fields, SampleDataset, SplitWriter, WorkerOptions

BATCH_SIZE = 64


@dataclass(frozen=True)
class Data:
    """The images in all forms, below one folder.

    Attributes:
        num_samples: So many.
        size: Height and width.
        num_workers: Of each loader that is measured.
    """

    folder: Path
    num_samples: int
    size: int
    num_workers: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of an image."""
        return self.size, self.size, 3

    def samples(self) -> Iterator[tuple[Any, int]]:
        """Yield the images with their labels."""
        random = np.random.default_rng(0)
        for number in range(self.num_samples):
            yield random.integers(0, 256, self.shape, dtype=np.uint8), number % 10

    def write(self) -> None:
        """Write the forms that every framework is measured with."""
        images = np.lib.format.open_memmap(
            self.folder / "images.npy", "w+", np.dtype(np.uint8), (self.num_samples, *self.shape)
        )
        with SplitWriter(self.folder / "data") as writer:
            for number, (image, label) in enumerate(self.samples()):
                images[number] = image
                writer.write_sample({"image": image, "label": label})

    def form(self, name: str, write: Callable[[Path], None]) -> Path:
        """Return the path of another form, which is written when it is first asked for."""
        path = self.folder / name
        if not path.exists():
            write(path)
        return path

    def loader(self, **options: Any) -> DistributedLoader:
        """Return splitdata's loader."""
        options = {"transform": Fields("image", "label"), "num_workers": self.num_workers, **options}
        return DistributedLoader(self.folder / "data", batch_size=BATCH_SIZE, shuffle="global", **options)

    def torch_options(self) -> dict[str, Any]:
        """Return what loaders of torch's are given."""
        import torch

        # As in workers of torch's own: on a busy machine its threads wait for each other, and count as computing.
        torch.set_num_threads(1)
        return {"batch_size": BATCH_SIZE, "shuffle": True, "num_workers": self.num_workers}


Case = Callable[[Data], Any]


class Mapped:
    """The images as users read an array that is larger than memory: one by one."""

    def __init__(self, data: Data) -> None:
        self._path = data.folder / "images.npy"
        self._images = np.load(self._path, mmap_mode="r")

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        """Return one, with its label."""
        return np.array(self._images[index]), index % 10


def torch_usual(data: Data) -> Any:
    """Torch's DataLoader over a dataset that maps an array; Lightning and accelerate use it too."""
    from torch.utils.data import DataLoader

    return DataLoader(Mapped(data), **data.torch_options())


def torch_dataset(data: Data) -> Any:
    """Torch's DataLoader over a dataset of splitdata's."""
    from torch.utils.data import DataLoader

    return DataLoader(SampleDataset(data.folder / "data", copy=True), **data.torch_options())


def torch_loader(data: Data) -> Any:
    """The loader as it is, as Lightning and accelerate take it."""
    return data.loader(as_tensors=True)


def torch_dataloader(data: Data) -> Any:
    """As Trainer of transformers takes it."""
    from splitdata.interop.torch import as_dataloader

    return as_dataloader(data.loader(as_tensors=True))


def torchdata_usual(data: Data) -> Any:
    """Torchdata's StatefulDataLoader."""
    from torchdata.stateful_dataloader import StatefulDataLoader

    return StatefulDataLoader(Mapped(data), **data.torch_options())


def torchdata_node(data: Data) -> Any:
    """A pipeline of nodes."""
    from torchdata.nodes import Loader

    from splitdata.interop.torchdata import LoaderNode

    return Loader(LoaderNode(data.loader(as_tensors=True)))


def trainer_usual(data: Data) -> Any:
    """What Trainer makes of a dataset of Hugging Face's, which lies in Arrow."""
    import datasets
    from torch.utils.data import DataLoader

    features = datasets.Features({"image": datasets.Array3D(data.shape, "uint8"), "label": datasets.Value("int64")})

    def write(path: Path) -> None:
        columns = ({"image": image, "label": label} for image, label in data.samples())
        datasets.Dataset.from_list(list(columns), features=features).save_to_disk(str(path))

    dataset = datasets.load_from_disk(str(data.form("arrow", write))).with_format("torch")
    return DataLoader(dataset, **data.torch_options())


def tensorflow_usual(data: Data) -> Any:
    """tf.data from TFRecord, batches parsed at once."""
    import tensorflow

    def feature(**kind: Any) -> Any:
        return tensorflow.train.Feature(**kind)

    def write(path: Path) -> None:
        with tensorflow.io.TFRecordWriter(str(path)) as writer:
            for image, label in data.samples():
                of_image = feature(bytes_list=tensorflow.train.BytesList(value=[image.tobytes()]))
                of_label = feature(int64_list=tensorflow.train.Int64List(value=[label]))
                features = tensorflow.train.Features(feature={"image": of_image, "label": of_label})
                writer.write(tensorflow.train.Example(features=features).SerializeToString())

    kinds = {"image": tensorflow.string, "label": tensorflow.int64}
    fields = {name: tensorflow.io.FixedLenFeature([], kind) for name, kind in kinds.items()}

    def parse(records: Any) -> Any:
        parsed = tensorflow.io.parse_example(records, fields)
        images = tensorflow.io.decode_raw(parsed["image"], tensorflow.uint8)
        return tensorflow.reshape(images, (-1, *data.shape)), parsed["label"]

    records = tensorflow.data.TFRecordDataset(str(data.form("images.tfrecord", write)))
    parallel = data.num_workers or 1
    batches = records.shuffle(data.num_samples // 2).batch(BATCH_SIZE).map(parse, num_parallel_calls=parallel)
    return batches.prefetch(2) if data.num_workers else batches


def tensorflow_loader(data: Data) -> Any:
    """The loader as tf.data."""
    from splitdata.interop.tensorflow import to_tf_dataset

    return to_tf_dataset(data.loader())


def grain_usual(data: Data) -> Any:
    """Grain from ArrayRecord, each record parsed in Python."""
    import grain
    from array_record.python.array_record_module import ArrayRecordWriter

    def write(path: Path) -> None:
        # In groups of one, as Grain's manual tells for random access.
        writer = ArrayRecordWriter(str(path), "group_size:1")
        for image, label in data.samples():
            writer.write(bytes([label]) + image.tobytes())
        writer.close()

    def parse(record: bytes) -> tuple[Any, int]:
        return np.frombuffer(record, np.uint8, offset=1).reshape(data.shape), record[0]

    source = grain.sources.ArrayRecordDataSource(str(data.form("images.array_record", write)))
    return grain_batches(data, grain.MapDataset.source(source).shuffle(seed=0).map(parse))


def grain_batches(data: Data, samples: Any) -> Any:
    """Return batches of samples, made by so many workers."""
    import grain
    from absl import flags

    # Workers ask for them.
    flags.FLAGS.mark_as_parsed()
    batches = samples.batch(BATCH_SIZE)
    if data.num_workers:
        batches = batches.to_iter_dataset().mp_prefetch(grain.MultiprocessingOptions(num_workers=data.num_workers))
    return iter(batches)


def grain_dataset(data: Data) -> Any:
    """Grain over a dataset of splitdata's."""
    import grain

    return grain_batches(data, grain.MapDataset.source(SampleDataset(data.folder / "data")).shuffle(seed=0))


def jax_usual(data: Data) -> Any:
    """Grain's batches put on the device by hand."""
    import jax

    return (jax.device_put(batch) for batch in grain_usual(data))


def jax_loader(data: Data) -> Any:
    """The loader, which puts them ahead."""
    import jax

    from splitdata.interop.jax import PutOn

    return data.loader(workers=WorkerOptions(to_device=PutOn(jax.devices()[0])))


# Framework, its usual loader, and ours by the name of what is given to it.
CASES: list[tuple[str, Case, dict[str, Case]]] = [
    (
        "torch",
        torch_usual,
        {"DistributedLoader": torch_loader, "as_dataloader": torch_dataloader, "SampleDataset": torch_dataset},
    ),
    ("torchdata", torchdata_usual, {"LoaderNode": torchdata_node}),
    ("transformers", trainer_usual, {"as_dataloader": torch_dataloader}),
    ("tensorflow", tensorflow_usual, {"to_tf_dataset": tensorflow_loader}),
    ("grain", grain_usual, {"SampleDataset": grain_dataset}),
    ("jax", jax_usual, {"PutOn": jax_loader}),
]


class Cost(NamedTuple):
    """What an epoch took, from its first batch on; microseconds of a sample.

    Attributes:
        wall: Of the clock.
        processor: Of all processors, in this process alone.
    """

    wall: float
    processor: float


def cost(case: Case, data: Data) -> Cost:
    """Measure an epoch."""
    batches = iter(case(data))
    next(batches)
    begin, computed, num_batches = time.perf_counter(), time.process_time(), 0
    for _ in batches:
        num_batches += 1
    scale = 1e6 / (num_batches * BATCH_SIZE)
    return Cost(scale * (time.perf_counter() - begin), scale * (time.process_time() - computed))


def measure(cases: dict[str, Case], data: Data, rounds: int) -> dict[str, Cost]:
    """Return the medians of the rounds, in each of which all run; a first one is to warm up."""
    costs: dict[str, list[Cost]] = {given: [] for given in cases}
    for turn in range(rounds + 1):
        for given, case in cases.items():
            measured = cost(case, data)
            if turn:
                costs[given].append(measured)
    return {given: Cost(*map(statistics.median, zip(*values, strict=True))) for given, values in costs.items()}


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description="Samples per second of each framework's loaders.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=[framework for framework, _, _ in CASES])
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--size", type=int, default=32, help="height and width of the images")
    parser.add_argument("--workers", type=int, default=0, help="of each loader")
    chosen = parser.parse_args()
    print("| framework | usual loader, thousand samples/s | given | speed | speed by processor time |")
    print("|---|--:|---|--:|--:|")
    with tempfile.TemporaryDirectory() as name:
        data = Data(Path(name), chosen.samples, chosen.size, chosen.workers)
        data.write()
        for framework, usual, ours in CASES:
            if framework not in chosen.only or importlib.util.find_spec(framework) is None:
                continue
            costs = measure({"": usual, **ours}, data, chosen.rounds)
            for given in ours:
                speeds = [of_usual / of_ours for of_usual, of_ours in zip(costs[""], costs[given], strict=True)]
                shown = f"{speeds[0]:.2f} | {speeds[1]:.2f}"
                print(f"| {framework} | {1000 / costs[''].wall:.1f} | {given} | {shown} |", flush=True)


if __name__ == "__main__":
    main()
