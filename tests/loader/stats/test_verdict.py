"""The verdict against planted bottlenecks: it names the right one, and what it promises comes true when followed."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from splitdata.loader.stats.meter import StatsMeter
from tests.loader.planted import Clock, Plant

COMPUTES = (1.0, 0.98)
SLEEPS = (1.0, 0.02)


def promised(verdict: str, advice: str) -> float:
    """Return how many times as fast the advice makes training, by the verdict."""
    match = re.search(rf"{advice}[^;]*?(?:up to ([0-9.]+)|(8)) times as fast", verdict)
    assert match is not None, verdict
    return float(match[1] or match[2])


def workers_advised(verdict: str) -> int:
    match = re.search(r"num_workers=([0-9]+)", verdict)
    assert match is not None, verdict
    return int(match[1])


@pytest.mark.parametrize(
    "plant",
    [
        Plant(),
        # The loop is what takes the time.
        Plant(training=1.0, transform=COMPUTES),
        Plant(transform=COMPUTES, hits=1.0, cache=(0.05, 0.04)),
        Plant(transform=COMPUTES, num_workers=12, num_cores=16),
    ],
)
def test_loader_that_is_ahead_is_told_so(plant: Plant) -> None:
    assert plant.stats().verdict == "The loader is ahead: training waits 0.0 % of the time."


@pytest.mark.parametrize(
    ("plant", "names"),
    [
        (Plant(read=SLEEPS), "in read, where they wait for the disk (2 of 2 busy): num_workers=11, "),
        (Plant(transform=SLEEPS), "in transform, where they wait for a disk, a network or a sleep (2 of 2 busy): "),
        (Plant(transform=SLEEPS, num_cores=1), "in transform, where they wait for a disk, a network or a sleep"),
        (Plant(transform=COMPUTES), "in transform (2 of 2 busy): num_workers=8, "),
        (Plant(collate=(0.6, 0.6)), "in collate (2 of 2 busy): num_workers=7, "),
        (Plant(send=0.6), "in send (2 of 2 busy): num_workers=7, "),
        (Plant(hits=1.0, cache=(0.5, 0.04)), "in cache, where they wait for the disk of the cache (2 of 2 busy): num_"),
        (Plant(transform=SLEEPS, worker_kind="thread"), "a sleep (2 of 2 busy): num_workers=11, "),
    ],
)
def test_more_workers_are_advised_where_they_help_and_bring_what_was_promised(plant: Plant, names: str) -> None:
    verdict = plant.stats().verdict
    assert names in verdict
    followed = replace(plant, num_workers=workers_advised(verdict))

    gain = plant.seconds_per_batch() / followed.seconds_per_batch()

    assert gain > 1.5
    assert promised(verdict, "num_workers") == pytest.approx(gain, rel=0.1)


@pytest.mark.parametrize("transform", [COMPUTES, SLEEPS])
@pytest.mark.parametrize(("training", "num_cores"), [(0.5, 8), (1.2, 2), (3.0, 8)])
def test_process_without_workers_is_told_how_many_hide_the_work(
    transform: tuple[float, float], training: float, num_cores: int
) -> None:
    plant = Plant(num_workers=0, transform=transform, training=training, num_cores=num_cores)
    verdict = plant.stats().verdict
    followed = replace(plant, num_workers=workers_advised(verdict))

    assert promised(verdict, "num_workers") == pytest.approx(
        plant.seconds_per_batch() / followed.seconds_per_batch(), rel=0.1
    )
    assert followed.stats().waiting_share < 0.05


@pytest.mark.parametrize(
    ("plant", "names"),
    [
        (Plant(transform=COMPUTES, num_cores=2), "and they use 2.0 of 2 cores, so more workers would not help: make"),
        (Plant(collate=(0.9, 0.9), num_cores=2), "in collate (2 of 2 busy), and they use 2.0 of 2 cores"),
        (Plant(transform=COMPUTES, num_workers=8, num_cores=2), "and 74 % of their time no core is free for them"),
        # Others take them: this process sees eight.
        (Plant(transform=COMPUTES, num_workers=8, others=3), "and 74 % of their time no core is free for them"),
        (Plant(transform=COMPUTES, num_workers=8, num_cores=2, shows_starved=False), "all cores are in use"),
    ],
)
def test_more_workers_are_never_advised_where_cores_are_missing(plant: Plant, names: str) -> None:
    verdict = plant.stats().verdict

    assert names in verdict
    assert "num_workers=" not in verdict
    assert "wait for a disk" not in verdict
    more = replace(plant, num_workers=2 * plant.num_workers)
    assert plant.seconds_per_batch() / more.seconds_per_batch() < 1.05


def test_cheaper_transform_brings_what_was_promised() -> None:
    plant = Plant(transform=COMPUTES, num_cores=2)
    followed = replace(plant, transform=(0.0, 0.0))

    gain = plant.seconds_per_batch() / followed.seconds_per_batch()

    assert promised(plant.stats().verdict, "make the transform cheaper") == pytest.approx(gain, rel=0.1)


def test_transform_that_sleeps_is_told_to_wait_less_and_that_threads_will_do() -> None:
    verdict = Plant(transform=SLEEPS).stats().verdict

    assert "(threads will do: WorkerOptions(kind='thread'))" in verdict
    assert "let the transform wait less" in verdict
    assert "cheaper" not in verdict


def test_threads_that_hold_up_the_loop_as_well_are_told_to_be_processes() -> None:
    plant = Plant(transform=COMPUTES, num_workers=4, worker_kind="thread", interpreter=True)
    stats = plant.stats()
    # Half as much of the time they had something to do.
    slowed = replace(stats, seconds=1.4 * stats.seconds, waiting_seconds=0.2 * stats.seconds)

    assert "0 of 4 busy), and threads compute one by one: WorkerOptions(kind='process')" in slowed.verdict


def test_threads_that_share_the_interpreter_are_told_to_be_processes() -> None:
    plant = Plant(transform=COMPUTES, num_workers=4, worker_kind="thread", interpreter=True)
    verdict = plant.stats().verdict
    followed = replace(plant, worker_kind="process", interpreter=False)

    assert "and threads compute one by one" in verdict
    assert promised(verdict, r"WorkerOptions\(kind='process'\)") == pytest.approx(
        plant.seconds_per_batch() / followed.seconds_per_batch(), rel=0.1
    )


@pytest.mark.parametrize(
    ("plant", "names", "change"),
    [
        (Plant(transfer=(0.5, 0.1)), "100 % of that is the transfer to the device", {"transfer": (0.0, 0.0)}),
        (Plant(uses=2, rotation_collate=0.5), "collating in this process, where Rotation", {"rotation_collate": 0.0}),
    ],
)
def test_what_the_loop_itself_does_is_named(plant: Plant, names: str, change: dict[str, object]) -> None:
    verdict = plant.stats().verdict
    followed = replace(plant, **change)  # type: ignore[arg-type]

    assert names in verdict
    assert promised(verdict, "without it") == pytest.approx(
        plant.seconds_per_batch() / followed.seconds_per_batch(), rel=0.1
    )


def test_cache_that_fills_says_what_the_next_epoch_will_bring() -> None:
    filling = Plant(transform=COMPUTES, hits=0.0, cache=(0.05, 0.04))
    verdict = filling.stats().verdict
    filled = replace(filling, hits=1.0)

    assert "the cache is being filled, 100 % of the samples are computed" in verdict
    assert promised(verdict, "will be") == pytest.approx(
        filling.seconds_per_batch() / filled.seconds_per_batch(), rel=0.1
    )


def test_epochs_of_a_cache_are_judged_one_by_one() -> None:
    clock = Clock()
    meter = StatsMeter(2, clock=clock)
    filling = Plant(transform=COMPUTES, hits=0.0, cache=(0.05, 0.04))
    filling.count(meter, clock, epoch=0)
    for epoch in (1, 2):
        replace(filling, hits=1.0).count(meter, clock, epoch=epoch)

    assert "the cache is being filled" in meter.stats(0).verdict
    assert meter.stats(2).verdict.startswith("The loader is ahead")
    assert "the cache was filled meanwhile, so epochs differ: see stats(epoch=2)" in meter.stats().verdict


def test_cache_that_is_full_is_told_for_more_room() -> None:
    plant = Plant(transform=COMPUTES, hits=0.4, cache=(0.05, 0.04), problem="no room")
    verdict = plant.stats().verdict

    assert "the cache takes no more samples, and 60 % are computed each time: give it more room" in verdict
    followed = replace(plant, hits=1.0)
    assert promised(verdict, "with all of them") == pytest.approx(
        plant.seconds_per_batch() / followed.seconds_per_batch(), rel=0.1
    )


@pytest.mark.parametrize(("uses", "times"), [(2, 4), (3, 6)])
def test_rotation_is_told_how_often_to_use_a_sample(uses: int, times: int) -> None:
    plant = Plant(transform=COMPUTES, uses=uses, num_cores=2, training=0.05)
    verdict = plant.stats().verdict
    followed = replace(plant, uses=times)

    assert f"or use each sample more often: Rotation(times={times})" in verdict
    assert promised(verdict, "Rotation") == pytest.approx(
        plant.seconds_per_batch() / followed.seconds_per_batch(), rel=0.1
    )


def test_computing_transform_is_told_what_a_cache_would_save() -> None:
    plant = Plant(transform=COMPUTES, num_cores=2)
    verdict = plant.stats().verdict

    assert "or keep its results: Cache, from the second epoch on" in verdict
    assert promised(verdict, "Cache") == pytest.approx(
        plant.seconds_per_batch() / replace(plant, hits=1.0).seconds_per_batch(), rel=0.1
    )


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({"num_batches": 9}, "Too early to tell: 9 batches, 10 are needed."),
        # Nothing is wrong with a long first start.
        (
            {"seconds": 200.0, "launch_seconds": 179.0, "waiting_seconds": 0.1},
            "The loader is ahead: training waits 0.5 % of the time.",
        ),
        (
            {"num_epochs": 40, "starting_seconds": 15.0, "seconds": 35.0, "waiting_seconds": 1.0},
            "Training waits 43 % of the time for the first batch of an epoch: make epochs longer, or let workers begin "
            "the next one early (WorkerOptions(prefetch_epochs=True)).",
        ),
    ],
)
def test_starts_and_short_runs_are_told_apart(change: dict[str, float], verdict: str) -> None:
    assert replace(Plant().stats(), **change).verdict == verdict  # type: ignore[arg-type]


def test_workers_that_have_time_are_told_that_batches_come_late() -> None:
    stats = replace(Plant(num_workers=4).stats(), waiting_seconds=8.0)

    assert "0 of 4 workers are busy, so single batches come late: let more be made ahead" in stats.verdict


def test_time_of_the_launch_does_not_make_workers_idle() -> None:
    stats = Plant(transform=COMPUTES).stats()
    launched = replace(stats, seconds=2 * stats.seconds, launch_seconds=stats.seconds)

    assert "(2 of 2 busy)" in launched.verdict
