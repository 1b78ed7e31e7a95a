"""Drawings in docstrings keep their shape: each is indented, and each branch stands under what it branches from."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.command import ROOT

# Arrows, boxes and columns. Prose has none of them.
DRAWN = re.compile(r"[─│├└┴┬┌┐┘┼]|--+>|\S {3,}\S")
BRANCH = re.compile(r"[`└](?=[─-])")


def drawings_in(docstring: str) -> Iterator[list[str]]:
    """Yield the drawings of a docstring, as lines: what stands between blank lines and is no prose."""
    for paragraph in re.split(r"\n[ \t]*\n", docstring):
        lines = [line for line in paragraph.split("\n") if line.strip()]
        if any(DRAWN.search(line) for line in lines):
            yield lines


def faults_of(lines: list[str]) -> Iterator[str]:
    """Yield the lines of a drawing that have lost their place."""
    for above, line in zip(["", *lines], lines, strict=False):
        if not line.startswith("   "):
            yield line
        for branch in BRANCH.finditer(line):
            if not above[branch.start() : branch.start() + 1].strip():
                yield f"{line}    <- nothing is drawn above this branch"


def test_drawings_of_modules_are_indented_and_branches_stand_under_what_they_branch_from() -> None:
    paths = [path for folder in ("splitdata", "cli") for path in sorted((ROOT / folder).rglob("*.py"))]
    docstrings = {
        path: ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")), clean=False) or "" for path in paths
    }
    faults = [
        f"{path.relative_to(ROOT)}: {fault}"
        for path, docstring in docstrings.items()
        for drawing in drawings_in(docstring.partition("\n")[2])
        for fault in faults_of(drawing)
    ]

    assert faults == []


def test_drawing_that_a_formatter_has_flattened_is_found() -> None:
    whole = ["    source ──> record", "       `─ names"]

    assert list(faults_of(whole)) == []
    assert list(faults_of([line.strip() for line in whole])) == ["source ──> record", "`─ names"]
    assert len(list(faults_of([whole[0], "                         `─ names"]))) == 1
