"""Groups are verified many at once: that finds what the look at each by itself finds, and their digest is right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitdata import Finding, SplitWriter, delete, verify
from splitdata.dataset.verify.bin_check import BinCheck
from splitdata.dataset.verify.many_groups import look_into_groups
from splitdata.format.checksum import hash64
from splitdata.format.digest import digest_of_groups, digest_of_hashes, join_digests
from splitdata.format.record_group import pack_group
from tests.dataset.record_kinds import segments_of


def write(path: Path, count: int, **options: Any) -> Path:
    with SplitWriter(path, durability="none", **options) as writer:
        keys = [f"key {number}" if number % 3 else None for number in range(count)]
        writer.write_many([b"record %d" % number * (number % 5) for number in range(count)], keys=keys)
    return path


def findings_of(path: Path, monkeypatch: pytest.MonkeyPatch, *, singly: bool) -> tuple[Finding, ...]:
    with monkeypatch.context() as patch:
        if singly:
            patch.setattr(BinCheck, "_check_together", lambda _self, _source, run: run)
        return verify(path, num_workers=1).findings


@pytest.mark.parametrize("alignment", [8, 64])
@pytest.mark.parametrize("compression", [None, "zstd"])
def test_every_flipped_byte_has_the_findings_that_each_group_by_itself_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alignment: int, compression: str | None
) -> None:
    path = write(tmp_path / "data", 27, bins=2, group=4, alignment=alignment, compression=compression)
    delete(path, positions=[3])
    _, paths = segments_of(path)[0]
    file = Path(paths.bin(0))
    original = file.read_bytes()
    assert verify(path).is_intact
    for place in range(0, len(original), 5):
        damaged = bytearray(original)
        damaged[place] ^= 4
        file.write_bytes(damaged)
        together, singly = (findings_of(path, monkeypatch, singly=one) for one in (False, True))
        assert together == singly, place


def test_whole_groups_are_looked_at_together_and_only_the_last_one_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "data", 4 * 10 + 3, bins=3, group=4)
    seen: list[int] = []
    real = BinCheck._check_group

    def noted(check: BinCheck, frame: int) -> None:
        seen.append(frame)
        real(check, frame)

    monkeypatch.setattr(BinCheck, "_check_group", noted)

    assert verify(path).is_intact
    assert seen == [10]


def test_lengths_in_the_index_that_differ_are_found(tmp_path: Path) -> None:
    path = write(tmp_path / "data", 40, bins=1, group=4)
    _, paths = segments_of(path)[0]
    index = Path(paths.index)
    data = bytearray(index.read_bytes())
    # The lengths of the first group stand behind its entry.
    data[128 + 16 + 4] ^= 1
    index.write_bytes(data)
    problems = [finding.problem for finding in verify(path).findings]
    assert any("tells other lengths of the records of frame 0" in problem for problem in problems)


@given(st.integers(1, 20), st.integers(1, 9), st.integers(1, 4), st.integers(0, 2**32))
def test_digest_of_groups_is_that_of_their_records_with_others_between(
    num_groups: int, group: int, num_bins: int, seed: int
) -> None:
    hashes = np.random.default_rng(seed).integers(0, 2**64, (num_groups, group), np.uint64)
    expected = 0
    for row in hashes:
        expected = join_digests(expected, digest_of_hashes(row), (num_bins - 1) * group + group)
    assert digest_of_groups(hashes, num_bins * group) == expected


@given(
    st.lists(st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=5)), min_size=3, max_size=3), min_size=1),
    st.booleans(),
    st.sampled_from([1, 2, 8, 64]),
)
def test_content_of_many_groups_is_that_of_each(
    groups: list[list[tuple[bytes, bytes]]], has_keys: bool, alignment: int
) -> None:
    payloads = [
        pack_group([one for one, _ in group], [key for _, key in group] if has_keys else None, alignment)
        for group in groups
    ]
    lengths = np.array([[len(one) for one, _ in group] for group in groups], np.int64)

    found = look_into_groups(payloads, 3, lengths)

    assert found is not None
    flat = [pair for group in groups for pair in group]
    assert found.items == [one for one, _ in flat]
    assert found.hashes.ravel().tolist() == list(map(hash64, found.items))
    keyed = [(number, key) for number, (_, key) in enumerate(flat) if key and has_keys]
    assert list(zip(found.key_places.tolist(), found.keys, strict=True)) == keyed
    assert look_into_groups(payloads, 2, lengths[:, :2]) is None
    assert look_into_groups([*payloads[:-1], payloads[-1] + b"x"], 3, lengths) is None
    assert look_into_groups(payloads, 3, lengths + 1) is None
