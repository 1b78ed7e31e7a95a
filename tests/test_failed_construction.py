"""Objects whose construction fails: the error is raised, and what is left of them is collected in silence."""

from __future__ import annotations

import gc
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

import splitdata
from splitdata.dataset.cache.cache_generation import CacheGeneration, Claim
from splitdata.dataset.manifests.retention import Pin
from splitdata.storage.file_source import MappedSource, PreadSource
from splitdata.storage.folder import Folder
from splitdata.storage.locked_file import LockedFile
from tests.holdings import collect_and_freeze

PUBLIC = {
    name: value
    for name in splitdata.__all__
    if inspect.isclass(value := getattr(splitdata, name)) and not issubclass(value, BaseException)
}
# With finalizers, made by the library alone: these take a descriptor on trust, but know when they were given none.
INTERNAL: dict[str, Callable[..., Any]] = {
    "Claim": Claim,
    "Folder": Folder,
    "CacheGeneration": CacheGeneration,
    "LockedFile": LockedFile,
    "Pin": Pin,
    "MappedSource": MappedSource,
    "PreadSource": PreadSource,
}


class Stranger:
    """Of no type that anything takes."""


WRONG: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "nothing": ((), {}),
    "unknown option": (("there",), {"no_such_option": 3}),
    "too many": (tuple(range(40)), {}),
    "None": ((None,), {}),
    "stranger": ((Stranger(),), {}),
    "two strangers": ((Stranger(), Stranger()), {}),
    "number": ((-1,), {}),
    "bytes": ((b"there",), {}),
    "URL": (("gopher://bucket/there",), {}),
    "missing": (("not/there",), {"mode": "no such mode"}),
    "missing, one argument": (("not/there",), {}),
}


@pytest.fixture
def unraisable(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect what Python would print as "Exception ignored in ..."."""
    told: list[str] = []

    def note(args: Any) -> None:  # as sys.unraisablehook has it
        trace: TracebackType | None = args.exc_traceback
        told.append(f"{args.object!r}: {args.exc_value!r} in {trace and trace.tb_frame}")

    monkeypatch.setattr(sys, "unraisablehook", note)
    collect_and_freeze()
    return told


def make_and_drop(make: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
    """Make an object, as far as that goes, and let go of it."""
    made = None
    try:
        made = make(*arguments, **keywords)
    except Exception:
        gc.collect()
    for end in ("abort", "close"):
        if hasattr(made, end):
            getattr(made, end)()
            break
    del made
    gc.collect()


@pytest.mark.parametrize("name", PUBLIC)
def test_object_that_was_never_made_says_nothing_when_it_is_collected(
    name: str, unraisable: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for wrong, (arguments, keywords) in WRONG.items():
        make_and_drop(PUBLIC[name], arguments, keywords)
        assert unraisable == [], wrong


@pytest.mark.parametrize("name", INTERNAL)
def test_object_of_the_library_that_was_never_made_says_nothing(name: str, unraisable: list[str]) -> None:
    for wrong in ("nothing", "unknown option", "too many"):
        make_and_drop(INTERNAL[name], *WRONG[wrong])
        assert unraisable == [], wrong


def test_misspelt_option_of_a_writer_is_one_error(unraisable: list[str], tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="bin"):
        splitdata.SplitWriter(tmp_path / "data", bin=3)  # type: ignore[call-arg]
    gc.collect()

    assert unraisable == []
    assert not (tmp_path / "data").exists()
