"""The golden dataset with deleted records: made again byte for byte, and read as it was meant."""

from __future__ import annotations

from pathlib import Path

from splitdata import SplitDataLoader, digest, verify
from splitdata.dataset.manifests.directory import DatasetDirectory
from tests.dataset.record_kinds import tree_of
from tests.golden import make_golden

DELETED = make_golden.GOLDEN / "deleted"


def test_golden_dataset_is_made_again_byte_for_byte(tmp_path: Path) -> None:
    make_golden.write_deleted(tmp_path / "deleted")

    made = {str(Path(path).relative_to(tmp_path)): data for path, data in files_of(tmp_path / "deleted").items()}
    golden = {str(Path(path).relative_to(DELETED.parent)): data for path, data in files_of(DELETED).items()}
    assert made == golden


def files_of(path: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


def test_golden_dataset_is_read_as_it_was_meant() -> None:
    before = tree_of(DELETED)
    with SplitDataLoader(DELETED) as loader:
        assert loader.deleted.tolist() == list(make_golden.DELETED_POSITIONS)
        assert list(loader.iterate(skip_deleted=True, with_positions=True)) == [
            (number, record)
            for number, record in enumerate(make_golden.DELETED_RECORDS)
            if number not in make_golden.DELETED_POSITIONS
        ]
        assert [loader.has_key(key) for key in ("a", "c", "d")] == [True, False, True]
        assert loader.fingerprint == "12-03ec73465cb4965f"
    assert digest(DELETED) == "33489efcc26978e9fa4789f7a778233cd4e1021ed43065bf7e0bc7e3bd3d25e9"
    assert [info.group for info in DatasetDirectory(DELETED).newest().segments] == [1, 4, 1]
    assert verify(DELETED).is_intact
    assert tree_of(DELETED) == before
