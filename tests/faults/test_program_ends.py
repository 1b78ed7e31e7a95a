"""Programs end with everything of the library open, at module level: silently, and with nothing left.

Python clears the modules that something still holds, as torch does, in the reverse order of their import: the
library's names are gone before the objects of `__main__` are.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import ROOT
from tests.process.family import environment, members, new_mark, seconds_until_gone

OBJECTS = f"""
import sys; sys.path[:0] = [{str(ROOT)!r}]
import os
import numpy as np
from splitdata import *
from splitdata.process.wire.channel_options import ChannelOptions
from splitdata.process.pool.process_pool import ProcessPool
from splitdata.process.pool.thread_pool import ThreadPool

with SplitWriter("data") as writer:
    writer.write_many(b"%d" % number for number in range(100))
with SplitWriter("samples") as sample_writer:
    sample_writer.write_sample({{"x": np.arange(3)}})

def yields_arrays():
    for number in range(1000):
        yield np.full(30_000, number)

def echo(worker_id, requests):
    yield from requests

def sample(record):
    return {{"x": np.frombuffer(record, np.uint8)[:1].copy()}}

def start(**options):
    loader = DistributedLoader("data", batch_size=4, transform=sample, **options)
    batches = iter(loader)
    return loader, batches, next(batches)

readers = [SplitDataLoader("data", io=io) for io in ("mmap", "pread")]
records = [reader[7] for reader in readers], readers[0].view(3)
walk = iter(readers[0])
next(walk)
samples = SampleDataset("samples")
samples[0]
itr = MpQItr.options(start_method="fork")(yields_arrays)
run = iter(itr)
batch = next(run)
pools = [
    ProcessPool(echo, (), ChannelOptions(start_method="fork"), num_workers=1),
    ThreadPool(echo, (), ChannelOptions(), num_workers=1),
]
for pool in pools:
    pool.start()
    pool.submit(0, 1)
loaders = [
    start(),
    start(num_workers=1, workers=WorkerOptions(kind="thread")),
    start(num_workers=1, workers=WorkerOptions(start_method="fork")),
    start(num_workers=1, workers=WorkerOptions(start_method="spawn")),
    start(cache=Cache("cache", version="1")),
    start(cache=Cache("cache", version="1"), num_workers=1, workers=WorkerOptions(start_method="fork")),
    start(rotation=Rotation(2, 8)),
    start(rotation=Rotation(2, 8, medium="disk")),
]

import ctypes
for module in list(sys.modules.values()):
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(module))
"""

WAYS = {
    "end of the script": "",
    "sys.exit": "sys.exit(0)",
    "unhandled error": "raise ValueError('unhandled')",
    "os._exit": "os._exit(0)",
}


def run(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    mark = new_mark()
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
        env=environment(mark),
    )
    assert seconds_until_gone(mark, 20.0) < 20.0, members(mark)
    return ended


@pytest.mark.parametrize(
    ("first", "way"),
    [
        *[("", way) for way in WAYS],
        ("import torch", "end of the script"),
        # What torch does is done by hand above: these only show it again.
        *[pytest.param("import torch", way, marks=pytest.mark.soak) for way in list(WAYS)[1:]],
    ],
)
def test_program_ends_silently_with_everything_open(first: str, way: str, tmp_path: Path) -> None:
    ended = run("\n".join([first, OBJECTS, WAYS[way]]), tmp_path)

    if way == "unhandled error":
        *traceback, last = ended.stderr.splitlines()
        assert last == "ValueError: unhandled"
        assert traceback[0].startswith("Traceback")
        assert [line for line in traceback[1:] if not line.startswith(" ")] == []
        assert ended.returncode == 1
    else:
        assert ended.stderr == ""
        assert ended.returncode == 0


@pytest.mark.parametrize("first", ["", pytest.param("import torch", marks=pytest.mark.soak)])
def test_interpreter_of_a_notebook_ends_silently_with_everything_open(first: str, tmp_path: Path) -> None:
    source = "\n".join([first, OBJECTS])
    program = f"""
import code
interpreter = code.InteractiveInterpreter({{"__name__": "__main__"}})
assert not interpreter.runsource({source!r}, "<cell>", "exec")
print(len(interpreter.locals["loaders"]))
"""
    ended = run(program, tmp_path)

    assert ended.stderr == ""
    assert ended.stdout == "8\n"
