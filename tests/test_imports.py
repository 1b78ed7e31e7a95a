"""What `import splitdata` does to the program that imports it: it loads a little code, nothing else.

child:  import numpy, xxhash, zstandard -> look -> import splitdata, or all its names -> look again -> report
        what its dependencies do is not counted                                        JSON on stdout
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.command import run_python

DEPENDENCIES = "import numpy, xxhash, zstandard"

# Top-level packages, and modules of the standard library that start something or are slow to load.
UNWANTED = [
    "asyncio",
    "click",
    "cloudpickle",
    "concurrent.futures",
    "http",
    "lmdb",
    "matplotlib",
    "multiprocessing.managers",
    "multiprocessing.pool",
    "multiprocessing.resource_tracker",
    "multiprocessing.shared_memory",
    "multiprocessing.synchronize",
    "socket",
    "sqlite3",
    "ssl",
    "subprocess",
    "torch",
    "tqdm",
    "urllib.request",
    "xml",
]

REPORT = f"""
import sys
{DEPENDENCIES}
import json, os, random, signal, threading, warnings

def look():
    numpy_state = numpy.random.get_state()
    return {{
        "random": repr(random.getstate()),
        "numpy.random": [numpy_state[0], numpy_state[1].tolist(), *numpy_state[2:]],
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "path": list(sys.path),
        "warning filters": repr(warnings.filters),
        "signal handlers": [repr(signal.getsignal(number)) for number in sorted(signal.valid_signals())],
        "excepthook": repr(sys.excepthook),
        "threads": threading.active_count(),
        "tasks": len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else None,
        "recursion limit": sys.getrecursionlimit(),
    }}

before = look()
events = []
modules_before = set(sys.modules)
sys.addaudithook(lambda event, arguments: events.append((event, [str(argument) for argument in arguments])))
exec(sys.argv[1])
noted = list(events)
modules = sorted(set(sys.modules) - modules_before)
after = look()
import logging
handlers = [repr(handler) for name in (None, "splitdata") for handler in logging.getLogger(name).handlers]
print(json.dumps({{
    "before": before, "after": after, "events": noted, "modules": modules, "handlers": handlers,
    "levels": [logging.getLogger(name).level for name in (None, "splitdata")],
}}))
"""


@pytest.fixture(scope="module", params=["import splitdata", "from splitdata import *"])
def report(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What a child process saw change while it imported splitdata; it writes no byte code."""
    ended = run_python("-B", "-c", REPORT, request.param)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    loaded: dict[str, Any] = json.loads(ended.stdout)
    return loaded


def _is_or_is_in(module: str, package: str) -> bool:
    return f"{module}.".startswith(f"{package}.")


@pytest.mark.parametrize("unwanted", UNWANTED)
def test_importing_splitdata_does_not_load(unwanted: str, report: dict[str, Any]) -> None:
    assert [module for module in report["modules"] if _is_or_is_in(module, unwanted)] == []


def test_importing_splitdata_loads_only_its_dependencies_beside_the_standard_library(report: dict[str, Any]) -> None:
    known = {*sys.stdlib_module_names, "splitdata", "numpy", "xxhash", "zstandard"}

    assert {module.split(".")[0] for module in report["modules"]} <= known
    assert "splitdata.errors" in report["modules"]


def test_import_statement_alone_loads_no_dependency_and_only_the_errors_of_the_library() -> None:
    ended = run_python(
        "-c", "import sys\nbefore = set(sys.modules)\nimport splitdata\nprint(*set(sys.modules) - before)"
    )
    modules = ended.stdout.split()

    assert {name for name in modules if _is_or_is_in(name, "splitdata")} == {
        "splitdata",
        "splitdata._version",
        "splitdata.errors",
    }
    assert {module.split(".")[0] for module in modules} <= {*sys.stdlib_module_names, "splitdata"}


def test_worker_that_needs_no_array_loads_neither_numpy_nor_the_library_of_datasets(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nfrom splitdata import MpQItr\n"
        "def modules():\n    yield [name for name in sys.modules if name.split('.')[0] in ('numpy', 'splitdata')]\n"
        "print(*next(iter(MpQItr(modules))))\n"
    )
    modules = sorted(run_python(str(script)).stdout.split())

    assert "splitdata.process.worker.worker" in modules
    assert [
        name for name in modules if not _is_or_is_in("splitdata." + name.partition(".")[2], "splitdata.process")
    ] == [
        "splitdata",
        "splitdata._version",
        "splitdata.errors",
    ]


def test_importing_splitdata_loads_few_modules_of_the_standard_library(report: dict[str, Any]) -> None:
    extra = [module for module in report["modules"] if not _is_or_is_in(module, "splitdata")]

    assert len(extra) <= 60, extra


@pytest.mark.parametrize(
    "what",
    [
        "environment",
        "excepthook",
        "folder",
        "numpy.random",
        "path",
        "random",
        "recursion limit",
        "signal handlers",
        "tasks",
        "threads",
        "warning filters",
    ],
)
def test_importing_splitdata_leaves_the_program_unchanged(what: str, report: dict[str, Any]) -> None:
    assert report["after"][what] == report["before"][what]


def test_importing_splitdata_configures_no_logging(report: dict[str, Any]) -> None:
    # 30 is WARNING, the default of the root logger; 0 leaves the decision to it.
    assert report["handlers"] == []
    assert report["levels"] == [30, 0]


def test_importing_splitdata_opens_no_file_but_modules(report: dict[str, Any]) -> None:
    opened = [arguments[0] for event, arguments in report["events"] if event == "open"]

    assert any(Path(path).name.startswith("errors.") for path in opened)
    assert [path for path in opened if not path.endswith((".py", ".pyc", ".pyd", ".so"))] == []


@pytest.mark.parametrize(
    "event",
    ["socket", "subprocess", "os.fork", "os.posix_spawn", "os.exec", "os.system", "mmap", "tempfile", "os.mkdir"],
)
def test_importing_splitdata_causes_no_event_of(event: str, report: dict[str, Any]) -> None:
    noted = [name for name, _ in report["events"]]

    assert [name for name in noted if name == event or name.startswith(f"{event}.")] == []
