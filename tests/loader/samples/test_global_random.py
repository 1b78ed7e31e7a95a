"""Transforms that draw from global generators: the same samples however they are made, the user's state untouched."""

from __future__ import annotations

import random
import sys
import types
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest

from splitdata.dataset.reader import SplitDataLoader
from splitdata.dataset.sample_dataset import SampleDataset
from splitdata.dataset.writer import SplitWriter
from splitdata.loader.cache.cache_options import Cache
from splitdata.loader.distributed_loader import DistributedLoader
from splitdata.loader.option_groups import WorkerOptions
from splitdata.loader.rotation.rotation_options import Rotation
from splitdata.loader.samples.draws import may_draw, transform_may_draw
from splitdata.order.permutation import derive_key
from tests.loader.grouped import grouped
from tests.loader.workloads import Numbers

pytestmark = pytest.mark.usefixtures("leaves_nothing_behind")

# Samples, batches, options.
Anything: TypeAlias = Any

WAYS: dict[str, dict[str, Any]] = {
    "in process": {},
    "one worker": {"num_workers": 1, "start_method": "fork"},
    "three workers": {"num_workers": 3, "start_method": "fork"},
    "fresh interpreters": {"num_workers": 2, "start_method": "spawn"},
    "in process, skipping": {"on_error": "skip"},
}


class Drawing:
    """A dataset that draws while it reads."""

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"record": index, "read": random.random()}


def augmented(sample: Anything) -> dict[str, Any]:
    """Draw from every global generator; of Python's and numpy's also what they keep for the next normal number."""
    record = sample["record"] if isinstance(sample, dict) else sample
    drawn = {
        "record": record,
        "read": sample["read"] if isinstance(sample, dict) else 0.0,
        "python": random.random(),
        "gauss": random.gauss(0, 1),
        "numpy": float(np.random.rand()),
        "normal": float(np.random.randn()),
    }
    torch = sys.modules.get("torch")
    if torch is not None:
        drawn["torch"] = float(torch.rand(1))
    return drawn


def collated(samples: list[Any]) -> list[Any]:
    return [*samples, random.random()]


def state_of_user() -> list[str]:
    states = [repr(random.getstate()), repr(np.random.get_state(legacy=False))]
    if "torch" in sys.modules:
        states.append(repr(sys.modules["torch"].get_rng_state().tolist()))
    return states


@contextmanager
def untouched_generators() -> Iterator[None]:
    random.seed(1)
    np.random.seed(2)
    # So that there is a normal number that waits.
    random.gauss(0, 1)
    np.random.randn()
    before = state_of_user()
    yield
    assert state_of_user() == before


def make(dataset: Anything = None, **options: Anything) -> DistributedLoader:
    return DistributedLoader(
        Drawing() if dataset is None else dataset,
        **grouped(batch_size=4, shuffle="global", seed=3, transform=augmented, collate_fn=collated, **options),
    )


def without_torch(batches: Anything) -> list[Any]:
    """A worker has torch only where it was forked from a process that has."""
    return [
        [{k: v for k, v in sample.items() if k != "torch"} if isinstance(sample, dict) else sample for sample in batch]
        for batch in batches
    ]


@pytest.mark.parametrize("way", WAYS)
def test_samples_are_those_of_their_keys_however_they_are_made_and_after_a_resume(way: str) -> None:
    with untouched_generators():
        with make(**WAYS[way]) as loader:
            first, second = without_torch(loader), without_torch(loader)
            batches = iter(loader)
            third = without_torch([next(batches), next(batches)])
            state = loader.state_dict()
        with make(**WAYS[way]) as resumed:
            resumed.load_state_dict(state)
            third += without_torch(resumed)
            expected = [[resumed.records(epoch, step).tolist() for step in range(6)] for epoch in range(3)]

    for epoch, batches_of_epoch in enumerate([first, second, third]):
        for step, (*samples, mixed) in enumerate(batches_of_epoch):
            assert [sample["record"] for sample in samples] == expected[epoch][step]
            collating = derive_key(3, epoch, step * 4, "global generators, collate")
            assert mixed == random.Random(collating).random()
            for sample in samples:
                reading = derive_key(3, epoch, sample["record"], "global generators, reading")
                key = derive_key(3, epoch, sample["record"], "global generators, transform")
                python, numpy = random.Random(key), np.random.RandomState(key & 0xFFFF_FFFF)
                assert sample["read"] == random.Random(reading).random()
                assert [sample["python"], sample["gauss"]] == [python.random(), python.gauss(0, 1)]
                assert [sample["numpy"], sample["normal"]] == [numpy.rand(), numpy.randn()]


def test_torch_is_set_where_it_is_loaded() -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(4)

    with untouched_generators():
        drawn = []
        for way in ("in process", "one worker", "three workers"):
            with make(**WAYS[way]) as loader:
                drawn.append({sample["record"]: sample["torch"] for batch in loader for sample in batch[:-1]})

    generator = torch.Generator()
    expected = {}
    for record in range(24):
        generator.manual_seed(derive_key(3, 0, record, "global generators, transform"))
        expected[record] = float(torch.rand(1, generator=generator))
    assert drawn == [expected] * 3


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("reuse", ["cache", "rotation"])
def test_reused_samples_have_the_draws_of_the_epoch_that_they_belong_to(
    reuse: str, num_workers: int, tmp_path: Path
) -> None:
    options: dict[str, dict[str, Any]] = {
        "cache": {"cache": Cache(tmp_path / "cache", version="1", refresh_every=2)},
        "rotation": {"rotation": Rotation(2, 8)},
    }
    epoch_of = [0, 0, 2] if reuse != "rotation" else [0, 1, 2]
    with untouched_generators(), make(num_workers=num_workers, start_method="fork", **options[reuse]) as loader:
        for epoch in epoch_of:
            for batch in loader:
                for sample in batch[:-1]:
                    keys = [
                        derive_key(3, epoch, sample["record"], f"global generators, {what}")
                        for what in ("reading", "transform")
                    ]
                    assert [sample["read"], sample["python"]] == [random.Random(key).random() for key in keys]


def test_state_of_the_user_comes_back_behind_errors_peeks_and_validation() -> None:
    def fails(sample: Anything) -> Anything:
        random.random()
        raise ValueError("bad")

    with untouched_generators():
        with pytest.raises(ValueError, match="bad"):
            list(DistributedLoader(Numbers(4), transform=fails))
        with pytest.raises(ValueError, match="bad"):
            list(DistributedLoader(Numbers(4), transform=augmented, collate_fn=fails))
        with make() as loader:
            loader.peek()


def test_option_turned_off_leaves_the_generators_alone() -> None:
    random.seed(5)
    drawn = [
        batch[0]
        for batch in DistributedLoader(
            Numbers(4), transform=draw, collate_fn=list, workers=WorkerOptions(seed_globals=False)
        )
    ]
    expected = random.Random(5)

    assert drawn == [expected.random() for _ in range(4)]


def draw(record: int) -> float:
    return random.random()


def test_threads_share_the_generators_of_the_program() -> None:
    random.seed(5)
    with DistributedLoader(
        Numbers(4), transform=draw, collate_fn=list, num_workers=1, workers=WorkerOptions(kind="thread")
    ) as loader:
        drawn = [batch[0] for batch in loader]
    expected = random.Random(5)

    assert drawn == [expected.random() for _ in range(4)]


def test_transform_that_loads_torch_itself_is_called_again_once_torch_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []
    calls: list[int] = []

    class Generator:
        state = 0

        def manual_seed(self, key: int) -> None:
            self.state = key
            seeds.append(key)

        def get_state(self) -> int:
            return self.state

        def set_state(self, state: int) -> None:
            self.state = state

    fake = types.SimpleNamespace(default_generator=Generator())
    monkeypatch.delitem(sys.modules, "torch", raising=False)

    def loads(record: int) -> int:
        calls.append(record)
        sys.modules["torch"] = fake  # type: ignore[assignment]
        return int(fake.default_generator.state)

    loader = DistributedLoader(Numbers(3), transform=loads, collate_fn=list, seed=3)
    drawn = [batch[0] for batch in loader]

    assert drawn == [derive_key(3, 0, record, "global generators, transform") for record in range(3)]
    assert calls == [0, 0, 1, 2]
    # What torch begins with, as nobody had drawn from it.
    assert fake.default_generator.state in (seeds[-1], 67280421310721)
    monkeypatch.delitem(sys.modules, "torch")


@pytest.mark.parametrize("code", [None, len, bytes.decode, int, [1], range(3), zlib.decompress])
def test_code_that_cannot_draw_costs_nothing(code: Anything) -> None:
    assert not may_draw(code)


@pytest.mark.parametrize(
    "code", [augmented, Drawing(), Drawing, lambda record: record, random.random, np.random.permutation]
)
def test_code_of_the_user_may_draw(code: Callable[..., Any]) -> None:
    assert may_draw(code)


def scaled(record: Anything, rng: Anything, *, factor: float = 2.0) -> Anything:
    pixels = np.frombuffer(record, np.uint8).astype(np.float32)
    return {"x": helper(pixels) * factor + rng.random(), "n": [len(part) for part in (record, record)]}


def helper(values: Anything) -> Anything:
    if values.size > 1_000:
        raise ValueError("too many: " + str(values.size))
    return np.clip(values - values.mean(), -1, 1)


def bound(number: Anything, function: Anything) -> Callable[..., Any]:
    return lambda record: (number, function(record))


class Lazy(np.float64):
    """Draws where numpy's own does not."""

    def __add__(self, other: Anything) -> Anything:
        return random.random()


@dataclass
class Picture:
    """A type of samples, with methods of its own."""

    size: int


def imports(record: Anything) -> float:
    from random import random as drawn

    return drawn()


HARMLESS: dict[str, Callable[..., Any]] = {
    "a helper and rng": scaled,
    "a method": lambda record: record.decode(),
    "builtins": lambda record: sorted(map(int, record)),
    "closures": bound(np.arange(3), helper),
    "numpy alone": lambda record: np.frombuffer(record, np.uint8),
}
DRAWING: dict[str, Callable[..., Any]] = {
    "in a helper": lambda record: augmented(record),
    "in a closure": bound(1, augmented),
    "in a default": lambda record, one=augmented: one(record),
    "an import": imports,
    "through numpy": lambda record: np.random.rand(),
    "by its name": lambda record: getattr(np, "random").rand(),  # noqa: B009  # hidden on purpose
    "a tensor": lambda record: record.bernoulli_(),
    "an odd method": lambda record: record.multinomial(3),
    "an object's method": bound(Drawing(), len),
    "a class": lambda record: Drawing()[0],
    "an evaluated text": lambda record: eval("random.random()"),
    "a list of functions": bound([random.random], len),
    "a subclass of a number": bound(Lazy(1), len),
    "a file": lambda record: np.load("x", allow_pickle=True),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_function_over_our_records_that_reaches_plain_things_alone_costs_nothing(name: str, tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "data") as writer:
        writer.write_sample({"x": 1})
    for dataset in (SplitDataLoader(tmp_path / "data"), SampleDataset(tmp_path / "data")):
        assert not transform_may_draw(HARMLESS[name], dataset)
    # What others give may have methods that draw.
    for other in ([Drawing()], Drawing(), SampleDataset(tmp_path / "data", types=[Picture])):
        assert transform_may_draw(HARMLESS[name], other)


@pytest.mark.parametrize("name", DRAWING)
def test_function_that_may_draw_in_any_way_is_set_for(name: str) -> None:
    assert transform_may_draw(DRAWING[name], range(3))


def test_cache_tells_samples_of_generators_that_were_not_set_from_others(tmp_path: Path) -> None:
    def drawn(**options: Anything) -> list[Any]:
        cache = Cache(tmp_path / "cache", version="1")
        with DistributedLoader(
            Numbers(4), **grouped(transform=augmented, collate_fn=list, cache=cache, **options)
        ) as loader:
            return [sample["python"] for batch in loader for sample in batch]

    drawn(seed_globals=False)

    assert drawn() == drawn(num_workers=1, start_method="fork")
    assert drawn()[0] == random.Random(derive_key(0, 0, 0, "global generators, transform")).random()


def test_compiled_functions_draw_the_same_in_process_and_in_workers() -> None:
    def drawn(**options: Anything) -> list[Any]:
        with untouched_generators():
            loader = DistributedLoader(
                [[1, 2, 3, 4, 5, 6, 7]] * 8, **grouped(transform=np.random.permutation, collate_fn=list, **options)
            )
            return [sample.tolist() for batch in loader for sample in batch]

    assert drawn() == drawn() == drawn(num_workers=2, start_method="fork")


def test_compiled_methods_of_torch_may_draw() -> None:
    torch = pytest.importorskip("torch")

    assert may_draw(torch.bernoulli)
    assert may_draw(torch.Tensor.bernoulli_)


def test_generator_of_another_kind_that_the_user_gave_numpy_is_set_and_put_back() -> None:
    numpy_random: Any = np.random
    before = numpy_random.get_bit_generator()
    numpy_random.set_bit_generator(np.random.Philox(5))
    try:
        with untouched_generators():
            (batch,) = DistributedLoader(Numbers(1), transform=lambda record: np.random.rand(), collate_fn=list)
    finally:
        numpy_random.set_bit_generator(before)

    key = derive_key(0, 0, 0, "global generators, transform") & 0xFFFF_FFFF
    assert batch == [np.random.RandomState(np.random.Philox(key)).rand()]
