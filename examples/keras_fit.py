"""Keras: `fit` trains from a loader; a callback takes exact states, and a new run goes on in mid-epoch from one.

Works with each backend of Keras 3. Needs keras and one of tensorflow, jax, torch.
"""

from __future__ import annotations

import contextlib
import gc
import os
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from splitdata import DistributedLoader, SplitWriter

NUM_RECORDS, STOP_AT = 1_000, 20


def decode(record: bytes, rng: np.random.Generator) -> tuple[Any, Any]:
    x = np.float32(int(record) / NUM_RECORDS)
    return np.array([x, rng.normal()], np.float32), np.array([2 * x], np.float32)


def fit(path: Path, weights: Any, state: dict[str, Any] | None, stop_at: int) -> tuple[Any, Any]:
    """Train to a step; return the weights and the state of the loader there."""
    import keras

    from splitdata.interop.keras import KerasLoader

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
    model.set_weights(weights)
    states: list[Any] = []
    with DistributedLoader(path, batch_size=64, shuffle="global", transform=decode) as loader:
        if state is not None:
            loader.load_state_dict(state)
        data = KerasLoader(loader)

        class Stop(keras.callbacks.Callback):
            def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
                states.append(data.state_dict(batch + 1))
                if len(states) == stop_at:
                    raise KeyboardInterrupt

        with contextlib.suppress(KeyboardInterrupt):
            model.fit(data, epochs=9, verbose=0, callbacks=[Stop()])
        trained = model.get_weights()
        # TensorFlow reads ahead for an epoch that was left, in threads that may hang the end of the program.
        del model
        gc.collect()
    return trained, states[-1]


def main(path: Path) -> None:
    with SplitWriter(path) as writer:
        writer.write_many(str(number).encode() for number in range(NUM_RECORDS))
    begin = [np.zeros((2, 1), np.float32), np.zeros(1, np.float32)]
    whole, _ = fit(path, begin, None, 32)
    weights, state = fit(path, begin, None, STOP_AT)
    resumed, _ = fit(path, weights, state, 32 - STOP_AT)
    same = all(np.allclose(one, other, atol=1e-6) for one, other in zip(whole, resumed, strict=True))
    print(f"stopped in epoch {state['epoch']} behind {state['samples']} samples and resumed: the same weights: {same}")


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
backends = [name for name in ("tensorflow", "jax", "torch") if find_spec(name) is not None]
if find_spec("keras") is None or not backends:
    print("this example needs Keras and a backend: pip install keras tensorflow")
else:
    os.environ.setdefault("KERAS_BACKEND", backends[0])
    with tempfile.TemporaryDirectory() as name:
        main(Path(name) / "data")
