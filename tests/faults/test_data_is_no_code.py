"""Data is never code: every way to read, of whole data and of forged data, and what Python reports of it.

pickles, code, paths in records, keys, names, metadata ── some of it changed at random ──> every command, every reader
a child, all modules loaded ── audit hook armed ── the same again ──> nothing was run, started or opened elsewhere
"""

from __future__ import annotations

import io
import os
import pickle
import random
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from splitdata import (
    Cache,
    DistributedLoader,
    SampleDataset,
    SplitDataError,
    SplitDataLoader,
    SplitWriter,
    delete,
    describe,
    diff,
    merge,
    repair,
    verify,
)
from splitdata.samples.record_codecs import record_codec
from splitdata_cli.main import cli
from tests.faults.audit import Audit
from tests.faults.file_faults import fast_folder
from tests.faults.test_forged_files import sealed
from tests.forked import answer_of_child
from tests.format.test_parsers import changed

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="a hook is armed in a child")

COMMANDS = ("info", "head", "schema", "digest", "verify", "repair")
NAMES = ("bytes", "samples", "cache bytes", "cache samples", "merged bytes", "merged samples", "work")


class Bomb:
    """Runs a command where it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.system, (f"touch {self._marker}",)


def npy_of_objects(marker: Path) -> bytes:
    output = io.BytesIO()
    np.save(output, np.array([Bomb(marker)], object), allow_pickle=True)
    return output.getvalue()


def hostile_records(marker: Path) -> list[bytes]:
    """Return records that run something wherever they are taken for code."""
    code = f"__import__('os').system('touch {marker}')"
    return [
        pickle.dumps(Bomb(marker)),
        npy_of_objects(marker),
        code.encode(),
        f'{{"__class__": "os.system", "x": "{code}"}}'.encode(),
        b"\x93NUMPY\x01\x00v\x00{'descr': __import__('os').system('touch x'), 'fortran_order': False, 'shape': ()}",
        b"!!python/object/apply:os.system ['touch x']",
        b"#!/bin/sh\ntouch x\n",
        b"-c 'import os'",
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with fast_folder(tmp_path) as path:
        yield path


def write_hostile(folder: Path) -> None:
    """Write a dataset of bytes and one of samples whose records, keys, names and metadata all are somebody's code."""
    marker = folder / "marker"
    records = hostile_records(marker)
    names = [
        "../../etc/passwd",
        "/etc/passwd",
        "os:system",
        "$(touch x)",
        "`touch x`",
        "{0.__class__}",
        "%n",
        "\x1b]0;x",
    ]
    metadata: dict[str, Any] = {name: record.decode("latin-1") for name, record in zip(names, records, strict=True)}
    for part in range(2):
        with SplitWriter(folder / "bytes", mode="append", bins=2, group=1 + part, metadata=metadata) as writer:
            writer.write_many(records, keys=[f"{name} {part}" for name in names])
    delete(folder / "bytes", positions=[2])
    with SplitWriter(folder / "samples", codec="sample", compression="zstd") as writer:
        for name, record in zip(names, records, strict=True):
            writer.write_sample({name: record, "text": record.decode("latin-1"), "array": np.arange(3)}, name)


def attempt(action: Callable[..., object], *arguments: Any, **options: Any) -> None:
    with suppress(SplitDataError, OSError, ValueError, KeyError):
        action(*arguments, **options)


def read_all(path: Path) -> None:
    with SplitDataLoader(path, max_record_bytes=1 << 24) as loader:
        assert loader.metadata is not None
        for position in range(min(len(loader), 30)):
            attempt(loader.__getitem__, position)
            attempt(loader.key, position)
        attempt(loader.find, "../../etc/passwd 0")
        attempt(list, loader.iterate_binwise(shuffle=True, seed=1))


def read_samples(path: Path) -> None:
    with SampleDataset(path) as dataset:
        attempt(list, dataset)


def decode_all(path: Path) -> None:
    """Read the records as what they may be."""
    with SplitDataLoader(path, max_record_bytes=1 << 24) as loader:
        for position in range(min(len(loader), 30)):
            for codec in ("npy", "json", "text", "sample"):
                attempt(lambda at, name: record_codec(name).decode(loader[at]), position, codec)


def load(path: Path, cache: Path) -> None:
    """Read by a loader, with a cache that others may have written."""
    with DistributedLoader(path, batch_size=1, cache=Cache(cache, version="1"), rank=0, world_size=1) as loader:
        batches = iter(loader)
        for _ in range(20):
            try:
                next(batches)
            except StopIteration:
                break
            except (SplitDataError, ValueError):
                continue


def use_everything(path: Path, work: Path) -> None:
    """Do all that can be done with a dataset and a cache in a folder; data may be refused, and nothing else happen."""
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(path, work)
    for name in ("bytes", "samples"):
        data = work / name
        attempt(describe, data)
        attempt(read_all, data)
        attempt(read_samples, data)
        attempt(verify, data, num_workers=1)
        attempt(decode_all, data)
        attempt(load, data, work / f"cache {name}")
        attempt(diff, data, work / "samples")
        attempt(merge, [data], work / f"merged {name}")
        for command in COMMANDS:
            result = CliRunner().invoke(cli, [command, str(data)])
            assert result.exit_code in (0, 1, 2), result.exception
        attempt(repair, data, adopt=True)
        CliRunner().invoke(cli, ["cat", str(data), "0"])


def change(path: Path, seed: int) -> None:
    """Change some files of all datasets and caches, with checksums that are right again, or not."""
    source = random.Random(seed)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    for file in source.sample(files, 4):
        data = changed(file.read_bytes(), source)
        file.write_bytes(sealed(file, data) if source.random() < 0.6 else data)


@pytest.mark.parametrize("count", [pytest.param(6, id="few"), pytest.param(300, id="many", marks=pytest.mark.soak)])
def test_hostile_data_runs_starts_and_opens_nothing(count: int, folder: Path) -> None:
    write_hostile(folder / "whole")
    # Once as it is, which loads all modules, and leaves a cache that is changed too.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        use_everything(folder / "whole", folder / "work")
        shutil.copytree(folder / "work" / "cache samples", folder / "whole" / "cache samples")
        for seed in range(count):
            shutil.copytree(folder / "whole", folder / f"changed {seed}")
            change(folder / f"changed {seed}", seed)
            if seed < 3:
                use_everything(folder / f"changed {seed}", folder / "work")

    def use_all() -> str:
        audit = Audit(folder, NAMES)
        warnings.simplefilter("ignore")
        audit.arm()
        for seed in range(count):
            use_everything(folder / f"changed {seed}", folder / "work")
        use_everything(folder / "whole", folder / "work")
        return f"{audit.count}\n" + "\n".join(sorted(set(audit.found)))

    num_events, *found = answer_of_child(use_all).splitlines()
    assert found == []
    assert int(num_events) > 1000
    assert not (folder / "whole" / "marker").exists()
    assert not list(folder.rglob("marker"))


def test_audit_notices_what_runs_starts_and_is_opened_elsewhere(tmp_path: Path) -> None:
    def misbehave() -> str:
        audit = Audit(tmp_path)
        audit.arm()
        with suppress(Exception):
            pickle.loads(pickle.dumps(Bomb(tmp_path / "marker")))
        eval("1 + 1")
        Path("/etc/passwd").read_bytes()
        with suppress(OSError):
            os.open("../other", os.O_RDONLY)
        return "\n".join(audit.found)

    found = answer_of_child(misbehave)

    for event in ("pickle.find_class", "os.system", "compile", "exec", "open '/etc/passwd'", "open '../other'"):
        assert event in found
