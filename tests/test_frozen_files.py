"""Files of format 1.0 never change: a digest over all of them says so.

tests/golden/v1, tests/conformance ──> path and bytes of each file ──> SHA-256
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from tests.command import ROOT

# Frozen with format 1.0 on 2026-11-30: no file is changed, removed or added.
FROZEN = "94513151b9b702d2859f4788d0e085cda3e27e990c83fab075d6664bc173c6c3"


def files_of_version_1() -> list[Path]:
    """Return golden and crafted datasets and their verdicts, in the order of their paths."""
    conformance = ROOT / "tests" / "conformance"
    folders = [ROOT / "tests" / "golden" / "v1", conformance / "datasets"]
    found = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return sorted([*found, conformance / "verdicts.json"], key=lambda path: path.relative_to(ROOT).as_posix())


def digest_of(paths: list[Path]) -> str:
    """Return the SHA-256 of names and contents, each with its length before it."""
    whole = hashlib.sha256()
    for path in paths:
        for part in (path.relative_to(ROOT).as_posix().encode(), path.read_bytes()):
            whole.update(len(part).to_bytes(8, "little") + part)
    return whole.hexdigest()


def test_files_of_version_1_are_those_that_were_frozen() -> None:
    assert digest_of(files_of_version_1()) == FROZEN


def test_files_of_version_1_are_few_bytes() -> None:
    # Everybody who clones the project gets them.
    assert sum(path.stat().st_size for path in files_of_version_1()) < 1_500_000


if __name__ == "__main__":
    print(digest_of(files_of_version_1()))  # noqa: T201  # for who freezes them
