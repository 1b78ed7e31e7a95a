"""The generator of a sample: what it depends on, and which it is."""

from __future__ import annotations

import functools
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from splitdata.loader.samples.sample_rng import sample_generator, wants_generator
from splitdata.order.permutation import derive_key


def test_generator_is_philox_with_the_key_of_its_sample() -> None:
    for seed, epoch, record in [(0, 0, 0), (7, 3, 10**12), (2**63 - 1, 1, 5)]:
        key = derive_key(seed, epoch, record, "transform")
        plain = np.random.Generator(np.random.Philox(key=key))
        generator = sample_generator(seed, epoch, record)

        assert generator.bit_generator.state["bit_generator"] == "Philox"
        assert generator.random(100).tobytes() == plain.random(100).tobytes()
        assert generator.integers(1000) == plain.integers(1000)


def test_generators_of_samples_differ_and_repeat() -> None:
    draws = {
        (seed, epoch, record): sample_generator(seed, epoch, record).bytes(16)
        for seed in range(4)
        for epoch in range(4)
        for record in range(4)
    }

    assert len(set(draws.values())) == 64
    assert all(sample_generator(*place).bytes(16) == drawn for place, drawn in draws.items())


def test_generator_may_be_kept_and_pickled() -> None:
    kept = [sample_generator(0, 0, record) for record in range(2)]
    expected = [sample_generator(0, 0, record).random() for record in range(2)]

    assert [pickle.loads(pickle.dumps(one)).random() for one in kept] == expected
    assert [one.random() for one in kept] == expected


def test_global_generator_of_numpy_is_left_alone() -> None:
    before = np.random.get_state(legacy=False)
    sample_generator(0, 0, 0).random()
    after = np.random.get_state(legacy=False)

    assert str(before) == str(after)


class Method:
    def __call__(self, record: bytes, *, rng: np.random.Generator) -> int:
        return 0

    def plain(self, record: bytes) -> int:
        return 0


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        (lambda record, rng: 0, True),
        (lambda record, generator: 0, False),
        (lambda record, *rng: 0, False),
        (lambda record, **rng: 0, False),
        (Method(), True),
        (Method().plain, False),
        (functools.partial(lambda size, record, rng: 0, 3), True),
        (int.from_bytes, False),
        (len, False),
    ],
)
def test_only_a_parameter_of_that_name_gets_a_generator(transform: Callable[..., Any], expected: bool) -> None:
    assert wants_generator(transform) is expected
