"""Programs with a loader as people write them: no main guard, `python -c`, a script on stdin, notebook cells."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from splitdata import SplitWriter
from splitdata.loader.distributed_loader import DistributedLoader
from tests.command import ROOT, run_python
from tests.loader.grouped import grouped
from tests.loader.workloads import Numbers

PROGRAM = """
import dataclasses
import numpy as np
from splitdata import DistributedLoader, WorkerOptions

print("main runs once")
SCALE = 3

@dataclasses.dataclass
class Item:
    data: np.ndarray
    number: int

class Squares:
    def __len__(self):
        return 7
    def __getitem__(self, index):
        return index * index

def helper(number):
    return number * SCALE

def transform(record, rng):
    return Item(np.full(20_000, helper(record)), record)

def collate(items):
    assert all(type(item) is Item for item in items)
    return Item(np.stack([item.data for item in items]), [item.number for item in items])

with DistributedLoader(Squares(), batch_size=2, num_workers=2, transform=transform, collate_fn=collate,
                       workers=WorkerOptions(start_method=METHOD, init_fn=lambda number: helper(number))) as loader:
    for batch in loader:
        assert type(batch) is Item
        assert (batch.data[:, 0] == 3 * np.array(batch.number)).all()
        print(batch.number)

with DistributedLoader(lambda: Squares(), num_workers=1, transform=lambda x: -x,
                       workers=WorkerOptions(start_method=METHOD)) as loader:
    print([int(batch[0]) for batch in loader], loader.position)
"""
EXPECTED = "main runs once\n[0, 1]\n[4, 9]\n[16, 25]\n[36]\n[0, -1, -4, -9, -16, -25, -36] (1, 0)\n"


def program(method: str) -> str:
    return f"import sys; sys.path.insert(0, {str(ROOT)!r})\nMETHOD = {method!r}\n{PROGRAM}"


def test_script_without_main_guard_runs_once(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(program("spawn"))
    ended = run_python(script, cwd=tmp_path)

    assert (ended.stdout, ended.stderr, ended.returncode) == (EXPECTED, "", 0)


def test_program_on_the_command_line_works(tmp_path: Path) -> None:
    ended = run_python("-c", program("fork"), cwd=tmp_path)

    assert (ended.stdout, ended.stderr, ended.returncode) == (EXPECTED, "", 0)


def test_program_on_standard_input_works(tmp_path: Path) -> None:
    ended = run_python("-", cwd=tmp_path, text_in=program("spawn"))

    assert (ended.stdout, ended.stderr, ended.returncode) == (EXPECTED, "", 0)


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.soak)])
def test_cells_of_a_notebook_work(method: str, tmp_path: Path) -> None:
    # What a kernel does: cells compiled under made-up names into the namespace of a __main__ without file.
    cells = program(method).split("\n\n")
    kernel = "import __main__\nfor number, cell in enumerate(CELLS):\n"
    kernel += "    exec(compile(cell, f'<ipython-input-{number}>', 'exec'), __main__.__dict__)\n"
    ended = run_python("-c", f"CELLS = {cells!r}\n{kernel}", cwd=tmp_path)

    assert (ended.stdout, ended.stderr, ended.returncode) == (EXPECTED, "", 0)


def test_program_that_ends_in_mid_epoch_without_close_leaves_in_time(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "data") as writer:
        for number in range(100):
            writer.write(number.to_bytes(8, "little"))
    source = (
        f"import sys; sys.path.append({str(ROOT)!r})\nimport time\n"
        "from splitdata import DistributedLoader, WorkerOptions\n"
        "def stuck(record):\n    if record[0] > 9: time.sleep(600)\n    return record[0]\n"
        "kinds = [dict(start_method='spawn'), dict(start_method='fork'), dict(kind='thread')]\n"
        f"options = dict(batch_size=4, num_workers=2, transform=stuck)\npath = {str(tmp_path / 'data')!r}\n"
        "loaders = [DistributedLoader(path, **options, workers=WorkerOptions(**kind)) for kind in kinds]\n"
        "runs = [iter(loader) for loader in loaders]\nprint([next(run).tolist() for run in runs])\n"
    )
    ended = run_python("-c", source, cwd=tmp_path)

    # Threads that hang cannot be ended before the program ends: that is said, once.
    assert "2 of 2 worker threads do not end" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert (ended.stdout, ended.returncode) == ("[[0, 1, 2, 3], [0, 1, 2, 3], [0, 1, 2, 3]]\n", 0)


def test_what_cannot_travel_is_named_before_a_process_starts() -> None:
    lock = threading.Lock()

    def locked(record: int) -> int:
        with lock:
            return record

    class Holder(Numbers):
        def __init__(self) -> None:
            super().__init__(4)
            self.lock = lock

    with pytest.raises(TypeError, match=r"transform.*closure variable 'lock'.*No process was started"):
        iter(DistributedLoader(Numbers(4), num_workers=1, transform=locked))
    with pytest.raises(TypeError, match=r"\.lock.*No process was started"):
        iter(DistributedLoader(Holder(), num_workers=1))
    ways: list[dict[str, Any]] = [{"start_method": "fork"}, {"kind": "thread"}]
    for way in ways:
        with DistributedLoader(Holder(), **grouped(num_workers=1, batch_size=4, transform=locked, **way)) as loader:
            assert [batch.tolist() for batch in loader] == [[0, 1, 2, 3]]
