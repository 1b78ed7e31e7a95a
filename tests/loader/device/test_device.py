"""Transfer: what arrives where, and the protocol of staging buffers, events and streams with a device that is late.

The engines of these tests do as little as they may: a copy happens at the last moment that the protocol allows,
so a staging buffer that is filled too early, or a batch that is handed over too early, has wrong bytes.
"""

from __future__ import annotations

import dataclasses
import logging
from collections import namedtuple
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any, TypeAlias

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitdata.errors import ClosedError
from splitdata.loader.device.device import open_engine, resolve_device
from splitdata.loader.device.device_prefetcher import DevicePrefetcher
from splitdata.loader.device.engines import CudaEngine, Engine
from splitdata.loader.device.transfer import DeviceTransfer
from splitdata.samples.nesting import leaves
from splitdata.samples.tensors import tensor_over
from tests.command import run_python

torch = pytest.importorskip("torch")

# Batches, tensors, arrays.
Anything: TypeAlias = Any

HAS_CUDA = torch.cuda.is_available()

Pair = namedtuple("Pair", "left right")


@dataclasses.dataclass
class Sample:
    image: Any
    name: Any


class LateEngine:
    """A device that copies only when someone waits for it, and notes who did what."""

    is_staged = True
    pins = False

    def __init__(self) -> None:
        self.torch = torch
        self.device = torch.device("cpu")
        self.queued: list[tuple[Any, Any]] = []
        self.done = 0
        self.waits = 0
        self.handed_over: list[Any] = []
        self.allocated: list[Any] = []

    def allocate(self, size: int) -> Anything:
        self.allocated.append(torch.full((size,), 0xEE, dtype=torch.uint8))
        return self.allocated[-1]

    def copy(self, tensor: Anything) -> Anything:
        target = torch.empty_like(tensor)
        self.queued.append((tensor, target))
        return target

    def mark(self) -> int:
        return len(self.queued)

    def wait(self, event: int) -> None:
        self.waits += 1
        self._run_to(event)

    def hand_over(self, event: int, tensors: Iterable[Any]) -> None:
        self._run_to(event)
        self.handed_over += tensors

    def beside_consumer(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def _run_to(self, event: int) -> None:
        with torch.no_grad():
            for source, target in self.queued[self.done : event]:
                target.copy_(source)
        self.done = max(self.done, event)


def feed_of(batches: Iterable[Any], engine: Engine | None, **options: Anything) -> DevicePrefetcher[int]:
    is_ready = options.pop("is_ready", lambda: True)
    return DevicePrefetcher(iter(enumerate(batches)), DeviceTransfer(engine, **options), is_ready=is_ready)


def batch_of(number: int, size: int) -> dict[str, Any]:
    return {
        "image": np.full((size, 3), number, np.float32),
        "label": torch.full((size,), number),
        "pair": Pair(Sample(np.array(number), f"name {number}"), [b"raw", None, number]),
    }


def assert_is_batch(batch: Anything, number: int, size: int) -> None:
    assert torch.equal(batch["image"], torch.full((size, 3), number, dtype=torch.float32))
    assert torch.equal(batch["label"], torch.full((size,), number))
    assert type(batch["pair"]) is Pair
    assert torch.equal(batch["pair"].left.image, torch.tensor(number))
    assert batch["pair"].left.name == f"name {number}"
    assert batch["pair"].right == [b"raw", None, number]


def overwritten(batches: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield batches whose memory is used for something else as soon as the next one is asked for."""
    for batch in batches:
        yield batch
        batch["image"][:] = -1
        batch["label"][:] = -1


@given(st.lists(st.integers(0, 200), max_size=12), st.integers(0, 3), st.lists(st.booleans(), min_size=1))
def test_batches_arrive_whole_and_in_order_from_a_device_that_is_late(
    sizes: list[int], device_batches: int, readiness: list[bool]
) -> None:
    engine = LateEngine()
    asked = iter(readiness * 100)
    batches = overwritten(batch_of(number, size) for number, size in enumerate(sizes))
    feed = feed_of(batches, engine, device_batches=device_batches, is_ready=lambda: next(asked))
    tokens = []
    for token, batch in feed:
        tokens.append(token)
        assert len(feed._ahead) <= device_batches
        assert_is_batch(batch, token, sizes[token])
        known = {id(tensor) for tensor in engine.handed_over}
        assert all(id(leaf) in known for leaf in leaves(batch) if isinstance(leaf, torch.Tensor))

    assert tokens == list(range(len(sizes)))
    assert len(engine.allocated) <= len(sizes)


def test_staging_buffers_are_reused_after_their_copies_are_over() -> None:
    engine = LateEngine()
    feed = feed_of(overwritten(batch_of(number, 50) for number in range(30)), engine, device_batches=2)
    for token, batch in feed:
        assert_is_batch(batch, token, 50)

    assert len(engine.allocated) == 3
    assert engine.waits == 27


def test_batches_discarded_on_their_way_do_not_disturb_the_next_epoch() -> None:
    engine = LateEngine()
    transfer = DeviceTransfer(engine, device_batches=2)
    first = DevicePrefetcher(iter(enumerate(batch_of(number, 40) for number in range(9))), transfer)
    next(first)
    assert len(first._ahead) == 2
    first.close()
    first.close()
    assert len(first._ahead) == 0
    with pytest.raises(ClosedError, match="closed"):
        next(first)

    second = DevicePrefetcher(iter(enumerate(overwritten(batch_of(number, 41) for number in range(9)))), transfer)
    for token, batch in second:
        assert_is_batch(batch, token, 41)
    assert len(engine.allocated) == 3


@pytest.mark.parametrize("device_batches", [0, 1, 2])
def test_feed_takes_as_many_batches_ahead_as_it_may(device_batches: int) -> None:
    taken: list[int] = []

    def batches() -> Iterator[int]:
        for number in range(6):
            taken.append(number)
            yield number

    feed = feed_of(batches(), None, device_batches=device_batches)
    for token, _ in feed:
        assert len(taken) == min(6, token + 1 + device_batches)


def test_batch_that_is_there_does_not_wait_for_one_that_is_not() -> None:
    taken: list[int] = []

    def batches() -> Iterator[int]:
        for number in range(3):
            taken.append(number)
            yield number

    for token, batch in feed_of(batches(), None, is_ready=lambda: False):
        assert batch == token
        assert taken[-1] == token


def failing(num_batches: int, error: BaseException) -> Iterator[int]:
    yield from range(num_batches)
    raise error


@pytest.mark.parametrize("device_batches", [0, 1, 3])
def test_error_of_the_source_comes_after_the_batches_before_it(device_batches: int) -> None:
    error = KeyError("bad record")
    feed = feed_of(failing(4, error), None, device_batches=device_batches)

    assert [next(feed)[1] for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(KeyError) as raised:
        next(feed)
    assert raised.value is error
    with pytest.raises(ClosedError, match="ended with KeyError"):
        next(feed)


def test_error_of_to_device_arrives_as_it_is_and_in_its_place() -> None:
    error = ZeroDivisionError("mine")

    def to_device(batch: int, device: object) -> int:
        if batch == 2:
            raise error
        return batch * 10

    feed = feed_of(range(5), None, to_device=to_device, device_batches=2)
    assert [next(feed), next(feed)] == [(0, 0), (1, 10)]
    with pytest.raises(ZeroDivisionError) as raised:
        next(feed)
    assert raised.value is error
    assert len(feed._ahead) == 0


def test_stop_iteration_of_to_device_does_not_end_the_epoch() -> None:
    def to_device(batch: int, device: object) -> int:
        return next(iter([batch][batch:]))

    feed = feed_of(range(3), None, to_device=to_device, device_batches=0)
    assert next(feed) == (0, 0)
    with pytest.raises(RuntimeError, match="StopIteration"):
        next(feed)


def test_interrupt_is_raised_at_once_and_leaves_no_gap() -> None:
    feed = feed_of(failing(1, KeyboardInterrupt()), None, device_batches=1)
    with pytest.raises(KeyboardInterrupt):
        next(feed)
    with pytest.raises(ClosedError, match="KeyboardInterrupt"):
        next(feed)


class RefusingEngine(LateEngine):
    """Has no memory left for tensors of three elements."""

    def copy(self, tensor: Anything) -> Anything:
        if tensor.numel() == 3:
            raise MemoryError("full")
        return super().copy(tensor)


def test_copies_queued_before_an_error_are_waited_for() -> None:
    engine = RefusingEngine()
    transfer = DeviceTransfer(engine, device_batches=0)
    good = transfer.send({"a": np.arange(5)})
    transfer.hand_over(good)
    with pytest.raises(MemoryError, match="full"):
        transfer.send({"a": np.arange(5), "b": torch.ones(3)})
    assert engine.done < len(engine.queued)

    again = transfer.send({"a": np.arange(5) * 2})
    assert engine.done == len(engine.queued) - 1
    assert transfer.hand_over(again)["a"].tolist() == [0, 2, 4, 6, 8]


LAYOUTS: dict[str, Callable[[], Any]] = {
    "channels last": lambda: torch.arange(96.0).view(2, 3, 4, 4).to(memory_format=torch.channels_last),
    "transposed": lambda: torch.arange(12).view(3, 4).t(),
    "every second": lambda: torch.arange(12)[::2],
    "expanded": lambda: torch.arange(3).expand(4, 3),
    "no dimensions": lambda: torch.tensor(2.5),
    "no elements": lambda: torch.empty(3, 0),
    "bool": lambda: torch.tensor([True, False]),
    "bfloat16": lambda: torch.arange(5).to(torch.bfloat16),
    "float8": lambda: torch.arange(5).to(torch.float8_e4m3fn),
    "complex": lambda: torch.arange(5) * 1j,
    "conjugated": lambda: (torch.arange(5) * 1j).conj(),
    "negated": lambda: (torch.arange(5) * 1j).conj().imag,
    "requires grad": lambda: torch.ones(4, requires_grad=True),
    "result of a graph": lambda: torch.ones(4, requires_grad=True) * 2,
    "parameter": lambda: torch.nn.Parameter(torch.ones(2)),
    "sparse": lambda: torch.eye(3).to_sparse(),
}


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("late", [True, False])
def test_tensor_of_every_layout_arrives_equal(name: str, late: bool) -> None:
    tensor = LAYOUTS[name]()
    engine = LateEngine() if late else open_engine("cpu")
    [(_, [moved])] = list(feed_of([[tensor]], engine))

    assert moved.dtype == tensor.dtype
    assert moved.requires_grad == tensor.requires_grad
    dense = moved.detach().to_dense().resolve_conj().resolve_neg() if name != "float8" else moved.view(torch.uint8)
    expected = tensor.detach().to_dense().resolve_conj().resolve_neg() if name != "float8" else tensor.view(torch.uint8)
    assert torch.equal(dense, expected)
    if name in ("channels last", "transposed"):
        assert moved.stride() == tensor.stride()


ARRAYS: dict[str, Callable[[], Any]] = {
    "read-only": lambda: np.frombuffer(bytes(range(9)), np.uint8),
    "backwards": lambda: np.arange(9)[::-1],
    "Fortran order": lambda: np.asfortranarray(np.arange(12).reshape(3, 4)),
    "no dimensions": lambda: np.array(3.5),
    "no elements": lambda: np.zeros((0, 3)),
    "unsigned": lambda: np.arange(9, dtype=np.uint16),
    "memory map": lambda: np.arange(9).view(np.memmap),
}


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("late", [True, False])
def test_array_of_every_layout_becomes_an_equal_tensor(name: str, late: bool) -> None:
    array = ARRAYS[name]()
    [(_, moved)] = list(feed_of([array], LateEngine() if late else open_engine("cpu")))

    assert np.array_equal(moved.numpy(), array)
    assert moved.numpy().dtype == array.dtype


def test_arrays_on_the_cpu_become_tensors_over_the_same_memory() -> None:
    array = np.zeros(5)
    [(_, batch)] = list(feed_of([{"x": array, "scalar": np.float32(2), "name": "a"}], open_engine("cpu")))
    array[2] = 7

    assert batch["x"][2] == 7
    assert type(batch["scalar"]) is np.float32
    assert batch["name"] == "a"


@pytest.mark.parametrize("dtype", ["U3", "datetime64[s]", ">i4", "O"])
def test_array_that_torch_cannot_hold_names_the_field(dtype: str) -> None:
    batch = {"meta": Sample([np.zeros(2), np.zeros(2, dtype)], "a")}
    with pytest.raises(TypeError, match=r'batch\["meta"\].image\[1\]: torch has no dtype for an array of'):
        list(feed_of([batch], open_engine("cpu")))


def test_without_a_device_batches_stay_the_same_objects() -> None:
    assert open_engine(None) is None
    batches = [batch_of(number, 3) for number in range(3)]

    assert all(batch is batches[token] for token, batch in feed_of(batches, None))


def test_batches_sent_in_inference_mode_can_be_trained_with_after_it() -> None:
    for engine in (LateEngine(), open_engine("cpu")):
        feed = feed_of([np.ones(3, np.float32)] * 4, engine, device_batches=2)
        with torch.inference_mode():
            next(feed)
        weight = torch.ones(3, requires_grad=True)
        for _, batch in feed:
            assert not batch.is_inference()
            (batch * weight).sum().backward()


def test_to_device_gets_batch_and_device_in_place_of_the_transfer() -> None:
    seen: list[Any] = []

    def to_device(batch: Anything, device: Anything) -> Anything:
        seen.append((batch, device))
        return {"moved": torch.from_numpy(batch)}

    array = np.ones(3)
    [(_, batch)] = list(feed_of([array], open_engine("cpu"), to_device=to_device))

    assert seen[0][0] is array
    assert seen[0][1] == torch.device("cpu")
    assert batch["moved"].tolist() == [1, 1, 1]


def test_seconds_of_the_host_are_reported() -> None:
    times = iter(float(number) for number in range(100))
    seconds: list[float] = []
    feed = feed_of(
        [np.ones(3)] * 2,
        open_engine("cpu"),
        transferred=lambda wall, processor: seconds.append(wall),
        clock=lambda: next(times),
        device_batches=0,
    )
    list(feed)

    assert seconds == [1.0] * 4


def test_device_batches_below_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="device_batches=-1"):
        DeviceTransfer(None, device_batches=-1)


class Recorder:
    """Stands for a stream, an event or a tensor, and notes each call under its name."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self.log = log

    def __getattr__(self, method: str) -> Callable[..., Any]:
        def call(*args: Anything, **options: Anything) -> Recorder:
            shown = [arg.name if isinstance(arg, Recorder) else str(arg) for arg in args]
            shown += [f"{key}={value}" for key, value in options.items()]
            self.log.append(f"{self.name}.{method}({', '.join(shown)})")
            return Recorder("event" if method == "record_event" else "moved", self.log)

        return call


def cuda_of(log: list[str]) -> SimpleNamespace:
    @contextmanager
    def stream(entered: Recorder) -> Iterator[None]:
        log.append(f"enter {entered.name}")
        yield
        log.append(f"leave {entered.name}")

    return SimpleNamespace(
        Stream=lambda device: Recorder("side", log),
        stream=stream,
        current_stream=lambda device: Recorder("consumer", log),
    )


def test_cuda_engine_calls_streams_and_events_in_the_order_that_is_drawn() -> None:
    log: list[str] = []
    engine = CudaEngine(SimpleNamespace(cuda=cuda_of(log)), "cuda:0", pins=False)
    moved = engine.copy(Recorder("staged", log))
    event = engine.mark()
    engine.hand_over(event, [moved])
    engine.wait(event)

    assert log == [
        "enter side",
        "staged.to(cuda:0, non_blocking=True)",
        "leave side",
        "side.record_event()",
        "consumer.wait_event(event)",
        "moved.record_stream(consumer)",
        "event.synchronize()",
    ]


def test_cuda_engine_runs_a_users_code_on_the_side_after_the_consumers_work() -> None:
    log: list[str] = []
    engine = CudaEngine(SimpleNamespace(cuda=cuda_of(log)), "cuda:0", pins=False)
    with engine.beside_consumer():
        log.append("user's code")

    assert log == ["side.wait_stream(consumer)", "enter side", "user's code", "leave side"]


def test_devices_without_a_gpu_are_resolved() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device(torch.device("meta")) == torch.device("meta")
    with pytest.raises(ValueError, match="device='gpu' is no device that torch knows"):
        resolve_device("gpu")


@pytest.mark.skipif(HAS_CUDA, reason="there is a GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:1", 0])
def test_gpu_that_is_not_there_is_an_error_that_says_so(device: Anything) -> None:
    with pytest.raises(ValueError, match=r"asks for a GPU and torch .* sees none|no device that torch knows"):
        open_engine(device)


@pytest.mark.skipif(HAS_CUDA, reason="there is a GPU")
@pytest.mark.parametrize("device", [None, "cpu"])
def test_pinned_memory_without_a_gpu_is_a_warning(device: str | None, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "splitdata"):
        engine = open_engine(device, pin_memory=True)
    assert "pin_memory=True has no effect" in caplog.text

    [(_, batch)] = list(feed_of([np.ones(3)], engine))
    assert torch.equal(batch, torch.ones(3, dtype=torch.float64))


def test_batches_stay_without_torch_and_a_device_asks_for_it() -> None:
    code = """
import sys
sys.modules["torch"] = None
from splitdata.loader.device.device import open_engine
from splitdata.loader.device.device_prefetcher import DevicePrefetcher
from splitdata.loader.device.transfer import DeviceTransfer
print(list(DevicePrefetcher(iter([(0, {"a": 1})]), DeviceTransfer(open_engine(None)))))
for options in ({"device": "cpu"}, {"device": None, "pin_memory": True}):
    try:
        open_engine(**options)
    except ModuleNotFoundError as error:
        print(error)
"""
    assert run_python("-c", code).stdout.splitlines() == [
        "[(0, {'a': 1})]",
        "device='cpu' needs torch: pip install 'splitdata[torch]'",
        "pin_memory=True needs torch: pip install 'splitdata[torch]'",
    ]


def test_tensor_over_a_writable_array_shares_it() -> None:
    array = np.zeros(3)
    tensor_over(array)[1] = 5

    assert array.tolist() == [0, 5, 0]
