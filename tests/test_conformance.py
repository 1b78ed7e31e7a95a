"""The conformance files say of the library what they say of any reader.

datasets + edits ──> a dataset with one oddity ──> SplitDataLoader, verify ──> what they say ──> the verdict
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import pytest

from splitdata import BadMagicError, FormatError, SampleDataset, SplitDataError, SplitDataLoader, verify
from splitdata.format.checksum import hash64
from tests.conformance.edited_dataset import CASES, copy_with_edits
from tests.conformance.shown_samples import shown_sample
from tests.conformance.verdict import differences, exact


def outcome(ask: Callable[[], Any]) -> Any:
    """Return an answer, None where there is no such key, or the name of the error that was raised."""
    try:
        return ask()
    except KeyError:
        return None
    except SplitDataError as error:
        return name_of(error)


def name_of(error: SplitDataError) -> str:
    """Return the name of an error as the verdicts have it: FORMAT.md does not tell a wrong magic apart."""
    return FormatError.__name__ if isinstance(error, BadMagicError) else type(error).__name__


def say(folder: Path, verdict: dict[str, Any], io: Literal["mmap", "pread"]) -> dict[str, Any]:
    """Return what the library says of a dataset, in the form of a verdict."""
    try:
        dataset = SplitDataLoader(folder, io=io)
    except SplitDataError as error:
        return {"opens": name_of(error)}
    with dataset:
        return {"opens": True} | {name: _SAID[name](dataset, verdict[name]) for name in verdict if name != "opens"}


def _hash_of(dataset: SplitDataLoader, position: int) -> Any:
    return outcome(lambda: f"{hash64(dataset[position]):016x}")


def _hash_of_range(dataset: SplitDataLoader, position: int, start: int, stop: int) -> Any:
    return outcome(lambda: f"{hash64(dataset.read_range(position, start, stop)):016x}")


def _samples_of(dataset: SplitDataLoader, asked: dict[str, Any]) -> dict[str, Any]:
    try:
        samples = SampleDataset(dataset.paths[0])
    except SplitDataError as error:
        # The codec of all records.
        return dict.fromkeys(asked, name_of(error))
    with samples:
        return {position: outcome(partial(_sample_of, samples, int(position))) for position in asked}


def _sample_of(samples: SampleDataset, position: int) -> Any:
    return shown_sample(samples[position])


_SAME_FOR_EACH_WAY: Final = {"intact", "metadata", "metadata_bytes", "samples", "sha256"}
_SAID: Final[dict[str, Callable[[SplitDataLoader, Any], Any]]] = {
    "intact": lambda dataset, _: verify(dataset.paths[0], num_workers=1).is_intact,
    "records": lambda dataset, _: [_hash_of(dataset, position) for position in range(len(dataset))],
    "ranges": lambda dataset, asked: [[*place, _hash_of_range(dataset, *place)] for *place, _ in asked],
    "samples": lambda dataset, asked: _samples_of(dataset, asked),
    "keys": lambda dataset, _: [
        outcome(lambda position=position: dataset.key(position))  # type: ignore[misc]  # a default, to bind it
        for position in range(len(dataset))
    ],
    "find": lambda dataset, keys: {
        key: outcome(lambda key=key: dataset.find(key))  # type: ignore[misc]  # a default, to bind it
        for key in keys
    },
    "metadata": lambda dataset, _: exact(dataset.metadata),
    "metadata_bytes": lambda dataset, _: len(
        json.dumps(dataset.metadata, ensure_ascii=False, separators=(",", ":")).encode()
    ),
    "fingerprint": lambda dataset, _: dataset.fingerprint,
    "sha256": lambda dataset, _: dataset.digest(),
}


def _asked(verdict: dict[str, Any], io: str) -> dict[str, Any]:
    """Return the part of a verdict that a way of reading files makes a difference to; all of it for one of them."""
    return verdict if io == "mmap" else {name: one for name, one in verdict.items() if name not in _SAME_FOR_EACH_WAY}


@pytest.mark.skipif(sys.platform == "win32", reason="FIFOs, and links without a privilege, are not to be had there")
@pytest.mark.parametrize("io", ["mmap", "pread"])
@pytest.mark.parametrize("dataset", sorted({case["dataset"] for case in CASES}))
def test_library_gives_the_verdict_of_each_conformance_case(
    tmp_path: Path, dataset: str, io: Literal["mmap", "pread"]
) -> None:
    differing = []
    for case in CASES:
        if case["dataset"] != dataset or (io == "pread" and case["verdict"]["opens"] is not True):
            continue
        folder = tmp_path / case["name"]
        copy_with_edits(case, folder)
        if different := differences(asked := _asked(case["verdict"], io), say(folder, asked, io)):
            differing.append({"case": case["name"], "what": case["what"], **different})
        shutil.rmtree(folder)
    assert not differing, json.dumps(differing, indent=1)
