"""What `iter`, `break`, `resume`, `seek`, `skip` and `set_epoch` do, and what each epoch holds."""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
import json
import logging
import pickle
import random
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitdata import SplitWriter
from splitdata.errors import ClosedError
from splitdata.loader.distributed_loader import DistributedLoader
from splitdata.loader.loader_options import LoaderOptions
from splitdata.loader.option_groups import OrderOptions, RecordOptions, WorkerOptions
from splitdata.order.hash_split import HashSplit
from splitdata.order.window import Window
from tests.loader.grouped import grouped

# What parametrization passes.
Anything: TypeAlias = Any


class Numbers:
    """A dataset whose records are their own numbers."""

    def __init__(self, num_records: int) -> None:
        self._num_records = num_records

    def __len__(self) -> int:
        return self._num_records

    def __getitem__(self, index: int) -> int:
        return index


def flat(batches: Iterator[Any] | list[Any]) -> list[int]:
    return [int(number) for batch in batches for number in batch]


def test_epochs_have_every_record_once_and_other_orders() -> None:
    loader = DistributedLoader(Numbers(50), batch_size=8, shuffle="global")
    epochs = [flat(list(loader)) for _ in range(3)]

    assert [sorted(epoch) for epoch in epochs] == [list(range(50))] * 3
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_broken_epoch_is_followed_by_the_next_or_resumed() -> None:
    loader = DistributedLoader(Numbers(10), batch_size=4, shuffle="global")
    whole = [flat(list(loader)), flat(list(loader))]

    again = DistributedLoader(Numbers(10), batch_size=4, shuffle="global")
    begun = flat([next(iter(again))])
    assert begun + flat(list(again.resume())) == whole[0]
    assert flat([next(iter(again))]) == whole[1][:4]
    assert flat(list(again)) != whole[1]
    assert again.position == (3, 0)


def test_iterator_without_a_batch_changes_nothing() -> None:
    loader = DistributedLoader(Numbers(10), batch_size=4)
    for _ in range(3):
        iter(loader)

    assert loader.position == (0, 0)
    assert flat(list(loader)) == list(range(10))


def test_state_behind_the_last_batch_is_the_next_epoch_without_asking_for_more() -> None:
    loader = DistributedLoader(Numbers(8), batch_size=4)
    iterator = iter(loader)
    next(iterator)
    next(iterator)

    assert (loader.state_dict()["epoch"], loader.state_dict()["samples"]) == (1, 0)
    assert next(iterator, None) is None
    assert loader.position == (1, 0)


def test_older_iterator_raises_instead_of_ending_early() -> None:
    loader = DistributedLoader(Numbers(10), batch_size=4)
    older = iter(loader)
    next(older)
    newer = iter(loader)

    with pytest.raises(ClosedError, match=r"newer one: resume\(\) on the loader"):
        next(older)
    next(newer)
    loader.load_state_dict(loader.state_dict())
    with pytest.raises(ClosedError, match="load_state_dict"):
        next(newer)


def test_seek_and_skip_inside_the_loop_go_on_from_there() -> None:
    loader = DistributedLoader(Numbers(40), batch_size=4)
    seen = []
    for batch in loader:
        seen.append(int(batch[0]))
        if seen == [0, 4]:
            loader.skip(3)
        if seen == [0, 4, 20]:
            loader.seek(9)

    assert seen == [0, 4, 20, 36]
    assert loader.position == (1, 0)


def test_skip_across_epochs_ends_the_loop_and_begins_there() -> None:
    loader = DistributedLoader(Numbers(8), batch_size=4)
    seen = []
    for batch in loader:
        seen += batch.tolist()
        loader.skip(4)
    assert seen == [0, 1, 2, 3]
    assert loader.position == (2, 4)
    assert flat(list(loader)) == [4, 5, 6, 7]

    loader.skip(1_000_001)
    assert loader.position == (500_003, 4)


@pytest.mark.parametrize("options", [{}, {"num_steps": 2}, {"partition": "contiguous"}, {"tail": "keep"}])
def test_seek_goes_to_each_step_of_the_epoch_and_to_no_other(options: Anything) -> None:
    loader = DistributedLoader(Numbers(8), **grouped(batch_size=4, **options))
    for step in range(len(loader)):
        loader.seek(step)
        assert flat([next(iter(loader))])[0] == 4 * step
        loader.set_epoch(0)

    for step in (-1, len(loader), len(loader) + 1, 10**30):
        with pytest.raises(IndexError, match=f"epoch 0 has 2 steps, there is no step {step}"):
            loader.seek(step)


@pytest.mark.parametrize("options", [{}, {"num_steps": 3}])
@pytest.mark.parametrize("num_workers", [0, 1])
def test_seek_in_the_body_of_the_last_batch_stays_in_the_epoch_of_the_loop(options: Anything, num_workers: int) -> None:
    options |= {"num_workers": num_workers, "kind": "thread", "prefetch_epochs": True}
    with DistributedLoader(Numbers(12), **grouped(batch_size=4, shuffle="global", **options)) as loader:
        whole = flat(list(loader))
        seen = []
        for batch in loader:
            seen += batch.tolist()
            if len(seen) == 12:
                assert loader.position == (2, 0)
                loader.seek(1)
                assert loader.position == (1, 4)
        assert loader.position == (2, 0)
        assert len(seen) == 20
        assert seen[:12] != whole
        assert seen[12:] == seen[4:12]
        # The loop is over: the next epoch is present.
        loader.seek(1)
        assert loader.position == (2, 4)
        assert len(list(loader)) == 2


def test_seek_behind_the_last_batch_without_a_loop_is_in_the_next_epoch() -> None:
    loader = DistributedLoader(Numbers(8), batch_size=4)
    for batch in loader:
        if batch[0] == 4:
            break
    loader.seek(0)

    assert loader.position == (1, 0)


def test_seek_to_what_is_no_step_is_refused() -> None:
    loader = DistributedLoader(Numbers(8), batch_size=4)

    with pytest.raises(ValueError, match="num_steps must be 0 or more"):
        loader.skip(-1)
    with pytest.raises(TypeError, match="integer"):
        loader.seek(1.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="integer"):
        loader.records(0, 0.5)  # type: ignore[arg-type]


def test_seek_to_a_number_of_numpy_leaves_a_state_that_is_json() -> None:
    loader = DistributedLoader(Numbers(8), batch_size=4)
    loader.seek(np.int64(1))  # type: ignore[arg-type]

    assert json.loads(json.dumps(loader.state_dict()))["samples"] == 4


def test_set_epoch_begins_an_epoch_and_keeps_a_position_loaded_in_it() -> None:
    loader = DistributedLoader(Numbers(12), batch_size=4, shuffle="global")
    loader.set_epoch(2)
    iterator = iter(loader)
    begun = flat([next(iterator)])
    state = loader.state_dict()

    other = DistributedLoader(Numbers(12), batch_size=4, shuffle="global")
    other.load_state_dict(state)
    other.set_epoch(2)
    assert sorted(begun + flat(list(other))) == list(range(12))
    other.set_epoch(5)
    assert other.position == (5, 0)
    with pytest.raises(ValueError, match="epoch must be"):
        other.set_epoch(-1)


def test_fewer_records_than_a_step_with_drop_is_an_empty_epoch_and_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    loader = DistributedLoader(Numbers(5), batch_size=4, tail="drop", rank=0, world_size=2)
    with caplog.at_level(logging.WARNING, logger="splitdata"):
        assert len(loader) == 0
        assert list(loader) == []
        assert list(loader) == []

    assert loader.position == (2, 0)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    with pytest.raises(ValueError, match="nothing to skip"):
        loader.skip(1)


def test_empty_dataset_has_no_batches_and_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    loader = DistributedLoader(Numbers(0), batch_size=4, shuffle="global")
    with caplog.at_level(logging.WARNING, logger="splitdata"):
        assert len(loader) == 0
        assert list(loader) == []

    assert len(caplog.records) == 1
    assert "has no records: its epochs have no batches" in caplog.text


def test_endless_steps_of_no_records_are_refused() -> None:
    loader = DistributedLoader(Numbers(3), order=OrderOptions(num_steps=5), records=RecordOptions(subset=[]))

    with pytest.raises(ValueError, match="num_steps=5 goes on without end, but there are no records"):
        next(iter(loader))


@given(
    num_records=st.integers(1, 40),
    batch_size=st.integers(1, 7),
    world_size=st.integers(1, 5),
    shuffle=st.sampled_from([False, "global", Window(5)]),
    tail=st.sampled_from(["pad", "drop", "keep"]),
)
def test_ranks_share_an_epoch(
    num_records: int, batch_size: int, world_size: int, shuffle: Anything, tail: Anything
) -> None:
    loaders = [
        DistributedLoader(
            Numbers(num_records),
            batch_size=batch_size,
            shuffle=shuffle,
            tail=tail,
            rank=rank,
            world_size=world_size,
        )
        for rank in range(world_size)
    ]
    batches = [list(loader) for loader in loaders]
    counts = Counter(flat([batch for rank in batches for batch in rank]))

    assert [len(rank) for rank in batches] == [len(loader) for loader in loaders]
    if tail == "drop":
        step = batch_size * world_size
        assert sum(counts.values()) == num_records // step * step
        assert not counts or max(counts.values()) == 1
    elif tail == "keep":
        assert counts == Counter(range(num_records))
    else:
        assert set(counts) == set(range(num_records))
        assert sum(counts.values()) - num_records < world_size
    if tail != "keep":
        assert len({len(rank) for rank in batches}) == 1
    for rank, loader in enumerate(loaders):
        for step, batch in enumerate(batches[rank]):
            assert loader.records(0, step).tolist() == batch.tolist()
            assert loaders[0].records(0, step, rank).tolist() == batch.tolist()


def test_records_of_a_step_are_known_without_running_anything() -> None:
    class Untouchable(Numbers):
        def __getitem__(self, index: int) -> int:
            raise AssertionError

    loader = DistributedLoader(Untouchable(100), batch_size=4, shuffle="global", rank=1, world_size=2)

    assert loader.records(7, 3).shape == (4,)
    with pytest.raises(IndexError, match="no step 13"):
        loader.records(0, 13)
    with pytest.raises(IndexError, match="no rank 2"):
        loader.records(0, 0, 2)


def test_contiguous_ranks_read_stretches_of_their_own() -> None:
    ranks = [
        DistributedLoader(
            Numbers(10), batch_size=3, order=OrderOptions(partition="contiguous"), rank=rank, world_size=2
        )
        for rank in range(2)
    ]

    assert [flat(list(loader)) for loader in ranks] == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]


@pytest.mark.parametrize(
    ("subset", "expected"),
    [
        (slice(2, 9, 3), [2, 5, 8]),
        (range(3, 6), [3, 4, 5]),
        ([7, -1, 0], [7, 9, 0]),
        (np.array([1, 1]), [1, 1]),
        (np.arange(10) % 4 == 1, [1, 5, 9]),
        ([], []),
    ],
)
def test_subset_takes_part_in_its_order(subset: Anything, expected: list[int]) -> None:
    assert flat(list(DistributedLoader(Numbers(10), batch_size=2, records=RecordOptions(subset=subset)))) == expected


@pytest.mark.parametrize("subset", [[10], [-11], range(8, 12), np.ones(9, bool)])
def test_subset_beyond_the_dataset_is_refused(subset: Anything) -> None:
    with pytest.raises(IndexError, match="10 records"):
        DistributedLoader(Numbers(10), records=RecordOptions(subset=subset))


def test_splits_by_hash_share_all_records_and_stay_when_data_are_appended() -> None:
    def part(num_records: int, start: float, stop: float) -> list[int]:
        return flat(
            list(
                DistributedLoader(
                    Numbers(num_records), batch_size=7, records=RecordOptions(subset=HashSplit(start, stop))
                )
            )
        )

    small, large = [(part(size, 0.0, 0.8), part(size, 0.8, 1.0)) for size in (100, 300)]
    assert sorted(small[0] + small[1]) == list(range(100))
    assert [[number for number in one if number < 100] for one in large] == list(small)


def test_sampler_decides_the_order_for_all_ranks_together() -> None:
    class Sampler:
        def __init__(self) -> None:
            self.epoch = -1

        def set_epoch(self, epoch: int) -> None:
            self.epoch = epoch

        def __iter__(self) -> Iterator[int]:
            return iter([9, 9, self.epoch, 3])

    ranks = [
        DistributedLoader(Numbers(10), batch_size=1, sampler=Sampler(), rank=rank, world_size=2) for rank in range(2)
    ]
    assert [flat(list(loader)) for loader in ranks] == [[9, 0], [9, 3]]
    assert [flat(list(loader)) for loader in ranks] == [[9, 1], [9, 3]]


@pytest.mark.parametrize("sampler", [[10], [-1], [0.5], [[1]], ["a"]])
def test_sampler_that_gives_no_records_is_refused(sampler: Anything) -> None:
    with pytest.raises((IndexError, TypeError), match="sampler"):
        list(DistributedLoader(Numbers(10), sampler=sampler))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_size": 0}, "batch_size must be 1 or more"),
        ({"batch_size": 1.5}, "batch_size must be an int"),
        ({"shuffle": 1}, 'shuffle must be False, "global"'),
        ({"shuffle": "bins"}, "has bins"),
        ({"seed": -1}, "seed must be"),
        ({"seed": 1.0}, "seed must be"),
        ({"seed": None}, "seed must be"),
        ({"tail": "wrap"}, "tail must be 'pad' or 'drop' or 'keep'"),
        ({"num_workers": -1}, "num_workers must be 0 or more"),
        ({"lanes": 0}, "lanes must be 1 or more"),
        ({"transform": 3}, "transform must be a function"),
        ({"sampler": 5}, "sampler must be iterable, or a function"),
        ({"sampler": [0], "shuffle": "global"}, "leave out shuffle"),
        ({"sampler": [0], "batch_sampler": [[0]]}, "exclude each other"),
        ({"batch_sampler": [[0]], "batch_size": 4}, "leave out batch_size"),
        ({"num_steps": 3, "partition": "contiguous"}, "not with partition"),
        ({"gpu_indices": [0], "num_workers": 2}, "one number for each worker"),
        ({"gpu_indices": ["0"], "num_workers": 1}, "each of gpu_indices must be an int"),
        ({"gpu_indices": [-1], "num_workers": 1}, "each of gpu_indices must be 0 or more"),
        ({"on_error": "ignore"}, "on_error must be"),
        ({"start_method": "clone"}, "start_method must be one of"),
        ({"timeout": -1}, "timeout must be above 0"),
        ({"stall_warning": "soon"}, "stall_warning must be a number"),
    ],
)
def test_option_that_makes_no_sense_is_refused_at_once(options: dict[str, Any], words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        DistributedLoader(Numbers(10), **grouped(**options))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"drop_last": True}, r'has no drop_last: instead of drop_last use tail="drop"'),
        ({"prefetch_factor": 4}, r"instead of prefetch_factor use workers=WorkerOptions\(prefetch=\.\.\.\)"),
        ({"persistent_workers": True}, "instead of persistent_workers use nothing, workers always stay"),
        ({"pin_memory_device": "cuda"}, "use device="),
        ({"multiprocessing_context": "spawn"}, r"use workers=WorkerOptions\(start_method="),
        ({"generator": None}, "use seed="),
        ({"num_replicas": 2}, "use world_size="),
        ({"collate": list}, "use collate_fn="),
        ({"worker_init_fn": print}, r"use workers=WorkerOptions\(init_fn="),
        ({"in_order": False}, r"instead of in_order use workers=WorkerOptions\(in_order=\.\.\.\)"),
        (
            {"lanes": 2, "with_keys": True},
            r"use order=OrderOptions\(lanes=.*; .* use records=RecordOptions\(with_keys=",
        ),
        ({"subset": [1]}, r"use records=RecordOptions\(subset="),
        ({"workers": 2}, "workers must be WorkerOptions, .*how many there are is num_workers=, got 2"),
        ({"order": "global"}, "order must be OrderOptions, .*got 'global'"),
        ({"records": [1]}, r"records must be RecordOptions, .*subset=slice.*, got \[1\]"),
        (
            {"drop_last": True, "generator": 1},
            "no drop_last and no generator: instead .*; instead of generator use seed=",
        ),
        # What nobody knows is Python's to refuse.
        ({"no_such_option": 1}, "unexpected keyword argument 'no_such_option'"),
    ],
)
def test_word_of_torch_is_answered_with_ours(options: dict[str, Any], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        DistributedLoader(Numbers(10), **options)


def test_signature_is_the_one_that_is_written() -> None:
    parameters = inspect.signature(DistributedLoader).parameters

    # LoaderOptions takes them by their names.
    assert list(parameters) == ["dataset", *(field.name for field in dataclasses.fields(LoaderOptions))]
    # What few need is in the option classes.
    assert len(parameters) <= 21
    assert all(one.kind is not one.VAR_KEYWORD for one in parameters.values())


def test_shuffle_true_is_the_uniform_order() -> None:
    one, other = (DistributedLoader(Numbers(50), batch_size=8, shuffle=shuffle) for shuffle in (True, "global"))

    assert flat(list(one)) == flat(list(other))
    assert one.state_dict() == other.state_dict()


@pytest.mark.parametrize(("num_workers", "num_warnings"), [(0, 1), (1, 0)])
def test_timeout_without_workers_is_a_warning(
    caplog: pytest.LogCaptureFixture, num_workers: int, num_warnings: int
) -> None:
    with caplog.at_level(logging.WARNING, logger="splitdata"):
        loader = DistributedLoader(
            Numbers(4), timeout=5.0, num_workers=num_workers, workers=WorkerOptions(kind="thread")
        )
        with loader:
            assert flat(list(loader)) == [0, 1, 2, 3]
            pickle.loads(pickle.dumps(loader))

    assert [record.getMessage()[:37] for record in caplog.records] == [
        "timeout=5.0 has no effect with num_wo"
    ] * num_warnings


@pytest.mark.parametrize("dataset", [3, None, object()])
def test_what_is_no_dataset_is_refused(dataset: Anything) -> None:
    with pytest.raises(TypeError, match="a dataset is a path"):
        DistributedLoader(dataset)


@pytest.mark.parametrize("dataset", [lambda: iter([1]), lambda: {1, 2}])
def test_stream_is_refused_with_what_to_do(dataset: Anything) -> None:
    with pytest.raises(TypeError, match=r"a dataset has a length .* has no __.*MpQItr"):
        DistributedLoader(dataset)


def test_factory_is_called_for_the_dataset() -> None:
    assert flat(list(DistributedLoader(lambda: Numbers(5), batch_size=2))) == [0, 1, 2, 3, 4]


def test_dataset_with_batched_fetch_is_asked_for_batches() -> None:
    class Batched(Numbers):
        def __getitems__(self, indices: list[int]) -> list[int]:
            assert type(indices) is list
            return [-index for index in indices]

    assert flat(list(DistributedLoader(Batched(5), batch_size=2))) == [0, -1, -2, -3, -4]


def test_batched_fetch_of_another_length_is_refused() -> None:
    class Short(Numbers):
        def __getitems__(self, indices: list[int]) -> list[int]:
            return indices[:1]

    with pytest.raises(ValueError, match="returned 1 records for 2 numbers"):
        list(DistributedLoader(Short(5), batch_size=2))


def test_generator_of_a_transform_depends_on_seed_epoch_and_record_alone() -> None:
    def draw(record: int, rng: np.random.Generator) -> tuple[int, int]:
        return record, int(rng.integers(1 << 62))

    def draws(**options: Anything) -> dict[int, int]:
        loader = DistributedLoader(Numbers(20), **grouped(transform=draw, collate_fn=list, **options))
        return dict(sample for batch in loader for sample in batch)

    alone = draws(batch_size=1)
    assert draws(batch_size=7, shuffle="global") == alone
    assert len(set(alone.values())) == 20
    assert set(draws(batch_size=1, seed=1).values()).isdisjoint(alone.values())


def test_random_state_of_the_user_is_left_alone() -> None:
    random.seed(5)
    np.random.seed(5)
    before = random.getstate(), pickle.dumps(np.random.get_state())
    list(DistributedLoader(Numbers(20), batch_size=3, shuffle="global", transform=lambda record, rng: rng.random()))

    assert (random.getstate(), pickle.dumps(np.random.get_state())) == before


def test_pickled_loader_carries_configuration_and_position() -> None:
    loader = DistributedLoader(Numbers(10), batch_size=4, shuffle="global", rank=0, world_size=1)
    next(iter(loader))
    copy = pickle.loads(pickle.dumps(loader))

    assert copy.position == loader.position
    assert flat(list(copy.resume())) == flat(list(loader.resume()))


def test_copied_loader_has_a_position_of_its_own() -> None:
    loader = DistributedLoader(Numbers(10), batch_size=4)
    copied = copy.copy(loader)
    next(iter(loader))

    assert (loader.position, copied.position) == ((0, 4), (0, 0))


def test_start_on_another_device_ends_the_iterator_and_goes_on_behind_it() -> None:
    loader = DistributedLoader(Numbers(12), batch_size=4)
    iterator = iter(loader)
    next(iterator)
    # Nothing is sent there before the next batch, so torch need not be installed.
    loader.start(device="cpu")

    with pytest.raises(ClosedError, match="was ended by start"):
        next(iterator)
    assert loader.position == (0, 4)


def test_time_stands_still_behind_a_loop_that_a_skip_has_ended() -> None:
    loader = DistributedLoader(Numbers(12), batch_size=4)
    for _ in loader:
        loader.skip(3)

    assert loader.stats().seconds == loader.stats().seconds


def test_loader_pickled_before_the_ranks_exist_becomes_any_rank() -> None:
    loader = DistributedLoader(Numbers(10), batch_size=4)
    copies = [pickle.loads(pickle.dumps(loader)) for _ in range(2)]
    for rank, one in enumerate(copies):
        one.start(rank=rank, world_size=2)

    assert [flat(list(copy)) for copy in copies] == [[0, 2, 4, 6, 8], [1, 3, 5, 7, 9]]
    with pytest.raises(ValueError, match="cannot become rank 1"):
        copies[0].start(rank=1, world_size=2)


def test_closed_loader_refuses_to_iterate_and_still_tells_its_state() -> None:
    with DistributedLoader(Numbers(10), batch_size=4) as loader:
        iterator = iter(loader)
        next(iterator)

    with pytest.raises(ClosedError, match="was closed"):
        next(iterator)
    with pytest.raises(ClosedError, match="is closed"):
        iter(loader)
    assert loader.state_dict()["samples"] == 4
    loader.close()


def test_interrupted_batch_is_made_again() -> None:
    interruptions = iter([True, False])

    class Interrupted(Numbers):
        def __getitem__(self, index: int) -> int:
            if index == 5 and next(interruptions, False):
                raise KeyboardInterrupt
            return index

    iterator = iter(DistributedLoader(Interrupted(10), batch_size=4))
    seen = flat([next(iterator)])
    with pytest.raises(KeyboardInterrupt):
        next(iterator)
    seen += flat(list(iterator))

    assert seen == list(range(10))


def test_several_loaders_go_side_by_side() -> None:
    loaders = [DistributedLoader(Numbers(20), batch_size=3, shuffle="global", seed=seed) for seed in range(3)]
    apart = [flat(list(loader)) for loader in loaders]
    together = list(
        zip(*(DistributedLoader(Numbers(20), batch_size=3, shuffle="global", seed=s) for s in range(3)), strict=True)
    )

    assert [flat([step[n] for step in together]) for n in range(3)] == apart


def test_views_reach_the_transform_and_their_bytes_the_batch(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "data") as writer:
        writer.write_many([bytes([number]) * 100 for number in range(10)])
    kinds: set[type] = set()

    def first(record: memoryview) -> int:
        kinds.add(type(record))
        return record[0]

    loader = DistributedLoader(tmp_path / "data", batch_size=4, transform=first, records=RecordOptions(as_views=True))
    assert flat(list(loader)) == list(range(10))
    assert kinds == {memoryview}
    with pytest.raises(ValueError, match="Numbers has none"):
        DistributedLoader(Numbers(3), records=RecordOptions(as_views=True))


@pytest.mark.parametrize(
    ("options", "name"),
    [({"transform": functools.partial(pow, threading.Lock())}, "transform.args"), ({}, "dataset.lock")],
)
def test_what_cannot_be_sent_to_a_worker_is_called_as_the_user_calls_it(options: Anything, name: str) -> None:
    dataset = Numbers(4)
    if not options:
        vars(dataset)["lock"] = threading.Lock()
    loader = DistributedLoader(dataset, **grouped(num_workers=1, **options))

    with pytest.raises(TypeError, match=rf"^cannot send {name}.*_thread\.lock.*No process was started"):
        next(iter(loader))


def test_path_of_a_dataset_of_samples_gives_samples(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "data") as writer:
        for number in range(10):
            writer.write_sample({"number": number, "row": np.full(3, number, np.float32)})

    batches = list(DistributedLoader(tmp_path / "data", batch_size=4, shuffle="bins"))
    assert sorted(flat([batch["number"] for batch in batches])) == list(range(10))
    assert batches[0]["row"].shape == (4, 3)
    raw = DistributedLoader(tmp_path / "data", batch_size=4, records=RecordOptions(as_views=True))
    assert all(isinstance(record, bytes) for batch in raw for record in batch)
