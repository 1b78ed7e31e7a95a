"""The main job on real input: the sources of Python's standard library become a dataset, and are read back.

    *.py ──copied──> folder ──splitdata write──> dataset ──> info, one record, shuffled walk, verify

Runs in a temporary folder, in some seconds. `make demo` installs splitdata and runs it.
"""

from __future__ import annotations

import random
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

from tqdm import tqdm

from splitdata import SplitDataLoader


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


if __name__ == "__main__":
    main()
