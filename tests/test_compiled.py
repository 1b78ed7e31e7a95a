"""The switch of the compiled path, and its hash."""

from __future__ import annotations

import random
import sys

import pytest
import xxhash

from splitdata import _compiled
from tests.paths import needs_compiled

MOST = 4096


@pytest.fixture
def unasked(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The state of a process that has opened no dataset yet."""
    monkeypatch.setattr(_compiled, "_found", [])
    monkeypatch.delenv("SPLITDATA_PURE", raising=False)
    return monkeypatch


def hide(patch: pytest.MonkeyPatch) -> None:
    """Have the compiled file be one that is not there."""
    patch.setitem(sys.modules, "splitdata._speedups", None)
    patch.delattr("splitdata._speedups", raising=False)


def test_python_alone_is_used_where_the_environment_says_so(unasked: pytest.MonkeyPatch) -> None:
    unasked.setenv("SPLITDATA_PURE", "1")
    assert _compiled.speedups() is None


def test_python_alone_is_used_where_nothing_is_compiled(unasked: pytest.MonkeyPatch) -> None:
    hide(unasked)
    assert _compiled.speedups() is None


def test_compiled_path_that_is_asked_for_and_absent_is_an_error(unasked: pytest.MonkeyPatch) -> None:
    hide(unasked)
    unasked.setenv("SPLITDATA_PURE", "0")
    with pytest.raises(ImportError, match=r"SPLITDATA_PURE=0 asks for the compiled path.*docs/speedups\.md"):
        _compiled.speedups()


def test_other_values_of_the_switch_are_refused(unasked: pytest.MonkeyPatch) -> None:
    unasked.setenv("SPLITDATA_PURE", "yes")
    with pytest.raises(ValueError, match=r"SPLITDATA_PURE is 1 .* got 'yes'"):
        _compiled.speedups()


@needs_compiled
def test_file_that_was_built_from_other_sources_is_not_used(unasked: pytest.MonkeyPatch) -> None:
    from splitdata import _speedups

    unasked.setattr(_speedups, "INTERFACE", -1)
    assert _compiled.speedups() is None
    _compiled._found.clear()
    unasked.setenv("SPLITDATA_PURE", "0")
    with pytest.raises(ImportError, match="was built from other sources"):
        _compiled.speedups()


@needs_compiled
def test_hash_is_that_of_the_package_for_every_length_and_alignment() -> None:
    from splitdata._speedups import hash64

    data = memoryview(random.Random(1).randbytes(MOST + 64))
    for length in range(MOST + 1):
        # Each alignment with each length of those that are hashed in different ways, some with all others.
        for start in range(16) if length <= 256 else (0, 1 + length % 63):
            part = data[start : start + length]
            assert hash64(part) == xxhash.xxh3_64_intdigest(part), (start, length)


@needs_compiled
@pytest.mark.soak
def test_hash_is_that_of_the_package_for_a_million_random_inputs() -> None:
    from splitdata._speedups import hash64

    source = random.Random(2)
    data = memoryview(source.randbytes(1 << 22))
    for _ in range(1_000_000):
        start = source.randrange(len(data) - 70_000)
        part = data[start : start + int(2 ** source.uniform(0, 16))]
        assert hash64(part) == xxhash.xxh3_64_intdigest(part), (start, len(part))
