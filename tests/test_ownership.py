"""Ownership: a forked child knows that an object is its parent's, and what it must renew."""

from __future__ import annotations

import gc
import os
import sys

import pytest

from splitdata._ownership import OwnerProcess, renew_after_fork
from splitdata.errors import ClosedError
from tests.forked import answer_of_child

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


class Lock:
    """Counts how often it was made again."""

    def __init__(self) -> None:
        self.num_renewed = 0
        renew_after_fork(self)

    def _after_fork_in_child(self) -> None:
        self.num_renewed += 1


def test_object_in_its_own_process_is_usable() -> None:
    owner = OwnerProcess()

    owner.check("this")

    assert owner.is_current
    assert owner.pid == os.getpid()


def test_object_in_a_forked_child_raises_and_names_both_processes() -> None:
    owner = OwnerProcess()

    def ask() -> str:
        assert not owner.is_current
        with pytest.raises(ClosedError) as caught:
            owner.check("SplitWriter('d')")
        return f"{os.getpid()} {caught.value}"

    pid, message = answer_of_child(ask).split(" ", 1)

    assert message.startswith(f"SplitWriter('d') belongs to process {os.getpid()}, from which this one ({pid}) was")
    assert owner.is_current


def test_object_made_in_a_forked_child_belongs_to_it_and_not_to_its_own_child() -> None:
    def ask() -> str:
        owner = OwnerProcess()
        return f"{owner.is_current} {answer_of_child(lambda: str(owner.is_current))}"

    assert answer_of_child(ask) == "True False"


def test_renewal_runs_once_in_each_child_and_never_in_the_parent() -> None:
    lock = Lock()

    def ask() -> str:
        return f"{lock.num_renewed} {answer_of_child(lambda: str(lock.num_renewed))}"

    assert answer_of_child(ask) == "1 2"
    assert lock.num_renewed == 0


def test_object_that_was_dropped_is_not_renewed() -> None:
    lock = Lock()
    count = sys.getrefcount(lock)
    renew_after_fork(lock)
    assert sys.getrefcount(lock) == count

    del lock
    gc.collect()

    assert answer_of_child(lambda: "fine") == "fine"
