"""Every module is found under its own name, and every module that is named somewhere exists.

Nothing public is called as a package or module beside it.

    import splitdata.a.b       then splitdata.a.b is that module, and not a function of the same name
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
from contextlib import nullcontext, suppress
from functools import reduce
from pathlib import Path

import pytest

import splitdata
from tests.command import ROOT

FOLDERS = ("splitdata", "cli", "tests", "examples", "benchmarks")
MODULES = sorted(found.name for found in pkgutil.walk_packages(splitdata.__path__, "splitdata."))


# Of 4 seconds: it loads each framework that is there.
@pytest.mark.slow
def test_every_module_is_reached_from_the_package_by_its_own_name() -> None:
    assert "splitdata.conversion.convert" in MODULES
    for name in MODULES:
        # Whose framework need not be installed.
        with suppress(ModuleNotFoundError) if name.startswith("splitdata.interop.") else nullcontext():
            importlib.import_module(name)

    loaded = [name for name in MODULES if name in sys.modules]
    hidden = [name for name in loaded if reduce(getattr, name.split(".")[1:], splitdata) is not sys.modules[name]]

    assert hidden == []


def test_room_of_conversions_is_imported_whole_and_under_another_name() -> None:
    import splitdata.conversion.sources.choose as chosen

    assert chosen.open_source is splitdata.open_source
    assert splitdata.convert.__module__ == "splitdata.conversion.convert"


# Words of the library's own modules and of the pages about it: `a/b.py`, `splitdata.a.b`.
FILE = re.compile(r"(?<![\w*])(?:[\w-]+/)*\w+\.py\b")
CONSTRAINTS = ROOT / "constraints.txt"
TEST = re.compile(r"def (test_\w+)\(")
# A group of entry points, which only looks like a module.
ENTRY_POINTS = "splitdata.sources"
MODULE = re.compile(r"(?<![\w/.])splitdata(?:\.[a-z_]\w*)+")
PAGES = [
    *(ROOT / name for name in ("README.md", "FORMAT.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]


def sources(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def test_files_that_pages_docstrings_and_comments_name_exist() -> None:
    there = [f"/{path.relative_to(ROOT).as_posix()}" for path in (*sources(*FOLDERS), *ROOT.glob("*.py"))]
    unknown = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in [*PAGES, *sources("splitdata", "cli")]
        for name in FILE.findall(path.read_text(encoding="utf-8"))
        if not any(one.endswith(f"/{name}") for one in there)
    ]

    assert unknown == []


def test_tests_that_pages_name_exist() -> None:
    there = {name for path in sources("tests") for name in TEST.findall(path.read_text(encoding="utf-8"))}
    named = {name for path in PAGES for name in re.findall(r"`(test_\w+)`", path.read_text(encoding="utf-8"))}

    assert len(named) > 20
    assert named - there == set()


def test_versions_that_the_page_on_frameworks_says_were_tried_are_those_of_the_constraints() -> None:
    page = (ROOT / "docs" / "frameworks.md").read_text(encoding="utf-8")
    tried = re.findall(r"^\|[^|]+\| (\d[\d.]+) \|", page, re.MULTILINE)
    pinned = {version for _, version in re.findall(r"^([\w-]+)==(\S+)$", CONSTRAINTS.read_text(), re.MULTILINE)}

    assert len(tried) > 10
    assert set(tried) - pinned == set()


def test_modules_that_pages_name_by_their_whole_path_exist() -> None:
    unknown = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in PAGES
        for name in MODULE.findall(path.read_text(encoding="utf-8"))
        if name != ENTRY_POINTS and not is_found(name)
    ]

    assert unknown == []


def is_found(name: str) -> bool:
    if name in MODULES:
        # Its framework need not be installed.
        return True
    try:
        reduce(getattr, name.split(".")[1:], splitdata)
    except AttributeError:
        return False
    return True


# `Name.method` (folder/module.py), as docs/dataset.md says where each part is.
PLACED = re.compile(r"`(\w+)(?:\.(\w+))?`\s+\(((?:[\w-]+/)*\w+\.py)\)")


def test_classes_and_functions_that_pages_place_in_a_module_are_there() -> None:
    there = sources("splitdata")
    placed = [(page.name, *found) for page in PAGES for found in PLACED.findall(page.read_text(encoding="utf-8"))]
    wrong = [
        f"{page}: {name}.{method} ({file})"
        for page, name, method, file in placed
        if not any(defines(path, {name, method} - {""}) for path in there if path.as_posix().endswith(f"/{file}"))
    ]

    assert len(placed) > 30
    assert wrong == []


def defines(path: Path, names: set[str]) -> bool:
    text = path.read_text(encoding="utf-8")
    return all(re.search(rf"^\s*(?:class|def) {name}\b", text, re.MULTILINE) for name in names)
