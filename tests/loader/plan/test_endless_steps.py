"""num_steps: one stream of samples, cut into epochs; nothing repeats or is left out at a cut."""

from __future__ import annotations

import pytest

from splitdata.loader.distributed_loader import DistributedLoader
from splitdata.loader.option_groups import OrderOptions

FIVE = OrderOptions(num_steps=5)


def numbers(loader: DistributedLoader) -> list[int]:
    return [int(number) for batch in loader for number in batch]


def test_set_epoch_at_the_beginning_of_an_epoch_keeps_the_place_in_the_stream() -> None:
    data = list(range(100))
    loader = DistributedLoader(data, batch_size=4, order=FIVE)
    iterator = iter(loader)
    seen = [*next(iterator).tolist(), *next(iterator).tolist()]
    # With batches of three the epoch ends elsewhere than five steps of three from its beginning.
    again = DistributedLoader(data, batch_size=3, order=FIVE)
    again.load_state_dict(loader.state_dict())
    for epoch in range(3):
        again.set_epoch(epoch)
        seen += numbers(again)

    assert seen == list(range(len(seen)))
    assert len(seen) > 30


@pytest.mark.parametrize("change", [1, -1])
def test_sampler_of_varying_length_is_refused(change: int) -> None:
    loader = DistributedLoader(range(100), batch_size=4, order=FIVE, sampler=lambda epoch: range(10 + change * epoch))

    with pytest.raises(ValueError, match=f"it gave 10 in epoch 0 and {10 + change} in epoch 1"):
        numbers(loader)


def test_sampler_of_one_length_may_give_other_records_in_each_pass() -> None:
    loader = DistributedLoader(
        range(100),
        batch_size=4,
        order=FIVE,
        sampler=lambda epoch: range(10 * epoch, 10 * epoch + 10),
    )

    assert numbers(loader) + numbers(loader) == list(range(40))


@pytest.mark.parametrize("num_steps", [None, 3])
@pytest.mark.parametrize("begun", [0, 2])
def test_skip_of_many_epochs_is_where_single_steps_lead(num_steps: int | None, begun: int) -> None:
    for skipped in range(24):
        one, other = (
            DistributedLoader(range(20), batch_size=3, order=OrderOptions(num_steps=num_steps)) for _ in range(2)
        )
        for loader in (one, other):
            loader.skip(begun)
        one.skip(skipped)
        for _ in range(skipped):
            other.skip(1)

        assert one.state_dict() == other.state_dict()


def test_skip_of_a_billion_steps_walks_through_no_epochs() -> None:
    loader = DistributedLoader(range(50_000), batch_size=7_000, shuffle="global")
    # One epoch costs milliseconds: a walk through a hundred million would not end.
    loader.skip(10**9 + 3)

    assert loader.position == (10**9 // 8, 3 * 7_000)


def test_skip_asks_a_sampler_for_each_epoch() -> None:
    loader = DistributedLoader(range(20), sampler=lambda epoch: range(epoch + 1))
    loader.skip(1 + 2 + 3 + 1)

    assert loader.position == (3, 1)
