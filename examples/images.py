"""Pictures to a small network: augmentation, validation on a share that is never trained on, resume in mid-epoch.

A run that stops in mid-epoch and goes on ends with the same weights. Needs torch and Pillow.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from splitdata import DistributedLoader, HashSplit, RecordOptions, SplitWriter, decode_image

decode = decode_image(size=24)
OPTIONS: dict[str, Any] = {"batch_size": 16, "device": "cpu"}


def write_pictures(path: Path) -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    with SplitWriter(path) as writer:
        for number in range(600):
            pixels, start = rng.integers(0, 60, (32, 40, 3), dtype=np.uint8), rng.integers(8, 24)
            pixels[np.s_[start : start + 3] if number % 2 else np.s_[:, start : start + 3]] += 130
            Image.fromarray(pixels).save(file := io.BytesIO(), "PNG")
            writer.write_sample({"image": file.getvalue(), "label": number % 2})


def plain(sample: dict[str, Any]) -> tuple[Any, int]:
    return decode(sample)["image"].astype(np.float32).transpose(2, 0, 1) / 255, sample["label"]


def augmented(sample: dict[str, Any], rng: np.random.Generator) -> tuple[Any, int]:
    pixels, label = plain(sample)
    return (pixels[:, ::-1] if rng.random() < 0.5 else pixels) * np.float32(rng.uniform(0.8, 1.2)), label


def steps(path: Path, run: dict[str, Any]) -> Iterator[dict[str, Any]]:
    import torch
    from torch.nn import AdaptiveMaxPool2d, Conv2d, Flatten, Linear, ReLU, Sequential, functional

    torch.manual_seed(0)
    model = Sequential(Conv2d(3, 8, 5), ReLU(), AdaptiveMaxPool2d(1), Flatten(), Linear(8, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    share, rest = (RecordOptions(subset=HashSplit(*part)) for part in ((0.0, 0.8), (0.8, 1.0)))
    with DistributedLoader(path, transform=augmented, shuffle="global", records=share, **OPTIONS) as train:
        parts = {"model": model, "optimizer": optimizer, "data": train}
        for name, state in run.items():
            parts[name].load_state_dict(state)
        while train.position[0] < 2:
            for images, labels in train:
                optimizer.zero_grad()
                functional.cross_entropy(model(images), labels).backward()
                optimizer.step()
                yield {name: part.state_dict() for name, part in parts.items()}
    valid = DistributedLoader(path, transform=plain, tail="keep", records=rest, **OPTIONS)
    right = [(model(images).argmax(1) == labels).float().mean().item() for images, labels in valid]
    print(f"{np.mean(right):.0%} of the pictures of the other share are told")


def main(path: Path) -> None:
    write_pictures(path)
    *_, whole = steps(path, {})
    stopped = next(run for number, run in enumerate(steps(path, {}), 1) if number == 7)
    *_, resumed = steps(path, stopped)
    same = all(bool((tensor == resumed["model"][name]).all()) for name, tensor in whole["model"].items())
    print(f"stopped behind step 7 and resumed: the weights are equal to the last bit: {same}")


if find_spec("torch") is None or find_spec("PIL") is None:
    print("this example needs torch and Pillow: pip install 'splitdata[torch,image]'")
else:
    with tempfile.TemporaryDirectory() as name:
        main(Path(name) / "pictures")
