"""The leak check around each test of this folder."""

from __future__ import annotations

import pytest

from tests.holdings import leaves_nothing_behind

__all__ = ["always_leaves_nothing_behind", "leaves_nothing_behind"]


@pytest.fixture(autouse=True)
def always_leaves_nothing_behind(leaves_nothing_behind: None) -> None:
    """Ask for the check."""
