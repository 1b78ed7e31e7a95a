"""Each piece of knowledge has one owner: who else needs it asks there, and writes it nowhere a second time.

what `loc` is made of     format/index.py; segment_reader.py has it inline where one record is read
"""

from __future__ import annotations

import ast

import pytest

from tests.command import ROOT

OWNERS: dict[tuple[str, ...], set[str]] = {
    ("BIN_SHIFT", "PLACE_MASK"): {"format/spec.py", "format/index.py", "dataset/segments/segment_reader.py"},
}


def users_of(*names: str) -> set[str]:
    """Return the modules of the library in which any of these names stands."""
    package = ROOT / "splitdata"
    found = set()
    for path in package.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if not any(name in text for name in names):
            continue
        nodes = list(ast.walk(ast.parse(text)))
        used = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
        used |= {node.id for node in nodes if isinstance(node, ast.Name)}
        if used & set(names):
            found.add(path.relative_to(package).as_posix())
    return found


@pytest.mark.parametrize("names", OWNERS)
def test_knowledge_of_one_module_is_used_by_no_other(names: tuple[str, ...]) -> None:
    assert users_of(*names) == OWNERS[names]
