"""The wheel: what is in it, and that it works where nothing but the wheel is.

repository -> pip wheel -> names in the archive
                        -> empty environment -> `splitdata --version` in an empty folder
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from splitdata._version import __version__
from tests.command import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.time_limit(600)]


def run(*command: str | os.PathLike[str], cwd: Path) -> str:
    """Run a command as in a fresh shell, without this repository on Python's path, and return its output."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    ended = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the repository as it stands."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", folder, ROOT, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of an environment that holds the wheel and what it needs."""
    environment = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=environment)
    folder = environment / ("Scripts" if sys.platform == "win32" else "bin")
    install = [sys.executable, "-m", "pip", "--python", str(folder / "python"), "install"]
    run(*install, "--constraint", str(ROOT / "constraints.txt"), str(wheel), cwd=environment)
    return folder


def test_wheel_holds_both_packages_and_nothing_else_at_top_level(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()

    assert wheel.name.startswith(f"splitdata-{__version__}-")
    assert {name.split("/")[0] for name in names} == {
        "splitdata",
        "splitdata_cli",
        f"splitdata-{__version__}.dist-info",
    }


def test_wheel_holds_every_module_of_the_repository(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    modules = [path.relative_to(ROOT).as_posix() for path in (ROOT / "splitdata").rglob("*.py")]
    modules += [path.relative_to(ROOT / "cli").as_posix() for path in (ROOT / "cli" / "splitdata_cli").rglob("*.py")]

    assert sorted(name for name in names if name.endswith(".py")) == sorted(modules)


def test_tag_of_the_wheel_says_whether_it_holds_the_compiled_path(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    has_compiler = bool(shutil.which("cc") or shutil.which("gcc")) and os.environ.get("SPLITDATA_PURE") != "1"

    assert ("splitdata/_speedups.abi3.so" in names) == has_compiler
    assert wheel.name.endswith("-py3-none-any.whl") == (not has_compiler)
    assert ("-cp311-abi3-" in wheel.name) == has_compiler
    assert "splitdata/_speedups.c" not in names


@pytest.mark.parametrize(
    "name",
    ["splitdata/py.typed", "splitdata_cli/py.typed", f"splitdata-{__version__}.dist-info/licenses/LICENSE"],
)
def test_wheel_holds(name: str, wheel: Path) -> None:
    assert name in zipfile.ZipFile(wheel).namelist()


def test_wheel_installs_nothing_that_is_optional(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(f"splitdata-{__version__}.dist-info/METADATA").decode()
    needs = [line.split()[1] for line in metadata.splitlines() if line.startswith("Requires-Dist:") and ";" not in line]

    assert [need.partition(">")[0] for need in needs] == [
        "click",
        "cloudpickle",
        "numpy",
        "tqdm",
        "xxhash",
        "zstandard",
    ]


def test_installed_command_shows_the_version_in_an_empty_folder(programs: Path, tmp_path: Path) -> None:
    assert __version__ in run(programs / "splitdata", "--version", cwd=tmp_path)


def test_installed_packages_are_found_and_cli_is_not(programs: Path, tmp_path: Path) -> None:
    code = "import importlib.util as u; print([bool(u.find_spec(n)) for n in ('splitdata', 'splitdata_cli', 'cli')])"

    assert run(programs / "python", "-c", code, cwd=tmp_path) == "[True, True, False]\n"


_JOB = """
import json, pathlib, subprocess, sys
from splitdata import DistributedLoader, MpQItr, SplitDataLoader, repair, verify

def batches():
    yield from ([number] for number in range(5))

path = sys.argv[1]
assert len(SplitDataLoader(path)) == 300 and verify(path).is_intact and not repair(path).actions
assert list(MpQItr(batches)) == [[number] for number in range(5)]
with DistributedLoader(path, batch_size=32, shuffle=True, num_workers=1, transform=json.loads) as loader:
    print(sorted(number for batch in loader for number in batch["number"].tolist()) == list(range(300)))
"""


def test_installed_wheel_converts_reads_and_trains(programs: Path, tmp_path: Path) -> None:
    """With worker processes, which import what is installed: no module is missing that only a job needs."""
    lines = "".join(f'{{"number": {number}}}\n' for number in range(300))
    (tmp_path / "lines.jsonl").write_text(lines, encoding="utf-8")
    run(programs / "splitdata", "write", "lines.jsonl", "data", cwd=tmp_path)

    assert run(programs / "python", "-W", "error", "-c", _JOB, "data", cwd=tmp_path) == "True\n"
