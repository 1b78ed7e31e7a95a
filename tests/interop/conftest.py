"""The dataset that the tests of this folder read."""

from __future__ import annotations

import pytest

from tests.interop.stream import write


@pytest.fixture(scope="session")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Fifty-three records in four bins."""
    return write(tmp_path_factory.mktemp("interop") / "data")
