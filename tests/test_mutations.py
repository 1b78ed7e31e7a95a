"""The bugs that can be planted are still bugs: each changes what stands in its file once, into what can be run.

In soak, as `make mutations` says it too: who changes a line of the library need not know of the bug for it.
"""

from __future__ import annotations

import ast

import pytest

from tests.command import ROOT
from tests.mutations import planted
from tests.planted_bugs import BUGS, Bug


@pytest.mark.soak
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_bug_can_be_planted_where_it_says(bug: Bug) -> None:
    text = (ROOT / "splitdata" / bug.file).read_text()

    changed = planted(bug, text)

    assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(text))
    assert all((ROOT / one).exists() for one in bug.tests)


def test_bugs_are_at_least_24_of_different_names() -> None:
    assert len({bug.name for bug in BUGS}) == len(BUGS) >= 24
