"""A loader in torchdata: its StatefulDataLoader, and pipelines of nodes, stopped and resumed at every batch."""

from __future__ import annotations

import json
from typing import Any

import pytest

from splitdata import SplitDataLoader
from tests.interop.stream import NUM_RECORDS, Samples, expected, interleaved, make_loader, samples_of

torchdata: Any = pytest.importorskip("torchdata.nodes")
stateful: Any = pytest.importorskip("torchdata.stateful_dataloader")

# What torchdata 0.11 asks of torch 2.13.
pytestmark = pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning")


def nodes_of(path: str, **options: Any) -> Any:
    from splitdata.interop.torchdata import LoaderNode

    return torchdata.Loader(LoaderNode(make_loader(path, **options)))


def prefetching_nodes_of(path: str, **options: Any) -> Any:
    from splitdata.interop.torchdata import LoaderNode

    mapped = torchdata.Mapper(LoaderNode(make_loader(path, **options)), lambda batch: batch)
    return torchdata.Loader(torchdata.Prefetcher(mapped, prefetch_factor=3))


def stateful_of(path: str, **options: Any) -> Any:
    from splitdata.interop.torch import as_iterable

    return stateful.StatefulDataLoader(as_iterable(make_loader(path, **options)), batch_size=None)


@pytest.mark.parametrize("make", [nodes_of, prefetching_nodes_of, stateful_of])
class TestLoaderInTorchdata:
    def test_gives_one_epoch_after_the_other(self, path: str, make: Any) -> None:
        batches = make(path)

        assert samples_of([*batches, *batches]) == expected(path, 2)

    @pytest.mark.parametrize("num_batches", [1, 6, 13, 14, 17])
    def test_resumes_behind_the_last_batch_by_its_own_state(self, path: str, make: Any, num_batches: int) -> None:
        first = make(path)
        taken: list[Any] = []
        state: Any = None
        while len(taken) < num_batches:
            for batch in first:
                taken.append(batch)
                state = first.state_dict()
                if len(taken) == num_batches:
                    break
        second = make(path)

        second.load_state_dict(json.loads(json.dumps(state)))
        # A state behind the last batch of an epoch belongs to that epoch: it is over first.
        rest = samples_of(second) or samples_of(second)

        everything = expected(path, 2)
        end = NUM_RECORDS if num_batches < 14 else 2 * NUM_RECORDS
        assert samples_of(taken) + rest == everything[:end]

    @pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (2, 3)])
    def test_resumes_at_another_world_size_by_its_own_state(
        self, path: str, make: Any, before: int, after: int
    ) -> None:
        taken: list[Samples] = []
        states: list[str] = []
        for rank in range(before):
            batches = make(path, rank=rank, world_size=before)
            running = iter(batches)
            taken.append(samples_of(next(running) for _ in range(5)))
            states.append(json.dumps(batches.state_dict(), sort_keys=True))
        rest: list[Samples] = []
        for rank in range(after):
            batches = make(path, rank=rank, world_size=after)
            batches.load_state_dict(json.loads(states[0]))
            rest.append(samples_of(batches))

        # Of any rank, as it is the same on all of them.
        assert len(set(states)) == 1
        seen = interleaved(taken)
        # Position p belongs to rank p mod world size.
        first = len(seen) % after
        assert (seen + interleaved(rest[first:] + rest[:first]))[:NUM_RECORDS] == expected(path)


def test_reader_in_a_stateful_loader_resumes_by_its_own_state(path: str) -> None:
    def make() -> Any:
        return stateful.StatefulDataLoader(SplitDataLoader(path), batch_size=4, collate_fn=list)

    first = make()
    running = iter(first)
    taken = [next(running) for _ in range(5)]
    second = make()

    second.load_state_dict(first.state_dict())

    assert [*taken, *second] == [*make()]
