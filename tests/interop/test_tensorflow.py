"""A loader as a tf.data.Dataset."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tests.interop.stream import NUM_RECORDS, Samples, expected, interleaved, make_loader, samples_of

tensorflow: Any = pytest.importorskip("tensorflow")


def nested(record: bytes) -> dict[str, Any]:
    number = int(record)
    return {
        "pair": (np.full((2, 3), number, np.float16), [number, number + 1]),
        "name": f"é{number}",
        "raw": record,
        "ok": number % 2 == 0,
    }


def test_dataset_has_the_structure_types_and_epochs_of_the_loader(path: str) -> None:
    from splitdata.interop.tensorflow import to_tf_dataset

    dataset = to_tf_dataset(make_loader(path, transform=nested, shuffle=False))

    assert dataset.element_spec["pair"][0] == tensorflow.TensorSpec((None, 2, 3), tensorflow.float16)
    assert dataset.element_spec["name"] == tensorflow.TensorSpec((None,), tensorflow.string)
    for batches in ([*dataset], [*dataset]):
        assert len(batches) == 14
        assert [raw for batch in batches for raw in batch["raw"].numpy().tolist()] == [
            str(number).encode() for number in range(NUM_RECORDS)
        ]
        assert batches[2]["name"].numpy()[1].decode() == "é9"
        assert batches[2]["pair"][1][1].numpy().tolist() == [9, 10, 11, 12]


def test_state_counts_what_tensorflow_has_taken(path: str) -> None:
    from splitdata.interop.tensorflow import to_tf_dataset

    first = make_loader(path)
    taken: list[Any] = []
    for batch in to_tf_dataset(first):
        taken.append(batch)
        if len(taken) == 5:
            state = json.loads(json.dumps(first.state_dict()))
            break
    second = make_loader(path)
    second.load_state_dict(state)

    assert samples_of(taken) + samples_of(to_tf_dataset(second)) == expected(path)


def test_state_goes_on_at_another_world_size(path: str) -> None:
    from splitdata.interop.tensorflow import to_tf_dataset

    first = make_loader(path)
    taken = samples_of(to_tf_dataset(first).take(5))
    state = json.loads(json.dumps(first.state_dict()))
    rest: list[Samples] = []
    for rank in range(2):
        second = make_loader(path, rank=rank, world_size=2)
        second.load_state_dict(state)
        rest.append(samples_of(to_tf_dataset(second)))

    assert (taken + interleaved(rest))[:NUM_RECORDS] == expected(path)


def test_batch_that_tensorflow_has_no_type_for_is_an_error(path: str) -> None:
    from splitdata.interop.tensorflow import to_tf_dataset

    with pytest.raises(TypeError, match="a batch holds ndarray of datetime64"):
        to_tf_dataset(make_loader(path, transform=lambda record: np.datetime64(int(record), "s")))
