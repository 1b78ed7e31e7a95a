"""The conformance files say of the library what they say of any reader.

datasets + edits -> a dataset with one oddity -> SplitDataLoader -> records, keys, searches, metadata -> the verdict
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal

import pytest

from splitdata import BadMagicError, FormatError, SplitDataError, SplitDataLoader
from splitdata.format.checksum import hash64
from tests.conformance.edited_dataset import CONFORMANCE, copy_with_edits

CASES: Final[list[dict[str, Any]]] = json.loads((CONFORMANCE / "verdicts.json").read_bytes())
_EXACT: Final = 1 << 53


def _outcome(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except KeyError:
        return None
    except SplitDataError as error:
        return _name_of(error)


def _name_of(error: SplitDataError) -> str:
    """Return the name of an error as the verdicts have it: section 14 does not tell a wrong magic apart."""
    return FormatError.__name__ if isinstance(error, BadMagicError) else type(error).__name__


def _shown(value: Any) -> Any:
    """Return metadata with the integers that not every parser of JSON keeps as texts."""
    if isinstance(value, dict):
        return {name: _shown(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_shown(part) for part in value]
    return str(value) if type(value) is int and abs(value) > _EXACT else value


def _say(folder: Path, verdict: dict[str, Any], io: Literal["mmap", "pread"]) -> dict[str, Any]:
    """Return what the library says of a dataset, in the form of a verdict."""
    try:
        dataset = SplitDataLoader(folder, io=io)
    except SplitDataError as error:
        return {"opens": _name_of(error)}
    with dataset:
        return {"opens": True} | {name: _SAID[name](dataset, verdict[name]) for name in verdict if name != "opens"}


_SAID: Final[dict[str, Callable[[SplitDataLoader, Any], Any]]] = {
    "records": lambda dataset, _: [
        _outcome(lambda position=position: f"{hash64(dataset[position]):016x}")  # type: ignore[misc]
        for position in range(len(dataset))
    ],
    "keys": lambda dataset, _: [
        _outcome(lambda position=position: dataset.key(position))  # type: ignore[misc]
        for position in range(len(dataset))
    ],
    "find": lambda dataset, keys: {key: _outcome(lambda key=key: dataset.find(key)) for key in keys},  # type: ignore[misc]
    "metadata": lambda dataset, _: _shown(dataset.metadata),
    "metadata_bytes": lambda dataset, _: len(
        json.dumps(dataset.metadata, ensure_ascii=False, separators=(",", ":")).encode()
    ),
    "fingerprint": lambda dataset, _: dataset.fingerprint,
}


def _agrees(verdict: Any, said: Any) -> bool:
    """Say whether what a reader says is the verdict, or one of those where it has the choice."""
    if isinstance(verdict, list) and not isinstance(said, list):
        return said in verdict
    if isinstance(verdict, list):
        return len(verdict) == len(said) and all(map(_agrees, verdict, said))
    if isinstance(verdict, dict):
        return (
            isinstance(said, dict)
            and verdict.keys() == said.keys()
            and all(_agrees(verdict[name], said[name]) for name in verdict)
        )
    return bool(verdict == said)


@pytest.mark.skipif(sys.platform == "win32", reason="FIFOs, and links without a privilege, are not to be had there")
@pytest.mark.parametrize("io", ["mmap", "pread"])
@pytest.mark.parametrize("dataset", sorted({case["dataset"] for case in CASES}))
def test_library_gives_the_verdict_of_each_conformance_case(
    tmp_path: Path, dataset: str, io: Literal["mmap", "pread"]
) -> None:
    differing = []
    for case in CASES:
        if case["dataset"] != dataset:
            continue
        folder = tmp_path / case["name"]
        copy_with_edits(case, folder)
        said = _say(folder, case["verdict"], io)
        if not _agrees(case["verdict"], said):
            differing.append({"case": case["name"], "what": case["what"], **_difference(case["verdict"], said)})
        shutil.rmtree(folder)
    assert not differing, json.dumps(differing, indent=1)


def _difference(verdict: dict[str, Any], said: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {"verdict": verdict.get(name), "said": said.get(name)}
        for name in verdict.keys() | said.keys()
        if not _agrees(verdict.get(name), said.get(name))
    }
