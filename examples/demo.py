"""The main job on real input: the sources of Python's standard library become a dataset, and a model learns from it.

    *.py ──copied──> folder ──splitdata write──> dataset ──> info, one record, shuffled walk, verify
                                                    `─> trained at one go ─────────────┐
                                                    `─> trained, stopped, resumed ─────┴─> the same weights

Runs in a temporary folder, in some seconds. `make demo` installs splitdata and runs it.
"""

from __future__ import annotations

import json
import random
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from splitdata import DistributedLoader, SplitDataLoader

PAIRS_OF_A_FILE = 32


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="splitdata-demo-") as folder:
        sources = collect_sources(Path(folder) / "sources")
        dataset = Path(folder) / "dataset"
        run("write", str(sources), str(dataset), "--bins", "16", "--compression", "zstd")
        run("info", str(dataset))
        loader = SplitDataLoader(dataset)
        show_random_record(loader)
        walk_shuffled(loader)
        run("head", str(dataset), "-n", "3")
        run("verify", str(dataset))
        train_and_resume(dataset, Path(folder) / "checkpoint")


def collect_sources(folder: Path) -> Path:
    """Copy the standard library's own modules, without what was installed beside them."""
    library = Path(sysconfig.get_paths()["stdlib"])
    paths = [path for path in library.rglob("*.py") if "site-packages" not in path.parts and path.stat().st_size]
    for path in tqdm(paths, desc="collect", unit="file", disable=None):
        target = folder / path.relative_to(library)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    print(f"{len(paths)} source files of Python {sys.version.split()[0]} from {library}")
    return folder


def run(*arguments: str) -> None:
    """Show a command and run it, with its progress bar."""
    print(f"\n$ splitdata {shlex.join(arguments)}", flush=True)
    subprocess.run([sys.executable, "-m", "splitdata_cli", *arguments], check=True)


def show_random_record(loader: SplitDataLoader) -> None:
    position = random.SystemRandom().randrange(len(loader))
    started = time.perf_counter()
    record = loader[position]
    seconds = time.perf_counter() - started
    print(f"\nloader[{position}]: {len(record)} bytes, checksum verified, in {seconds * 1e6:.0f} us (first read)")
    for line in record.decode("utf-8", "replace").splitlines()[:4]:
        print(f"    | {line[:100]}")


def walk_shuffled(loader: SplitDataLoader) -> None:
    print("\nfor record in loader.iterate_binwise(shuffle=True, seed=0):")
    records = loader.iterate_binwise(shuffle=True, seed=0)
    started = time.perf_counter()
    num_bytes = sum(len(record) for record in tqdm(records, total=len(loader), unit="record", disable=None))
    seconds = time.perf_counter() - started
    print(f"    {len(loader)} records, {num_bytes / 1e6:.1f} MB in {seconds:.2f} s, decompressed and verified")


class NextByte:
    """A model that guesses each byte of a text from the one before it: 256 x 256 scores, learned by Adagrad."""

    def __init__(self) -> None:
        self.scores = np.zeros((256, 256))
        self.squares = np.full((256, 256), 1e-8)

    def learn(self, before: np.ndarray[Any, Any], after: np.ndarray[Any, Any]) -> float:
        """Take one step on pairs of bytes; returns the mean loss before it, in nats a byte."""
        chances = np.exp(self.scores[before] - self.scores[before].max(axis=1, keepdims=True))
        chances /= chances.sum(axis=1, keepdims=True)
        loss = -np.log(chances[np.arange(len(after)), after]).mean()
        chances[np.arange(len(after)), after] -= 1
        slopes = np.zeros_like(self.scores)
        np.add.at(slopes, before, chances / len(after))
        self.squares += slopes**2
        self.scores -= 0.5 * slopes / np.sqrt(self.squares)
        return float(loss)


def pairs_of_bytes(record: bytes, rng: np.random.Generator) -> dict[str, np.ndarray[Any, Any]]:
    """Return bytes of a file at random places, and those behind them. The same ones whenever the epoch is repeated."""
    text = np.frombuffer(record, np.uint8)
    places = rng.integers(0, max(len(text) - 1, 1), PAIRS_OF_A_FILE)
    return {"before": text[places], "after": text[np.minimum(places + 1, len(text) - 1)]}


def make_loader(dataset: Path, num_workers: int) -> DistributedLoader:
    return DistributedLoader(
        dataset, batch_size=16, shuffle="global", seed=0, transform=pairs_of_bytes, num_workers=num_workers
    )


def train(loader: DistributedLoader, model: NextByte, max_steps: int | None = None) -> list[float]:
    """Train for one epoch, or what is left of it, or so many steps; returns the losses."""
    losses = []
    for batch in loader:
        losses.append(model.learn(batch["before"].ravel(), batch["after"].ravel()))
        if len(losses) == max_steps:
            break
    return losses


def train_and_resume(dataset: Path, checkpoint: Path) -> None:
    print("\nA model learns to guess the next byte of a file, in numpy, for one epoch:")
    started = time.perf_counter()
    whole = NextByte()
    with make_loader(dataset, num_workers=0) as loader:
        losses = train(loader, whole)
    print(f"    {len(losses)} steps in {time.perf_counter() - started:.1f} s")
    print(f"    loss {np.mean(losses[:5]):.2f} -> {np.mean(losses[-5:]):.2f} nats a byte; guessing blindly is 5.55")

    half = len(losses) // 2
    print(f"The same again, with a worker process, stopped after {half} steps; model and loader are saved:")
    checkpoint.mkdir()
    stopped = NextByte()
    with make_loader(dataset, num_workers=1) as loader:
        train(loader, stopped, half)
        np.savez(checkpoint / "model.npz", scores=stopped.scores, squares=stopped.squares)
        (checkpoint / "loader.json").write_text(json.dumps(loader.state_dict()))
    print(f"    loader.json has {(checkpoint / 'loader.json').stat().st_size} bytes")

    print("And resumed from the two files, by a new model and a new loader, without a worker:")
    resumed = NextByte()
    with np.load(checkpoint / "model.npz") as saved:
        resumed.scores, resumed.squares = saved["scores"], saved["squares"]
    with make_loader(dataset, num_workers=0) as loader:
        loader.load_state_dict(json.loads((checkpoint / "loader.json").read_text()))
        rest = train(loader, resumed)
    if rest != losses[half:] or not np.array_equal(resumed.scores, whole.scores):
        sys.exit("the resumed training differs from the other: this should not happen, please report it")
    print(f"    {len(rest)} steps, each with the loss it had before; the weights are equal to the last bit.")
    print(
        "What this shows: same batches, same random places in each file, whether training was interrupted or not, and "
        "for any number of workers.\nIt does not show speed, nor a good model."
    )


if __name__ == "__main__":
    main()
