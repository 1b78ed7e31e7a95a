"""A failing store is asked again until its time is up; what is final is final."""

from __future__ import annotations

import time

import pytest

from splitdata.errors import StoreError
from splitdata.storage.remote.patience import Patience


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were asked for; the clock goes on by them alone."""
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    monkeypatch.setattr(time, "monotonic", lambda: sum(pauses))
    return pauses


def test_store_that_recovers_costs_pauses_only(no_pauses: list[float]) -> None:
    failures = iter([OSError("503"), ConnectionResetError(), StoreError("429")])

    def ask() -> str:
        for failure in failures:
            raise failure
        return "data"

    assert Patience().call("reading x", ask) == "data"
    assert len(no_pauses) == 3
    assert all(pause <= 0.1 * 2**number for number, pause in enumerate(no_pauses))


def test_store_that_is_gone_is_an_error_that_says_what_was_tried(no_pauses: list[float]) -> None:
    def ask() -> str:
        raise OSError("503 slow down\nand more")

    with pytest.raises(StoreError, match=r"reading s3://b/x failed \d+ times in 30 s.*OSError: 503 slow down; check"):
        Patience(30).call("reading s3://b/x", ask)
    assert sum(no_pauses) == pytest.approx(30)
    assert max(no_pauses) <= 5


@pytest.mark.parametrize("error", [FileNotFoundError, FileExistsError, PermissionError, NotImplementedError, TypeError])
def test_answer_that_is_final_is_raised_at_once(no_pauses: list[float], error: type[Exception]) -> None:
    def ask() -> str:
        raise error("no")

    with pytest.raises(error, match="no"):
        Patience().call("reading x", ask)
    assert not no_pauses


def test_without_any_patience_a_failure_is_raised_as_it_is(no_pauses: list[float]) -> None:
    def ask() -> str:
        raise OSError(28, "No space left on device", "/data/copy")

    with pytest.raises(OSError, match="No space left on device: '/data/copy'") as caught:
        Patience(0).call("writing /data/copy", ask)
    assert not isinstance(caught.value, StoreError)
    assert not no_pauses
