"""Mixtures in the loader: exact shares, exact resume anywhere, a future that may change and a past that may not."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitdata import (
    Cache,
    DistributedLoader,
    Mixture,
    OrderOptions,
    RecordOptions,
    SplitDataLoader,
    SplitWriter,
    StateMismatchError,
    Window,
)
from splitdata.loader.rotation.rotation_options import Rotation
from tests.loader.grouped import grouped
from tests.loader.resume_harness import Endless, LoaderMaker, examine, noisy

COUNTS = {"web": 31, "code": 11, "math": 5}
WEIGHTS = {"web": 0.6, "code": 0.3, "math": 0.1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mixture")
    for source, (name, count) in enumerate(COUNTS.items()):
        with SplitWriter(root / name, bins=3) as writer:
            for number in range(count):
                writer.write((1000 * source + number).to_bytes(8, "little"), key=f"{name}/{number}")
    return root


def mixture(folder: Path, weights: dict[str, float] = WEIGHTS, **options: Any) -> Mixture:
    return Mixture({name: (folder / name, weight) for name, weight in weights.items()}, **options)


def number_of(record: bytes) -> int:
    return int.from_bytes(record[:8], "little")


def stream(loader: DistributedLoader, num_samples: int) -> list[Any]:
    found: list[Any] = []
    while len(found) < num_samples:
        for batch in loader:
            found += batch
    return found[:num_samples]


MODES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "in order": ({}, {}),
    "global": ({"shuffle": "global"}, {}),
    "window": ({"shuffle": Window(4)}, {}),
    "bins": ({"shuffle": "bins", "interleave": 2}, {}),
    "until last": ({"shuffle": "global"}, {"until": "last"}),
    "until a number": ({"shuffle": "global"}, {"until": 37}),
    "schedule": (
        {"shuffle": "global"},
        {"until": 50, "schedule": [(33, {"web": 1, "math": 1}), (70, {"code": 2, "web": 1})]},
    ),
    "rotation": ({"shuffle": "global", "rotation": Rotation(2, 5), "lanes": 2}, {"until": 40}),
}


def maker(folder: Path, mode: str, num_steps: int | None = None) -> LoaderMaker:
    options, mixing = MODES[mode]

    def make(*, rank: int | None, world_size: int | None, batch_size: int, num_workers: int) -> DistributedLoader:
        return DistributedLoader(
            mixture(folder, **mixing),
            **grouped(
                rank=rank,
                world_size=world_size,
                batch_size=batch_size,
                num_workers=num_workers,
                transform=noisy,
                collate_fn=list,
                **options | ({} if num_steps is None else {"num_steps": num_steps}),
            ),
        )

    return make


@pytest.mark.parametrize("mode", MODES)
def test_mixture_resumes_exactly_at_any_world_size_and_batch_size(folder: Path, mode: str) -> None:
    assert sum(examine(maker(folder, mode), seed=seed, num_actions=80) for seed in range(2)) > 6


@pytest.mark.parametrize("mode", ["global", "schedule"])
def test_mixture_of_endless_steps_resumes_exactly(folder: Path, mode: str) -> None:
    make = maker(folder, mode, num_steps=7)
    assert sum(examine(make, seed=seed, num_actions=80, course=Endless(7)) for seed in range(2)) > 6


@pytest.mark.slow
def test_mixture_resumes_exactly_with_workers(folder: Path) -> None:
    assert examine(maker(folder, "schedule"), seed=0, num_actions=25, world_sizes=(1, 2), workers=(0, 2)) > 1


def test_shares_are_exact_and_each_source_gives_all_its_records_before_it_repeats(folder: Path) -> None:
    loader = DistributedLoader(mixture(folder), batch_size=10, shuffle=True, transform=number_of, collate_fn=list)
    found = stream(loader, 1000)

    for place in range(0, 1000, 7):
        counts = Counter(number // 1000 for number in found[:place])
        assert all(abs(counts[source] - share * place) < 2 for source, share in enumerate((0.6, 0.3, 0.1)))
    for source, count in enumerate(COUNTS.values()):
        mine = [number % 1000 for number in found if number // 1000 == source]
        for begin in range(0, len(mine) - count + 1, count):
            assert sorted(mine[begin : begin + count]) == list(range(count))


def test_period_of_the_step_gives_each_step_exact_counts(folder: Path) -> None:
    loader = DistributedLoader(
        mixture(folder, period=20), batch_size=20, shuffle=True, transform=number_of, collate_fn=list, tail="drop"
    )
    for batch in loader:
        assert Counter(number // 1000 for number in batch) == {0: 12, 1: 6, 2: 2}


def test_epoch_until_first_repeats_nothing_and_until_last_has_everything(folder: Path) -> None:
    def epoch(**options: Any) -> list[int]:
        loader = DistributedLoader(
            mixture(folder, **options), batch_size=7, shuffle=True, transform=number_of, collate_fn=list
        )
        return [number for batch in loader for number in batch]

    first, last = epoch(), epoch(until="last")
    assert len(first) == len(set(first)) == 39
    assert len(set(last)) == sum(COUNTS.values())
    assert last[: len(first)] == first


def test_record_that_comes_twice_in_an_epoch_is_transformed_with_other_random_numbers(folder: Path) -> None:
    loader = DistributedLoader(mixture(folder, until=200), batch_size=8, shuffle=True, transform=noisy, collate_fn=list)
    found = [sample for batch in loader for sample in batch]

    assert len({number for number, _ in found}) == sum(COUNTS.values())
    assert len({draws for _, draws in found}) == 200


def test_source_is_given_beside_the_record_and_batches_carry_it(folder: Path) -> None:
    def transform(sample: tuple[bytes, int]) -> dict[str, int]:
        record, source = sample
        return {"number": number_of(record), "source": source}

    loader = DistributedLoader(mixture(folder, with_source=True), batch_size=8, shuffle=True, transform=transform)
    batch = next(iter(loader))

    assert batch["source"].dtype == np.int64
    assert (batch["number"] // 1000 == batch["source"]).all()


def test_mixture_reads_as_the_sources_end_to_end(folder: Path) -> None:
    mixed = mixture(folder)
    everything = [1000 * source + number for source, count in enumerate(COUNTS.values()) for number in range(count)]

    assert [number_of(mixed[place]) for place in range(len(mixed))] == everything
    assert list(map(number_of, mixed.__getitems__([40, -1, 0, 40]))) == [everything[place] for place in (40, -1, 0, 40)]
    assert [mixed.key(place) for place in (0, 31, -1)] == ["web/0", "code/0", "math/4"]
    assert [number_of(record) for record in pickle.loads(pickle.dumps(mixed)).__getitems__([45])] == [everything[45]]
    for place in (len(mixed), -len(mixed) - 1):
        with pytest.raises(IndexError, match="there are 47 records"):
            mixed[place]


def at(folder: Path, num_samples: int, mixed: Mixture, **options: Any) -> dict[str, Any]:
    """Return the state behind so many samples."""
    loader = DistributedLoader(mixed, batch_size=1, shuffle=True, order=OrderOptions(num_steps=1000), **options)
    loader.skip(num_samples)
    state: dict[str, Any] = json.loads(json.dumps(loader.state_dict()))
    return state


def loaded(state: dict[str, Any], mixed: Mixture) -> list[Any]:
    loader = DistributedLoader(
        mixed, batch_size=1, shuffle=True, order=OrderOptions(num_steps=1000), transform=noisy, collate_fn=list
    )
    loader.load_state_dict(state)
    return stream(loader, 60)


def test_future_of_a_schedule_may_change_and_sources_may_join_and_leave(folder: Path, tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "late") as writer:
        writer.write_many([(9000 + number).to_bytes(8, "little") for number in range(9)])
    old = mixture(folder, schedule=[(50, {"web": 1, "code": 1})])
    state = at(folder, 50, old)

    sources = {name: (folder / name, WEIGHTS[name]) for name in COUNTS} | {"late": (tmp_path / "late", 0)}
    changed = Mixture(sources, schedule=[(50, {"late": 1, "math": 1})])
    got = loaded(state, changed)

    assert Counter(number // 1000 for number, _ in got) == {9: 30, 2: 30}
    late = [number for number, _ in got if number >= 9000]
    assert sorted(late[:9]) == list(range(9000, 9009))


def test_weights_that_move_by_a_function_are_followed_and_take_no_room_in_a_state(folder: Path) -> None:
    def weights(position: int) -> dict[str, float]:
        return {"web": 1 - position / 1000, "code": position / 1000}

    def annealed(until: int) -> Mixture:
        return mixture(folder, weights(0), schedule=[(n, weights(n)) for n in range(10, until, 10)])

    counts = annealed(1000).counts(900)
    assert counts["code"] == pytest.approx(400, abs=10)
    state = at(folder, 500, annealed(1000))
    assert len(json.dumps(state)) < 1024
    # Of what lies ahead nothing is known yet.
    assert loaded(state, annealed(510)) != loaded(state, annealed(1000))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"weights": {"web": 0.5, "code": 0.4, "math": 0.1}}, "stages"),
        ({"schedule": [(49, {"web": 1})]}, "stages"),
        ({"weights": {"code": 0.3, "web": 0.6, "math": 0.1}}, "stages"),
        ({"weights": {"web": 0.6, "code": 0.3}}, "sources"),
    ],
)
def test_past_of_a_schedule_may_not_change(folder: Path, change: dict[str, Any], named: str) -> None:
    state = at(folder, 50, mixture(folder))

    with pytest.raises(StateMismatchError, match=rf"another one before its position(?s:.*)\n  '{named}'"):
        loaded(state, mixture(folder, **change))


def test_source_that_has_grown_is_refused_if_it_had_a_share(folder: Path, tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "math") as writer:
        writer.write_many([number.to_bytes(8, "little") for number in range(6)])
    sources = {name: (folder / name, weight) for name, weight in WEIGHTS.items()}
    state = at(folder, 50, mixture(folder))

    with pytest.raises(StateMismatchError, match="sources"):
        loaded(state, Mixture(sources | {"math": (tmp_path / "math", 0.1)}))


def test_length_of_epochs_may_not_change_where_positions_are_counted_in_it(folder: Path) -> None:
    loader = DistributedLoader(mixture(folder, until=50), batch_size=5)
    next(iter(loader))
    other = DistributedLoader(mixture(folder, until=51), batch_size=5)

    with pytest.raises(StateMismatchError, match="epoch_length"):
        other.load_state_dict(loader.state_dict())


def test_state_of_a_mixture_and_of_a_dataset_do_not_load_into_each_other(folder: Path) -> None:
    mixed, plain = DistributedLoader(mixture(folder)), DistributedLoader(folder / "web")
    for one, other in ((mixed, plain), (plain, mixed)):
        with pytest.raises(StateMismatchError, match="other data"):
            one.load_state_dict(other.state_dict())


def test_state_of_a_hundred_sources_takes_sixty_bytes_for_each(folder: Path) -> None:
    data = SplitDataLoader(folder / "web")
    mixed = Mixture({f"source-{number:02}": (data, number + 1) for number in range(100)})

    assert len(json.dumps(at(folder, 50_000, mixed))) < 1024 + 60 * 100


@pytest.mark.parametrize(
    ("option", "name"),
    [
        ({"sampler": [1, 2]}, "sampler"),
        ({"batch_sampler": [[1], [2]]}, "batch_sampler"),
        ({"records": RecordOptions(subset=slice(3))}, "subset"),
        ({"order": OrderOptions(partition="contiguous")}, "contiguous"),
        ({"order": OrderOptions(lanes=2)}, "lanes"),
    ],
)
def test_options_that_decide_the_order_are_refused_with_a_mixture(
    folder: Path, option: dict[str, Any], name: str
) -> None:
    with pytest.raises(ValueError, match=f"a mixture decides itself.*{name}"):
        DistributedLoader(mixture(folder), **option)


@pytest.mark.parametrize(
    ("sources", "options", "error", "message"),
    [
        ({}, {}, ValueError, "1 to 65536 sources"),
        (["a", "b"], {}, TypeError, "sources are"),
        ({"a": "data"}, {}, TypeError, "sources are"),
        ({"a": ([], 1), "b": ([1], 1)}, {}, ValueError, "source 'a' has no records, and a weight of 1"),
        ({"a": ([1], 1)}, {"schedule": [(5, {"b": 1})]}, ValueError, "the stage at 5 names 'b'"),
        ({"a": ([1], 1)}, {"schedule": [(0, {"a": 1})]}, ValueError, "starts must grow"),
        ({"a": ([1], 1)}, {"schedule": [(5, {})]}, ValueError, "all weights are 0"),
        ({"a": ([1], 1)}, {"until": "ever"}, ValueError, "until must be"),
    ],
)
def test_mixtures_that_mean_nothing_are_refused(
    sources: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Mixture(sources, **options)


def test_cache_keeps_samples_of_a_mixture(folder: Path, tmp_path: Path) -> None:
    def epochs() -> list[Any]:
        loader = DistributedLoader(
            mixture(folder, until=47),
            batch_size=8,
            shuffle=True,
            transform=noisy,
            collate_fn=list,
            cache=Cache(tmp_path),
        )
        found = stream(loader, 94)
        loader.close()
        return found

    assert epochs() == epochs()


def test_bad_record_is_replaced_by_one_of_its_source(folder: Path) -> None:
    def transform(record: bytes) -> int:
        if number_of(record) % 1000 == 2:
            raise ValueError("bad")
        return number_of(record)

    def numbers(**options: Any) -> list[int]:
        loader = DistributedLoader(mixture(folder), batch_size=8, shuffle=True, collate_fn=list, **options)
        return [number for batch in loader for number in batch]

    whole = numbers(transform=number_of)
    found = numbers(transform=transform, records=RecordOptions(on_error="skip"))
    assert [number // 1000 for number in found] == [number // 1000 for number in whole]
    assert not any(number % 1000 == 2 for number in found)


def test_counts_and_passes_say_what_a_mixture_will_do(folder: Path) -> None:
    mixed = mixture(folder, schedule=[(100, {"math": 1})])

    assert mixed.counts(110) == {"web": 60, "code": 30, "math": 20}
    assert mixed.passes(110) == {"web": 60 / 31, "code": 30 / 11, "math": 4.0}
