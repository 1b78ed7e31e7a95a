"""What holds for every test: the watchdog around it, how hypothesis looks for examples, fixtures for any folder.

processes before -> setup -> processes after -> call -> teardown -> no further process left
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.faults.small_process import small_process
from tests.holdings import collect_and_freeze
from tests.watchdog import end_processes, limit_of, processes_left, running_ids, time_limit

__all__ = ["report", "small_process"]

# The same examples in every run: a failure is found by the change that causes it. The machines
# that run the tests are shared, so how long an example takes says nothing.
settings.register_profile(
    "default", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
# New examples each time, and many of them.
settings.register_profile("soak", parent=settings.get_profile("default"), derandomize=False, max_examples=5000)
# Few of them, for `make quick`.
settings.register_profile("quick", parent=settings.get_profile("default"), max_examples=15)
settings.load_profile("default")

# Programs that tests start are to run as a user's do, with output that is buffered and modules that are compiled.
for name in ("PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"):
    os.environ.pop(name, None)

# A shell that runs the tests in the background has SIGINT ignored, which every process inherits that they
# start: then Ctrl-C, and so its tests, would do nothing.
signal.signal(signal.SIGINT, signal.default_int_handler)

_BEFORE_SETUP = pytest.StashKey[frozenset[int]]()
_AFTER_SETUP = pytest.StashKey[frozenset[int]]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse names that differ in every process, before the two that share the tests find it out together."""
    unstable = [item.nodeid for item in items if " at 0x" in item.nodeid]
    if unstable:
        raise pytest.UsageError(
            f"an address is part of a test's name, give its parameters ids=stable_id: {unstable[0]}"
        )


def pytest_collection_finish() -> None:
    """Leave thousands of tests out of each collection of garbage that follows."""
    collect_and_freeze()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """Limit the fixtures' setup, and note the processes that fixtures keep for several tests."""
    item.stash[_BEFORE_SETUP] = running_ids()
    with time_limit(limit_of(item), spared=item.stash[_BEFORE_SETUP]):
        yield
    item.stash[_AFTER_SETUP] = running_ids()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Limit the test itself."""
    with time_limit(limit_of(item), spared=item.stash[_BEFORE_SETUP]):
        yield


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Limit the fixtures' teardown, then end and report every process that the test left."""
    with time_limit(limit_of(item), spared=item.stash[_BEFORE_SETUP]):
        yield
    left = processes_left(item.stash.get(_AFTER_SETUP, item.stash[_BEFORE_SETUP]))
    if left:
        end_processes(left)
        pytest.fail("processes left behind, and ended now: " + "; ".join(f"{p.pid} {p.command}" for p in left))


@pytest.fixture
def report() -> Callable[[str], None]:
    """Return a function that shows a figure, with -s."""

    def write(text: str) -> None:
        sys.stdout.write(f"\n{text}")

    return write
