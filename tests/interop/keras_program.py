"""Keras trains from a loader: three epochs, and from a state that a callback took in mid-epoch as many more.

keras_program.py DATASET  ->  JSON: samples that models have been trained with, whole, after the resume, and after
                                    that by each of two ranks for an epoch
"""

from __future__ import annotations

import gc
import json
import sys
from typing import Any

import keras
import numpy as np

from splitdata.interop.keras import KerasLoader
from tests.interop.stream import Samples, make_loader, numbered


def pair(record: bytes, rng: np.random.Generator) -> tuple[Any, Any]:
    """Return input and target."""
    sample = numbered(record, rng)
    return np.array([sample["number"], sample["noise"]]), np.zeros(1)


class Model(keras.Model):
    """Notes what it is trained with."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = keras.layers.Dense(1)
        self.trained_with: Samples = []

    def train_step(self, *arguments: Any) -> Any:
        """Note the inputs, of which the backends have them last."""
        values = keras.ops.convert_to_numpy(arguments[-1][0]).tolist()
        self.trained_with += [(round(number), noise) for number, noise in values]
        return super().train_step(*arguments)

    def call(self, inputs: Any) -> Any:
        """Return a number for each."""
        return self.dense(inputs)


class TakesState(keras.callbacks.Callback):
    """Takes a state behind so many batches of all epochs."""

    def __init__(self, data: KerasLoader, behind: int) -> None:
        super().__init__()
        self.state: Any = None
        self._data = data
        self._left = behind

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Count down."""
        self._left -= 1
        if not self._left:
            self.state = json.loads(json.dumps(self._data.state_dict(batch + 1)))


def fit(path: str, epochs: int, state: Any = None, behind: int = 0, **options: Any) -> tuple[Samples, Any]:
    """Return what training has seen, and the state behind so many batches."""
    with make_loader(path, transform=pair, **options) as loader:
        if state is not None:
            loader.load_state_dict(state)
        data = KerasLoader(loader)
        model = Model()
        # One step after the other in Python, so that the model sees values.
        model.compile(optimizer=keras.optimizers.SGD(0.0), loss="mse", run_eagerly=True)
        callback = TakesState(data, behind)
        model.fit(data, epochs=epochs, verbose=0, callbacks=[callback])
    return model.trained_with, callback.state


def main(path: str) -> None:
    """Train twice."""
    whole, state = fit(path, 3, behind=17)
    rest, _ = fit(path, 2, state)
    ranks = [fit(path, 1, state, rank=rank, world_size=2)[0] for rank in range(2)]
    # What TensorFlow reads ahead in threads must not outlive the interpreter's end: it may hang there.
    gc.collect()
    print(json.dumps({"whole": whole, "state": state, "rest": rest, "ranks": ranks}))  # noqa: T201  # it is read by the test


if __name__ == "__main__":
    main(*sys.argv[1:])
