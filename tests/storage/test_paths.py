"""Names: computed from numbers and ids, and recognised only as they are computed."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitdata.storage.paths import DatasetPaths, SegmentPaths

PATHS = DatasetPaths("data")
SEGMENT = PATHS.segment("0a" * 16)


def test_names_have_their_literal_form() -> None:
    assert PATHS.manifest(42) == os.path.join("data", "manifest.0000000042.json")  # noqa: PTH118
    assert SEGMENT.index == os.path.join("data", "segments", "0a" * 16, "index")  # noqa: PTH118
    assert SEGMENT.bin(7).endswith("000007.bin")
    assert SEGMENT.bin(1_234_567).endswith("1234567.bin")


@given(st.integers(1, 9_999_999_999))
def test_generation_is_found_in_its_name(generation: int) -> None:
    assert PATHS.generation_of_name(os.path.basename(PATHS.manifest(generation))) == generation  # noqa: PTH119


@given(st.integers(0, (1 << 24) - 1))
def test_bin_is_found_in_its_name(number: int) -> None:
    assert SegmentPaths.bin_of_name(os.path.basename(SEGMENT.bin(number))) == number  # noqa: PTH119


@pytest.mark.parametrize(
    "name", ["0.bin", "0000007.bin", "000007.bin.old", "000007.BIN", "00000\u0667.bin", "-00007.bin"]
)
def test_other_names_are_no_bins(name: str) -> None:
    assert SegmentPaths.bin_of_name(name) is None
    assert not SegmentPaths.is_own_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "manifest.42.json",
        "manifest.0000000000.json",
        "manifest.0000000042.json~",
        "manifest.000000004\u0662.json",
        "Manifest.0000000042.json",
    ],
)
def test_other_names_are_no_manifests(name: str) -> None:
    assert PATHS.generation_of_name(name) is None
