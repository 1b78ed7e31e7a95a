"""Rotation: how often samples are used and made, what is held meanwhile, and how it meets the other options."""

from __future__ import annotations

import collections
import dataclasses
import itertools
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitdata import Cache, ClosedError, Rotation, Window
from splitdata.loader import runtime
from splitdata.loader.distributed_loader import DistributedLoader
from splitdata.loader.option_groups import OrderOptions, RecordOptions, WorkerOptions
from splitdata.loader.pipeline.executors import InProcess
from tests.loader.grouped import grouped

# Whatever a parameter takes.
Anything: TypeAlias = Any


class Numbers:
    """A dataset whose records are their own numbers."""

    def __init__(self, num_records: int) -> None:
        self._num_records = num_records

    def __len__(self) -> int:
        return self._num_records

    def __getitem__(self, index: int) -> int:
        return index


class Counting:
    """A transform that counts, and whose samples tell one making from another that should be the same."""

    def __init__(self, sample_bytes: int = 1) -> None:
        self.made: Counter[int] = Counter()
        self._sample_bytes = sample_bytes

    def __call__(self, record: int, rng: np.random.Generator) -> dict[str, Any]:
        self.made[record] += 1
        return {"record": record, "noise": rng.integers(0, 256, self._sample_bytes, np.uint8)}


class EagerWorkers(InProcess):
    """Workers that are always done by the time that anybody asks."""

    def next_is_ready(self) -> bool:
        return bool(self._asked)


def used(batches: Iterator[Any] | list[Any]) -> list[int]:
    return [int(record) for batch in batches for record in batch["record"]]


@given(st.data())
@settings(max_examples=80)
def test_every_sample_is_used_so_often_and_made_once(data: st.DataObject) -> None:
    num_records = data.draw(st.integers(0, 60))
    rotation = Rotation(data.draw(st.integers(1, 4)), data.draw(st.integers(1, 20)))
    world_size = data.draw(st.integers(1, 4))
    lanes = data.draw(st.none() | st.integers(1, 6))
    tail: Any = data.draw(st.sampled_from(["pad", "drop", "keep"]))
    options: dict[str, Any] = {
        "batch_size": data.draw(st.integers(1, 9)),
        "shuffle": data.draw(st.sampled_from([False, "global", Window(5)])),
        "num_workers": data.draw(st.sampled_from([0, 0, 0, 0, 2])),
        "in_order": data.draw(st.booleans()),
    }
    transform = Counting()
    uses: Counter[int] = Counter()
    for rank in range(world_size):
        with DistributedLoader(
            Numbers(num_records),
            **grouped(
                transform=transform,
                rotation=rotation,
                rank=rank,
                world_size=world_size,
                lanes=lanes,
                tail=tail,
                kind="thread",
                read_ahead=1,
                **options,
            ),
        ) as loader:
            batches = [used([batch]) for batch in loader]
            assert len(batches) == len(loader) or tail == "keep"
            assert batches == [loader.records(0, step).tolist() for step in range(len(batches))]
        uses.update(record for batch in batches for record in batch)

    whole = Counter(dict.fromkeys(range(num_records), rotation.times))
    if tail == "keep":
        assert uses == whole
    elif tail == "pad":
        assert whole <= uses
        assert (uses - whole).total() < world_size
    else:
        assert uses <= whole
        assert (whole - uses).total() < world_size * options["batch_size"]
    lanes = lanes or world_size
    if lanes % world_size == 0:
        # Besides: samples of the common group, of which there are fewer than lanes, and one of padding for each rank.
        shared = (num_records % lanes) * (world_size - 1) + world_size - 1
        assert transform.made.total() <= num_records + shared


def test_ranks_make_samples_of_their_own_each_once() -> None:
    transform = Counting()
    for rank in range(4):
        loader = DistributedLoader(
            Numbers(400), batch_size=7, transform=transform, rotation=Rotation(3, 20), rank=rank, world_size=4
        )
        used(list(loader))

    assert transform.made == Counter(range(400))


def test_uses_of_a_sample_are_mixed_evenly_into_its_group() -> None:
    times, size = 4, 50
    loader = DistributedLoader(Numbers(5000), rotation=Rotation(times, size), shuffle="global", batch_size=50)
    order = np.concatenate([loader.records(0, step) for step in range(len(loader))])
    groups = order.reshape(-1, times * size)
    for group in groups:
        assert set(Counter(group.tolist()).values()) == {times}
    places = np.argsort(groups, axis=1, kind="stable").reshape(-1, times) / (times * size)

    # Order statistics of four uniform draws: means 1/5 .. 4/5, with deviations of 0.16 to 0.2 over 5000 of them.
    assert np.allclose(np.sort(places, axis=1).mean(axis=0), np.arange(1, 5) / 5, atol=0.015)
    gaps = np.diff(np.sort(places, axis=1), axis=1)
    assert np.allclose(gaps.mean(axis=0), 1 / 5, atol=0.015)


def test_same_sample_comes_in_every_use_and_another_in_the_next_epoch() -> None:
    loader = DistributedLoader(Numbers(30), batch_size=8, transform=Counting(16), rotation=Rotation(3, 10))
    epochs = []
    for _ in range(2):
        seen: dict[int, set[bytes]] = collections.defaultdict(set)
        for batch in loader:
            for record, noise in zip(batch["record"].tolist(), batch["noise"], strict=True):
                seen[record].add(noise.tobytes())
        assert {len(variants) for variants in seen.values()} == {1}
        epochs.append(seen)

    assert all(epochs[0][record] != epochs[1][record] for record in range(30))


@pytest.mark.parametrize("medium", ["memory", "disk"])
def test_two_groups_are_the_most_that_is_held(medium: Anything, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "InProcess", EagerWorkers)
    loader = DistributedLoader(
        Numbers(1000),
        batch_size=4,
        transform=Counting(4096),
        rotation=Rotation(3, 50, medium),
        workers=WorkerOptions(read_ahead=1),
    )
    sample_bytes = 4096 + 256
    held = []
    for _ in loader.start():
        stats = loader.stats().rotation
        assert stats is not None
        held.append(stats.disk_bytes if medium == "disk" else stats.memory_bytes)
        assert (stats.memory_bytes if medium == "disk" else stats.disk_bytes) == 0

    stats = loader.stats().rotation
    assert stats is not None
    assert stats.num_made == 1000
    assert 2 * 50 * 4096 <= max(held) == stats.peak_bytes <= 2 * 50 * sample_bytes
    assert held[-1] == 0


def test_next_group_is_made_while_this_one_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "InProcess", EagerWorkers)
    transform = Counting()
    loader = DistributedLoader(
        Numbers(1000),
        batch_size=10,
        transform=transform,
        rotation=Rotation(4, 100),
        workers=WorkerOptions(read_ahead=1, prefetch=1),
    )
    made = [transform.made.total() for _ in loader]

    # A group is 40 steps. Each takes in what is ready, so that the second is there when the first is used up.
    assert made[0] <= 20
    assert made[39] == 200
    assert all(later - earlier <= 20 for earlier, later in itertools.pairwise(made))


def test_group_smaller_than_a_batch_holds_what_the_batch_needs() -> None:
    transform = Counting()
    loader = DistributedLoader(Numbers(100), batch_size=64, transform=transform, rotation=Rotation(2, 3))

    assert Counter(used(list(loader))) == Counter({record: 2 for record in range(100)})
    assert transform.made == Counter(range(100))


def test_broken_epoch_that_is_resumed_makes_nothing_twice() -> None:
    transform = Counting()
    loader = DistributedLoader(Numbers(100), batch_size=7, transform=transform, rotation=Rotation(3, 20))
    begun = []
    for batch in loader:
        begun += used([batch])
        if len(begun) >= 150:
            break
    rest = used(list(loader.resume()))

    assert Counter(begun + rest) == Counter({record: 3 for record in range(100)})
    assert transform.made == Counter(range(100))


def test_resume_in_a_fresh_loader_makes_only_what_is_still_needed() -> None:
    whole = DistributedLoader(Numbers(100), batch_size=10, transform=Counting(8), rotation=Rotation(5, 20))
    batches = list(whole)
    for taken in (1, 9, 10, 19, 33, 49):
        transform = Counting(8)
        loader = DistributedLoader(Numbers(100), batch_size=10, transform=transform, rotation=Rotation(5, 20))
        loader.load_state_dict(whole.state_dict() | {"epoch": 0, "samples": taken * 10})
        rest = list(loader)

        assert all((one["noise"] == other["noise"]).all() for one, other in zip(rest, batches[taken:], strict=True))
        assert transform.made == Counter(set(used(rest)))


def test_seek_and_skip_give_the_batches_of_the_place() -> None:
    def make() -> DistributedLoader:
        return DistributedLoader(
            Numbers(100), batch_size=10, transform=Counting(8), rotation=Rotation(3, 20), shuffle="global"
        )

    whole = [used([batch]) for batch in make()]
    loader = make()
    found = []
    for batch in loader:
        found.append(used([batch]))
        if len(found) == 3:
            loader.seek(20)
        if len(found) == 6:
            loader.seek(1)
        if len(found) == 9:
            loader.skip(25)

    assert found == whole[:3] + whole[20:23] + whole[1:4] + whole[29:]


def test_epochs_of_num_steps_make_each_sample_once_a_pass() -> None:
    transform = Counting()
    loader = DistributedLoader(
        Numbers(50),
        batch_size=8,
        order=OrderOptions(num_steps=5),
        transform=transform,
        rotation=Rotation(2, 10),
        shuffle="global",
    )
    stream = [record for _ in range(10) for record in used(list(loader))]

    assert len(stream) == 400
    for first in range(0, 400, 100):
        assert Counter(stream[first : first + 100]) == Counter({record: 2 for record in range(50)})
    assert transform.made == Counter({record: 4 for record in range(50)})


def test_next_epoch_is_begun_ahead_only_if_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for ahead in (False, True):
        transform = Counting()
        with DistributedLoader(
            Numbers(40),
            batch_size=8,
            num_workers=1,
            workers=WorkerOptions(kind="thread", prefetch_epochs=ahead),
            transform=transform,
            rotation=Rotation(2, 10),
        ) as loader:
            first = used(list(loader))
            if not ahead:
                assert transform.made.total() == 40
            second = used(list(loader))
        assert Counter(first) == Counter(second) == Counter({record: 2 for record in range(40)})
        assert first != second


def test_sampler_is_rotated_and_may_repeat_records() -> None:
    records = [3, 1, 4, 1, 5, 9, 2, 6]
    loader = DistributedLoader(
        Numbers(10),
        batch_size=4,
        transform=Counting(),
        sampler=lambda epoch: records,
        rotation=Rotation(3, 4),
        order=OrderOptions(lanes=2),
    )

    assert Counter(used(list(loader))) == Counter(records * 3)


def test_state_names_times_and_size_and_must_agree() -> None:
    loader = DistributedLoader(Numbers(10), rotation=Rotation(3, 4))
    state = loader.state_dict()

    assert state["rotation"] == [3, 4]
    DistributedLoader(Numbers(10), rotation=Rotation(3, 4, "disk")).load_state_dict(state)
    for other in (None, Rotation(2, 4), Rotation(3, 5)):
        with pytest.raises(ValueError, match="rotation"):
            DistributedLoader(Numbers(10), rotation=other).load_state_dict(state)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_cache_makes_a_sample_once_for_all_epochs_and_loaders(tmp_path: Path, num_workers: int) -> None:
    transform = Counting(8)

    def make() -> DistributedLoader:
        return DistributedLoader(
            Numbers(60),
            batch_size=8,
            shuffle="global",
            transform=transform,
            rotation=Rotation(3, 10),
            cache=Cache(tmp_path / "cache", version="1"),
            num_workers=num_workers,
            workers=WorkerOptions(kind="thread"),
        )

    with make() as loader:
        epochs = [used(list(loader)) for _ in range(2)]
        begun = used([next(iter(loader))])
        state = loader.state_dict()
    with make() as loader:
        loader.load_state_dict(state)
        rest = used(list(loader))

    assert transform.made == Counter(range(60))
    for epoch in (*epochs, begun + rest):
        assert Counter(epoch) == Counter({record: 3 for record in range(60)})


@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches_ahead_on_the_device_do_not_count_as_seen(num_workers: int) -> None:
    moved = []

    def to_device(batch: Anything, device: Anything) -> Anything:
        moved.append(used([batch]))
        return batch

    def make() -> DistributedLoader:
        return DistributedLoader(
            Numbers(60),
            batch_size=4,
            shuffle="global",
            transform=Counting(),
            rotation=Rotation(3, 10),
            workers=WorkerOptions(to_device=to_device, device_batches=3, kind="thread"),
            num_workers=num_workers,
        )

    with make() as loader:
        expected = [loader.records(0, step).tolist() for step in range(45)]
        begun = [used([batch]) for batch, _ in zip(loader, range(20), strict=False)]
        state = loader.state_dict()
    # `zip` has taken one more, which nobody saw.
    assert (state["samples"], begun) == (84, expected[:20])
    assert moved[:21] == expected[:21]
    with make() as loader:
        loader.load_state_dict(state)
        assert [used([batch]) for batch in loader] == expected[21:]


# -- what becomes of samples -------------------------------------------------------------------


class Point(NamedTuple):
    x: int
    y: Any


@dataclasses.dataclass
class Box:
    name: str
    corner: Point


def rich_sample(record: int) -> dict[str, Any]:
    return {
        "box": Box(f"record {record}", Point(record, np.full((2, 3), record, np.float32))),
        "data": bytes([record]) * record,
        "list": [record, 2.5, None],
        "scalar": np.float16(record),
    }


@pytest.mark.parametrize("num_workers", [0, 1])
def test_samples_keep_their_types_through_the_group(num_workers: int) -> None:
    plain = DistributedLoader(Numbers(6), batch_size=6, transform=rich_sample, collate_fn=list)
    (expected,) = list(plain)
    with DistributedLoader(
        Numbers(6),
        batch_size=6,
        transform=rich_sample,
        collate_fn=list,
        rotation=Rotation(1),
        num_workers=num_workers,
        workers=WorkerOptions(start_method="spawn" if num_workers else None),
    ) as loader:
        (samples,) = list(loader)

    for sample in samples:
        like = expected[sample["box"].corner.x]
        assert type(sample["box"]) is Box
        assert type(sample["box"].corner) is Point
        assert repr(sample) == repr(like)


def test_default_collate_gives_what_it_gives_without_rotation() -> None:
    torch = pytest.importorskip("torch")

    def transform(record: int) -> dict[str, Any]:
        return {"image": np.full((4, 5), record, np.uint8), "tensor": torch.full((3,), record), "label": record}

    loader = DistributedLoader(Numbers(8), batch_size=8, transform=transform, rotation=Rotation(1))
    (batch,) = list(loader)

    assert batch["image"].shape == (8, 4, 5)
    assert torch.is_tensor(batch["tensor"])
    assert batch["tensor"].dtype == torch.int64
    assert (batch["tensor"][:, 0].numpy() == batch["label"]).all()
    assert (batch["image"][:, 0, 0] == batch["label"]).all()


@pytest.mark.parametrize("medium", ["memory", "disk"])
def test_collate_function_may_change_and_keep_its_samples(medium: Anything) -> None:
    kept: list[Any] = []

    def collate(samples: list[Any]) -> dict[str, Any]:
        for sample in samples:
            assert (sample["pixels"] == sample["record"]).all()
            sample["pixels"][:] = 255
        kept.extend(samples)
        return {"record": [sample["record"] for sample in samples]}

    loader = DistributedLoader(
        Numbers(20),
        batch_size=8,
        transform=lambda record: {"record": record, "pixels": np.full(100, record, np.uint8)},
        collate_fn=collate,
        rotation=Rotation(4, 5, medium),
    )

    assert Counter(used(list(loader))) == Counter({record: 4 for record in range(20)})
    assert all((sample["pixels"] == 255).all() for sample in kept)
    ranges = sorted((sample["pixels"].ctypes.data, sample["pixels"].ctypes.data + 100) for sample in kept)
    assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(ranges))


def test_sample_that_has_no_bytes_is_an_error_that_names_it() -> None:
    loader = DistributedLoader(
        Numbers(4), transform=lambda record: {"thing": object()} if record == 2 else {}, rotation=Rotation(2)
    )
    with pytest.raises(TypeError, match=r'sample\["thing"\]') as caught:
        list(loader)

    assert any("record 2" in note and "rotation" in note for note in caught.value.__notes__)


# -- errors and interrupts ---------------------------------------------------------------------


def bad_at_13(record: int) -> dict[str, Any]:
    if record == 13:
        raise ArithmeticError("thirteen")
    return {"record": record}


@pytest.mark.parametrize(("num_workers", "kind"), [(0, "thread"), (2, "thread"), (2, "process")])
def test_error_comes_where_its_sample_is_first_used(num_workers: int, kind: Anything) -> None:
    loader = DistributedLoader(
        Numbers(40),
        batch_size=2,
        transform=bad_at_13,
        rotation=Rotation(3, 10),
        num_workers=num_workers,
        workers=WorkerOptions(kind=kind),
    )
    first_use = next(step for step in range(60) if 13 in loader.records(0, step))
    batches: list[list[int]] = []
    with loader, pytest.raises(ArithmeticError, match="thirteen") as caught:
        batches.extend(used([batch]) for batch in loader)

    assert any("record 13" in note for note in caught.value.__notes__)
    # A chunk of samples is made at once, so an error may come some steps early, but nothing is skipped.
    assert first_use - 8 < len(batches) <= first_use
    assert batches == [loader.records(0, step).tolist() for step in range(len(batches))]


def test_collate_function_that_raises_stop_iteration_does_not_end_the_epoch() -> None:
    def collate(samples: list[Any]) -> None:
        raise StopIteration

    loader = DistributedLoader(Numbers(10), rotation=Rotation(2, 5), collate_fn=collate)
    with pytest.raises(RuntimeError, match="raised StopIteration at step 0"):
        list(loader)


def test_failure_that_was_not_needed_yet_does_not_spoil_the_next_iterator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "InProcess", EagerWorkers)
    fails = True

    def transform(record: int) -> dict[str, Any]:
        if record >= 20 and fails:
            raise ArithmeticError("later")
        return {"record": record}

    loader = DistributedLoader(
        Numbers(40), batch_size=2, transform=transform, rotation=Rotation(4, 10), workers=WorkerOptions(prefetch=4)
    )
    iterator = iter(loader)
    begun = [used([next(iterator)]) for _ in range(30)]
    fails = False
    rest = [used([batch]) for batch in loader.resume()]

    assert begun + rest == [loader.records(0, step).tolist() for step in range(80)]


def test_bad_record_is_replaced_once_however_often_it_is_used(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "splitdata")
    loader = DistributedLoader(
        Numbers(40),
        batch_size=4,
        transform=bad_at_13,
        rotation=Rotation(3, 10),
        records=RecordOptions(on_error="skip"),
        shuffle="global",
    )
    uses = Counter(used(list(loader)))
    (skipped,) = loader.skipped

    assert skipped.record == 13
    assert uses == Counter({record: 3 for record in range(40) if record != 13}) + Counter({skipped.replacement: 3})
    assert loader.stats().num_skipped == 1
    assert loader.skipped == [skipped]


class Interrupting(InProcess):
    """Workers with whom Ctrl-C arrives from time to time."""

    countdown = 0

    def receive(self) -> Anything:
        type(self).countdown += 1
        if self.countdown % 5 == 3:
            raise KeyboardInterrupt
        reply = super().receive()
        if self.countdown % 5 == 0:
            # The reply is lost.
            raise KeyboardInterrupt
        return reply

    def next_is_ready(self) -> bool:
        type(self).countdown += 1
        if self.countdown % 7 == 3:
            raise KeyboardInterrupt
        return bool(self._asked)


def test_interrupts_lose_and_repeat_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "InProcess", Interrupting)
    loader = DistributedLoader(
        Numbers(60),
        batch_size=4,
        transform=Counting(),
        rotation=Rotation(3, 10),
        shuffle="global",
        order=OrderOptions(lanes=2),
    )
    iterator = iter(loader)
    batches, num_interrupts = [], 0
    while True:
        try:
            batch = next(iterator, None)
        except KeyboardInterrupt:
            num_interrupts += 1
            continue
        if batch is None:
            break
        batches.append(used([batch]))

    assert num_interrupts > 10
    assert batches == [loader.records(0, step).tolist() for step in range(45)]


# -- options -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"times": 0}, ValueError),
        ({"times": 2.0}, TypeError),
        ({"size": 0}, ValueError),
        ({"medium": "tape"}, ValueError),
        ({"path": "/tmp"}, ValueError),
        ({"medium": "disk", "path": 3}, TypeError),
    ],
)
def test_rotation_that_makes_no_sense_is_refused(arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        Rotation(**arguments)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"rotation": 3}, TypeError),
        ({"rotation": Rotation(), "partition": "contiguous"}, ValueError),
        ({"rotation": Rotation(), "batch_sampler": [[1]]}, ValueError),
    ],
)
def test_option_that_excludes_rotation_is_refused(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match="rotation"):
        DistributedLoader(Numbers(10), **grouped(**options))


def test_statistics_tell_what_rotation_holds() -> None:
    loader = DistributedLoader(Numbers(40), batch_size=4, transform=Counting(100), rotation=Rotation(2, 20))
    assert loader.stats().rotation is None
    list(loader)
    stats = loader.stats()

    assert stats.num_samples == 80
    assert stats.rotation is not None
    assert stats.rotation.num_made == 40
    assert 0 < stats.rotation.collate_seconds < stats.seconds
    assert stats.as_dict()["rotation"]["num_made"] == 40
    assert "40 samples made" in str(stats)


def test_closed_loader_holds_nothing_and_refuses() -> None:
    loader = DistributedLoader(Numbers(40), batch_size=4, transform=Counting(100), rotation=Rotation(2, 20))
    iterator = iter(loader)
    next(iterator)
    loader.close()

    stats = loader.stats().rotation
    assert stats is not None
    assert stats.memory_bytes == 0
    with pytest.raises(ClosedError):
        next(iterator)
