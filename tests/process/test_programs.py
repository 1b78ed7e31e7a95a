"""Programs as people write them: no main guard, `python -c`, a script on stdin, a notebook, closures and lambdas."""

from __future__ import annotations

import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from splitdata.process.mpqitr import MpQItr
from splitdata.process.wire.channel_options import StartMethod
from tests.command import ROOT, run_python

METHODS: list[StartMethod] = ["spawn", "fork"]

PROGRAM = """
import dataclasses, collections, enum
import numpy as np
from splitdata.process.mpqitr import MpQItr

print("main runs once")
SCALE = 3

@dataclasses.dataclass
class Batch:
    data: np.ndarray
    number: int

Pair = collections.namedtuple("Pair", "first second")

class Colour(enum.Enum):
    RED = 1

class Trouble(Exception):
    pass

def helper(number):
    return number * SCALE

def generate(n, fail=False):
    for number in range(n):
        yield Batch(np.full(30_000, helper(number)), number), Pair(number, Colour.RED)
    if fail:
        raise Trouble("as announced")

for batch, pair in MpQItr.options(start_method=METHOD)(generate, 3):
    assert type(batch) is Batch and type(pair) is Pair and pair.second is Colour.RED
    assert (batch.data == 3 * batch.number).all()
try:
    list(MpQItr.options(start_method=METHOD)(generate, 1, fail=True))
except Trouble as error:
    print("caught", error)
print(list(MpQItr.options(start_method=METHOD)(lambda: (helper(x) for x in range(3)))))
"""
EXPECTED = "main runs once\ncaught as announced\n[0, 3, 6]\n"


def program(method: StartMethod) -> str:
    return f"import sys; sys.path.insert(0, {str(ROOT)!r})\nMETHOD = {method!r}\n{PROGRAM}"


@pytest.mark.parametrize("method", METHODS)
def test_script_without_main_guard_runs_once(method: StartMethod, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(program(method))
    ended = run_python(script, cwd=tmp_path)

    assert (ended.stdout, ended.stderr, ended.returncode) == (EXPECTED, "", 0)


@pytest.mark.parametrize("method", METHODS)
def test_program_on_the_command_line_works(method: StartMethod, tmp_path: Path) -> None:
    ended = run_python("-c", program(method), cwd=tmp_path)

    assert (ended.stdout, ended.stderr, ended.returncode) == (EXPECTED, "", 0)


@pytest.mark.parametrize("method", METHODS)
def test_program_on_standard_input_works(method: StartMethod, tmp_path: Path) -> None:
    ended = run_python("-", cwd=tmp_path, text_in=program(method))

    assert (ended.stdout, ended.stderr, ended.returncode) == (EXPECTED, "", 0)


@pytest.mark.parametrize("method", METHODS)
def test_cells_of_a_notebook_work(method: StartMethod, tmp_path: Path) -> None:
    # What a kernel does: cells compiled under made-up names into the namespace of a __main__ without file.
    cells = program(method).split("\n\n")
    kernel = "import __main__\nfor number, cell in enumerate(CELLS):\n"
    kernel += "    exec(compile(cell, f'<ipython-input-{number}>', 'exec'), __main__.__dict__)\n"
    ended = run_python("-c", f"CELLS = {cells!r}\n{kernel}", cwd=tmp_path)

    assert (ended.stdout, ended.stderr, ended.returncode) == (EXPECTED, "", 0)


@pytest.mark.parametrize("method", METHODS)
def test_process_that_multiprocessing_has_spawned_starts_workers(method: StartMethod, tmp_path: Path) -> None:
    definitions, use = PROGRAM.split("for batch, pair", 1)
    indented = textwrap.indent(f"for batch, pair{use}", "    ")
    guard = "if __name__ == '__main__':\n    p = mp.get_context('spawn').Process(target=rank); p.start(); p.join()\n"
    script = tmp_path / "train.py"
    script.write_text(
        f"import multiprocessing as mp, sys; sys.path.insert(0, {str(ROOT)!r})\nMETHOD = {method!r}\n"
        f"{definitions.replace('print', 'str')}\ndef rank():\n{indented}\n{guard}    print(p.exitcode)\n"
    )
    ended = run_python(script, cwd=tmp_path)

    assert (ended.stdout, ended.stderr) == ("caught as announced\n[0, 3, 6]\n0\n", "")


def test_module_beside_the_script_is_found_by_the_worker(tmp_path: Path) -> None:
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "my_module.py").write_text("def generate(n):\n    yield from range(n)\n")
    (tmp_path / "here").mkdir()
    script = tmp_path / "sources" / "train.py"
    script.write_text(
        f"import sys; sys.path.append({str(ROOT)!r})\nimport my_module, os\n"
        "from splitdata.process.mpqitr import MpQItr\n"
        "def place():\n    yield os.getcwd()\n"
        "print(list(MpQItr(my_module.generate, 2)), list(MpQItr(place)), sys.argv[1:])\n"
    )
    ended = run_python(script, "--flag", cwd=tmp_path / "here")

    assert ended.stderr == ""
    assert ended.stdout == f"[0, 1] ['{tmp_path / 'here'}'] ['--flag']\n"


def test_file_in_the_working_folder_does_not_replace_a_module_of_the_library(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "json.py").write_text("raise SystemExit('the wrong json')")
    script = tmp_path / "train.py"
    script.write_text(
        f"import sys; sys.path.append({str(ROOT)!r})\nfrom splitdata.process.mpqitr import MpQItr\n"
        "print(list(MpQItr(lambda: iter('ab'))))\n"
    )
    ended = run_python(script, cwd=tmp_path / "folder")

    assert (ended.stdout, ended.stderr) == ("['a', 'b']\n", "")


def test_program_that_ends_without_close_leaves_in_time(tmp_path: Path) -> None:
    source = (
        f"import sys; sys.path.append({str(ROOT)!r})\nfrom splitdata.process.mpqitr import MpQItr\n"
        "import itertools, time\n"
        "def stuck():\n    yield 1\n    time.sleep(600)\n"
        "runs = [iter(MpQItr(stuck)) for _ in range(3)]\nprint([next(run) for run in runs])\n"
    )
    ended = run_python("-c", source, cwd=tmp_path)

    assert (ended.stdout, ended.stderr, ended.returncode) == ("[1, 1, 1]\n", "", 0)


def test_closure_over_local_state_travels() -> None:
    offset = 40

    def generate(n: int) -> Iterator[int]:
        yield from (offset + number for number in range(n))

    assert list(MpQItr(generate, 2)) == [40, 41]


class Net:
    """Holds something that no process can be sent."""

    def __init__(self) -> None:
        self.guard = threading.Lock()


@pytest.mark.parametrize(
    ("arguments", "keywords", "place"),
    [
        ((threading.Lock(),), {}, r"args\[0\] "),
        ((1, {"model": Net()}), {}, r"args\[1\]\['model'\]\.guard "),
        ((), {"callback": [Net().guard]}, r"kwargs\['callback'\]\[0\] "),
    ],
)
def test_argument_that_cannot_travel_is_named_before_a_process_starts(
    arguments: tuple[Any, ...], keywords: dict[str, Any], place: str
) -> None:
    def generate(*args: object, **kwargs: object) -> Iterator[int]:
        yield 1

    with pytest.raises(TypeError, match=rf"cannot send {place}.*_thread\.lock.*No process was started"):
        iter(MpQItr(generate, *arguments, **keywords))


def test_closure_variable_that_cannot_travel_is_named() -> None:
    handle = threading.Lock()

    def generate() -> Iterator[str]:
        yield repr(handle)

    with pytest.raises(TypeError, match="closure variable 'handle'"):
        iter(MpQItr(generate))


def test_what_cannot_travel_may_be_forked() -> None:
    lock = threading.Lock()

    def generate() -> Iterator[bool]:
        yield lock.acquire(timeout=1)

    assert list(MpQItr.options(start_method="fork")(generate)) == [True]


def test_import_of_the_library_loads_no_process_machinery() -> None:
    source = (
        f"import sys; sys.path.append({str(ROOT)!r})\nimport numpy, xxhash, zstandard\nbefore = set(sys.modules)\n"
        "import splitdata.process.mpqitr\n"
        "print(sorted(m for m in set(sys.modules) - before if m.split('.')[0] in"
        " {'multiprocessing', 'subprocess', 'cloudpickle', 'torch', '_posixsubprocess'}))\n"
    )

    assert run_python("-c", source).stdout == "[]\n"
