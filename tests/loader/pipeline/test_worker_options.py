"""What workers are given and what they tell: init function, GPU, validation, prefetch, skipped records, statistics."""

from __future__ import annotations

import functools
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest

from splitdata import SplitDataLoader, SplitWriter
from splitdata.loader.distributed_loader import DistributedLoader
from splitdata.loader.option_groups import WorkerOptions
from splitdata.process.wire.channel_options import StartMethod
from tests.loader.grouped import grouped
from tests.loader.workloads import Numbers, Rows, Stream, is_batch_of

pytestmark = pytest.mark.usefixtures("leaves_nothing_behind")

# A dataset of the user's.
Dataset: TypeAlias = Any
# Options of a loader.
Anything: TypeAlias = Any
# Batches; of each that was skipped: record, epoch, position, replacement; how many.
Skips: TypeAlias = tuple[list[list[int]], list[tuple[int, int, int, int]], int]

METHODS: list[StartMethod] = ["spawn", "fork"]
WAYS: dict[str, dict[str, Any]] = {
    "none": {},
    "fork": {"num_workers": 2, "start_method": "fork"},
    "thread": {"num_workers": 2, "kind": "thread"},
}


def note_start(worker_id: int, folder: Path) -> None:
    (folder / f"{worker_id} {os.getpid()}").touch()


@pytest.mark.parametrize("way", WAYS)
def test_worker_init_fn_runs_once_in_each_worker_with_its_number(way: str, tmp_path: Path) -> None:
    with DistributedLoader(
        Numbers(12),
        **grouped(
            batch_size=2,
            transform=lambda record: os.getpid(),
            init_fn=lambda worker_id: note_start(worker_id, tmp_path),
            **WAYS[way],
        ),
    ) as loader:
        makers = [sorted({int(pid) for batch in loader for pid in batch}) for _ in range(3)]
        started = {tuple(map(int, name.split())) for name in os.listdir(tmp_path)}  # noqa: PTH208

    assert sorted(number for number, _ in started) == ([0] if way == "none" else [0, 1])
    # Workers stay over epochs.
    assert makers == [sorted({pid for _, pid in started})] * 3
    assert (os.getpid() in makers[0]) == (way != "fork")


# A user's module that looks at the GPUs when it is imported, as torch and jax do.
MODULE = "import os\nSEEN = os.environ.get('CUDA_VISIBLE_DEVICES')\ndef seen(record):\n    return SEEN\n"


@pytest.mark.parametrize("method", METHODS)
def test_each_worker_sees_its_gpu_before_a_module_of_the_users_is_imported(
    method: StartMethod, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"looks_at_gpus_{method}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def transform(record: int) -> str:
        # Not there before: the module is the worker's own.
        import importlib

        found: str = importlib.import_module(name).seen(record)
        return found

    with DistributedLoader(
        Numbers(8),
        batch_size=2,
        num_workers=2,
        workers=WorkerOptions(start_method=method, gpu_indices=[3, 1]),
        transform=transform,
    ) as loader:
        assert list(loader) == [["3", "3"], ["1", "1"], ["3", "3"], ["1", "1"]]
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_gpus_are_counted_among_those_that_this_process_may_see(monkeypatch: pytest.MonkeyPatch) -> None:
    def seen(record: int) -> str | None:
        return os.environ.get("CUDA_VISIBLE_DEVICES")

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4, GPU-5af3")
    options: dict[str, Any] = {"num_workers": 2, "start_method": "fork", "transform": seen}
    with DistributedLoader(Numbers(2), **grouped(gpu_indices=[1, 0], **options)) as loader:
        assert list(loader) == [["GPU-5af3"], ["4"]]
    with pytest.raises(ValueError, match=r"worker 1 GPU 2, this process sees 2.*CUDA_VISIBLE_DEVICES='4, GPU-5af3'"):
        iter(DistributedLoader(Numbers(2), **grouped(gpu_indices=[0, 2], **options)))


@pytest.mark.parametrize("prefetch_epochs", [False, True])
@pytest.mark.parametrize("way", ["fork", "thread"])
def test_next_epoch_is_not_begun_before_its_iterator_unless_asked_for(
    way: str, prefetch_epochs: bool, tmp_path: Path
) -> None:
    marks = tmp_path / "marks"

    def note(record: int, rng: np.random.Generator) -> int:
        # O_APPEND: each write is whole, whoever else writes.
        with marks.open("ab", buffering=0) as file:
            file.write(b"%d\n" % record)
        return record

    def num_made() -> int:
        return len(marks.read_bytes().split())

    with DistributedLoader(
        Numbers(8), **grouped(batch_size=2, transform=note, prefetch=4, prefetch_epochs=prefetch_epochs, **WAYS[way])
    ) as loader:
        for epoch in range(1, 4):
            assert len(list(loader)) == 4
            # Long enough for a sample to be made, if anybody meant to.
            deadline = threading.Event()
            for _ in range(20):
                if num_made() > 8 * epoch:
                    break
                deadline.wait(0.01)
            assert (num_made() > 8 * epoch) == prefetch_epochs
            if prefetch_epochs:
                # As far as two workers may be ahead, and each at one more.
                assert num_made() <= 8 * epoch + 2 * (4 + 1) * 2


class Damaged(Numbers):
    def __getitem__(self, index: int) -> int:
        if index % 10 == 3:
            raise OSError(f"bad sector under {index}")
        return index


def fail_on_sevens(record: int) -> int:
    if record % 10 == 7:
        raise ValueError(f"cannot decode {record}")
    return record


@pytest.mark.parametrize("way", ["fork", "thread"])
def test_skipped_records_are_replaced_counted_and_listed_across_workers(
    way: str, caplog: pytest.LogCaptureFixture
) -> None:
    def run(**options: Anything) -> Skips:
        with DistributedLoader(
            Damaged(60), **grouped(batch_size=7, shuffle="global", transform=fail_on_sevens, on_error="skip", **options)
        ) as loader:
            batches = [batch.tolist() for _ in range(2) for batch in loader]
            skipped = [(one.record, one.epoch, one.position, one.replacement) for one in loader.skipped]
            return batches, skipped, loader.stats().num_skipped

    with caplog.at_level(logging.WARNING, "splitdata"):
        found, expected = run(**WAYS[way]), run()

    assert found == expected
    assert found[2] == len(found[1]) == 24
    assert not any(number % 10 in (3, 7) for batch in found[0] for number in batch)
    # All are listed and counted; each loader's log ends after ten.
    assert caplog.text.count("was replaced by record") == 20


@pytest.mark.parametrize("way", WAYS)
def test_statistics_add_up(way: str) -> None:
    with DistributedLoader(Numbers(50), **grouped(batch_size=4, transform=Rows(1000), **WAYS[way])) as loader:
        for _ in range(2):
            for _ in loader:
                pass
        batches = iter(loader)
        held = [next(batches) for _ in range(3)]
        stats = loader.stats()

        assert (stats.num_batches, stats.num_samples, stats.num_epochs) == (29, 112, 3)
        assert stats.num_bytes == 112 * (8 + 4000)
        # What workers have made and nobody has taken does not count.
        assert sum(worker.num_batches for worker in stats.workers) == 29
        assert len(stats.workers) == stats.num_workers or way == "none"
        assert all(worker.num_batches > 0 and worker.transform > 0 for worker in stats.workers)
        assert 0 < stats.starting_seconds + stats.waiting_seconds <= stats.seconds
        assert stats.batches_per_second == pytest.approx(29 / stats.seconds)
        assert isinstance(stats.verdict, str)
        assert "29 batches, 112 samples" in str(stats)
        del held
    assert loader.stats().num_batches == 29


def test_statistics_go_on_after_workers_were_replaced() -> None:
    with DistributedLoader(Numbers(50), **grouped(batch_size=4, transform=Rows(), **WAYS["fork"])) as loader:
        stream = Stream(loader)
        stream.follow(5)
        loader._close_runtime()
        assert loader.stats().num_ready == 0
        stream.follow(5)
        stats = loader.stats()

    assert (stats.num_batches, sum(worker.num_batches for worker in stats.workers)) == (10, 10)


@pytest.mark.parametrize("way", WAYS)
def test_batches_of_tensors_come_from_every_kind_of_worker(way: str) -> None:
    torch = pytest.importorskip("torch")
    for options in (
        {"as_tensors": True},
        {"device": "cpu"},
        {"as_tensors": True, "device": "cpu", "device_batches": 3},
    ):
        kinds: dict[str, Any] = options
        with DistributedLoader(
            Numbers(9), **grouped(batch_size=2, transform=Rows(10_000), **kinds, **WAYS[way])
        ) as loader:
            batches = list(loader)
            assert [type(batch["row"]) for batch in batches] == [torch.Tensor] * 5
            assert all(batch["row"].dtype == torch.int32 and batch["row"].is_contiguous() for batch in batches)
            assert [batch["record"].tolist() for batch in batches] == [[0, 1], [2, 3], [4, 5], [6, 7], [8]]
            assert all(is_batch_of(batch, batch["record"].tolist()) for batch in batches)


class Opened:
    """A dataset that holds an open file, and a lock: neither can be pickled as it is."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open()

    def _open(self) -> None:
        self._lock = threading.Lock()
        self._file = self._path.open("rb")
        self.opened_in = os.getpid()

    def __len__(self) -> int:
        return 20

    def __getitem__(self, index: int) -> bytes:
        with self._lock:
            self._file.seek(8 * index)
            return self._file.read(8)

    def __getstate__(self) -> Path:
        return self._path

    def __setstate__(self, path: Path) -> None:
        self._path = path
        self._open()

    def close(self) -> None:
        self._file.close()


def numbers_file(folder: Path) -> Path:
    path = folder / "numbers"
    path.write_bytes(np.arange(20, dtype="<i8").tobytes())
    return path


def split_dataset(folder: Path) -> Path:
    with SplitWriter(folder / "data", bins=3) as writer:
        for number in range(20):
            writer.write(number.to_bytes(8, "little"))
    return folder / "data"


def torch_dataset(folder: Path) -> Dataset:
    torch = pytest.importorskip("torch")

    kind: Any = torch.utils.data.Dataset

    class Tensors(kind):  # type: ignore[misc]
        def __len__(self) -> int:
            return 20

        def __getitem__(self, index: int) -> bytes:
            return index.to_bytes(8, "little")

    return Tensors()


DATASETS: dict[str, Callable[[Path], Dataset]] = {
    "path": split_dataset,
    "text": lambda folder: str(split_dataset(folder)),
    "reader": lambda folder: SplitDataLoader(split_dataset(folder)),
    "reader by pread": lambda folder: SplitDataLoader(split_dataset(folder), io="pread"),
    "factory": lambda folder: functools.partial(SplitDataLoader, split_dataset(folder)),
    "file": lambda folder: Opened(numbers_file(folder)),
    "torch": torch_dataset,
}


@pytest.mark.parametrize("kind", DATASETS)
def test_dataset_of_every_kind_is_read_in_workers(kind: str, tmp_path: Path) -> None:
    dataset = DATASETS[kind](tmp_path)
    for way in ({"start_method": "spawn"}, {"start_method": "fork"}, {"kind": "thread"}):
        options: dict[str, Any] = way
        with DistributedLoader(
            dataset,
            **grouped(batch_size=3, num_workers=2, shuffle="global", transform=as_number, collate_fn=list, **options),
        ) as loader:
            for epoch in range(2):
                numbers = [number for batch in loader for number in batch]
                assert numbers == [r for step in range(7) for r in loader.records(epoch, step).tolist()]
    if hasattr(dataset, "close"):
        dataset.close()


def as_number(record: bytes) -> int:
    return int.from_bytes(record, "little")


def test_dataset_with_an_open_file_is_opened_again_in_each_worker(tmp_path: Path) -> None:
    dataset = Opened(numbers_file(tmp_path))

    class Told(Opened):
        def __getitem__(self, index: int) -> bytes:
            assert self.opened_in == os.getpid()
            return super().__getitem__(index)

    told = Told(numbers_file(tmp_path))
    with DistributedLoader(
        told,
        batch_size=2,
        num_workers=2,
        workers=WorkerOptions(start_method="spawn"),
        collate_fn=list,
        transform=as_number,
    ) as loader:
        assert [number for batch in loader for number in batch] == list(range(20))
    told.close()
    dataset.close()
