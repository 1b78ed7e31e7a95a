"""A writer that commits and closes while a repair is at work: what it has committed stays."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from pathlib import Path

import pytest

from splitdata import DatasetNotFoundError, ManifestError, SplitDataLoader, SplitWriter, repair, verify
from splitdata.dataset.repair.segment_on_disk import SegmentOnDisk


@pytest.mark.parametrize("adopt", [False, True])
@pytest.mark.parametrize("num_before", [0, 1])
@pytest.mark.parametrize("others", [0, 2])
def test_commit_between_the_manifests_and_the_lock_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_before: int, others: int, adopt: bool
) -> None:
    path = tmp_path / "data"
    for _ in range(others):
        with SplitWriter(path, mode="append") as other:
            other.write(b"other", key="other")
    writer = SplitWriter(path, mode="append", bins=2)
    for number in range(num_before):
        writer.write(b"%d" % number, key=f"key {number}")
        writer.commit()
    writer.write(b"last", key="last")
    writer._flush()
    take_lock = SegmentOnDisk.take_lock

    def take_it_late(segment: SegmentOnDisk) -> bool:
        writer.close()
        return take_lock(segment)

    monkeypatch.setattr(SegmentOnDisk, "take_lock", take_it_late)
    try:
        # Where there was no manifest when it looked there is nothing to repair, or another's place is not taken.
        with suppress(DatasetNotFoundError, ManifestError) if not num_before + others else nullcontext():
            repair(path, adopt=adopt)
    finally:
        writer.close()

    assert verify(path).is_intact
    with SplitDataLoader(path) as loader:
        assert len(loader) == others + num_before + 1
        assert loader.find("last") == len(loader) - 1
        assert loader[-1] == b"last"
