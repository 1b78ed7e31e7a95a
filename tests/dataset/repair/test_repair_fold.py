"""repair beside folding: segments that were folded, or a fold that was killed, are taken in only once.

s0 s1 ... s39 ── folded ──> f s32 ...       the small ones stay as long as a manifest lists them
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from splitdata import SplitDataLoader, SplitWriter, describe, repair, verify
from splitdata.dataset.manifests.directory import DatasetDirectory
from splitdata.dataset.segments.segment_writer import SegmentWriter
from splitdata.dataset.writing import fold
from splitdata.format import spec
from splitdata.storage import files
from tests.faults.file_faults import fast_folder

NUM_SEGMENTS = 32
RECORDS = [b"record %d of %d" % (number, segment) for segment in range(NUM_SEGMENTS) for number in range(3)]


class KilledError(Exception):
    """Stands for the end of a process."""


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    with fast_folder(tmp_path) as folder:
        yield folder / "data"


def write_segments(path: Path) -> None:
    for segment in range(NUM_SEGMENTS):
        with SplitWriter(path, mode="append", bins=1, durability="none", metadata={"n": segment}) as writer:
            writer.write_many(RECORDS[3 * segment : 3 * segment + 3])


def check(path: Path, records: list[bytes]) -> None:
    with SplitDataLoader(path) as loader:
        assert [loader[position] for position in range(len(loader))] == records
    assert verify(path).findings == ()
    assert repair(path, adopt=True).num_adopted == 0


def test_damaged_manifest_of_a_fold_is_made_again(path: Path) -> None:
    write_segments(path)
    assert len(describe(path).segments) == 1
    fingerprint = describe(path).fingerprint
    sorted(path.glob("manifest.*.json"))[-1].write_bytes(b"damaged")

    for adopt in (False, True):
        assert repair(path, adopt=adopt).num_adopted == 0
        assert describe(path).fingerprint == fingerprint
        check(path, RECORDS)


@pytest.mark.parametrize("is_deleted", [False, True])
def test_all_manifests_lost_after_a_fold_are_made_again(path: Path, is_deleted: bool) -> None:
    write_segments(path)
    assert len(list((path / "segments").iterdir())) == NUM_SEGMENTS + 1
    for manifest in path.glob("manifest.*.json"):
        manifest.unlink()
        if not is_deleted:
            manifest.write_bytes(b"damaged")

    report = repair(path, adopt=is_deleted)

    assert report.num_records == len(RECORDS)
    assert describe(path).metadata == {"n": NUM_SEGMENTS - 1}
    check(path, RECORDS)


@pytest.mark.parametrize("step", ["append_stored", "seal", "sync", "link"])
@pytest.mark.parametrize("after", [1, 20])
def test_killed_fold_is_not_adopted(path: Path, step: str, after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, name = (files, "link_unnamed") if step == "link" else (SegmentWriter, step)
    real_fold, real = fold.fold_small_segments, getattr(owner, name)
    calls = 0

    def kill(*arguments: object, **keywords: object) -> object:
        nonlocal calls
        calls += 1
        if calls >= after or step != "append_stored":
            raise KilledError
        return real(*arguments, **keywords)

    def folding(*arguments: object, **keywords: object) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, kill)
            # A killed process removes nothing.
            patch.setattr(DatasetDirectory, "remove_segment", lambda *_, **__: False)
            real_fold(*arguments, **keywords)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr("splitdata.dataset.writing.write_session.fold_small_segments", folding)
        with pytest.raises(KilledError):
            write_segments(path)
    # The last writer was killed in folding, which is after its own commit.
    assert calls
    assert len(list((path / "segments").iterdir())) == NUM_SEGMENTS + 1

    assert repair(path).num_adoptable == 0
    assert repair(path, adopt=True).num_adopted == 0
    assert len(list((path / "segments").iterdir())) == NUM_SEGMENTS
    check(path, RECORDS)


def test_records_of_a_killed_writer_beside_many_segments_are_adopted(path: Path) -> None:
    write_segments(path)
    for segment in range(NUM_SEGMENTS + 2):
        with SplitWriter(path, mode="append", bins=1, durability="none") as writer:
            writer.write(b"%d" % segment * (spec.FRAME_UNIT * 1000))
    writer = SplitWriter(path, mode="append", bins=1, durability="none")
    writer.write_many([*RECORDS[:1], b"and another"])
    writer._flush()
    writer._release()

    assert repair(path, adopt=True).num_adopted == 2
    with SplitDataLoader(path) as loader:
        assert loader[-2:] == [RECORDS[0], b"and another"]
