"""A dry run: reports what the conversion then does, and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from splitdata import ConversionProgress, DatasetExistsError, ManifestError, SourceError, convert, describe


def make(folder: Path, sizes: list[int]) -> Path:
    folder.mkdir()
    for number, size in enumerate(sizes):
        with (folder / f"{number:06}").open("wb") as file:
            file.truncate(size)
    return folder


MIB = 1 << 20


@pytest.mark.parametrize(
    "sizes",
    [
        [1, 2, 3],
        [15 * MIB] * 4,
        [15 * MIB] * 5,
        [20 * MIB] * 4,
        [65 * MIB],
        [1, 65 * MIB],
        [15 * MIB] * 4 + [4 * MIB - 5 * 32],
        [15 * MIB] * 4 + [4 * MIB - 5 * 32 + 1],
    ],
)
def test_dry_run_reports_what_the_conversion_does(tmp_path: Path, sizes: list[int]) -> None:
    root = make(tmp_path / "root", sizes)
    (root / ".hidden").touch()

    tried = convert(root, tmp_path / "data", dry_run=True)
    assert [path.name for path in tmp_path.iterdir()] == ["root"]
    done = convert(root, tmp_path / "data", durability="none")

    assert tried.is_dry_run
    assert not done.is_dry_run
    for name in ("kind", "path", "positions", "num_records", "num_bytes", "num_bins", "skipped"):
        assert getattr(tried, name) == getattr(done, name), name
    assert describe(tmp_path / "data").num_bins == done.num_bins


def test_dry_run_knows_what_it_would_be_added_to(tmp_path: Path) -> None:
    root = make(tmp_path / "root", [1, 2])
    convert(root, tmp_path / "data")

    assert convert(root, tmp_path / "data", mode="append", dry_run=True).positions == range(2, 4)
    assert convert(root, tmp_path / "data", mode="overwrite", dry_run=True).positions == range(2)
    assert convert(root, tmp_path / "data", mode="append", dry_run=True, bins=7, limit=1).num_bins == 7
    assert convert(root, tmp_path / "new", mode="append", dry_run=True, limit=1).positions == range(1)
    with pytest.raises(DatasetExistsError, match="it is a splitdata dataset"):
        convert(root, tmp_path / "data", dry_run=True)
    with pytest.raises(DatasetExistsError, match="not splitdata's"):
        convert(make(tmp_path / "other", [1]), root, mode="append", dry_run=True)
    with pytest.raises(DatasetExistsError, match="is a file"):
        convert(root, tmp_path / "other" / "000000", dry_run=True)


def test_dry_run_finds_what_is_wrong_with_source_and_dataset(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"1\n{\n")
    from splitdata import open_source

    with pytest.raises(SourceError, match="line 2"):
        convert(open_source(tmp_path / "a.jsonl", validate=True), tmp_path / "data", dry_run=True)
    convert(tmp_path / "a.jsonl", tmp_path / "data")
    for manifest in (tmp_path / "data").glob("manifest.*"):
        manifest.write_bytes(b"{}")
    with pytest.raises(ManifestError):
        convert(tmp_path / "a.jsonl", tmp_path / "data", mode="append", dry_run=True)


def test_progress_of_a_dry_run_ends_at_the_size_of_the_source(tmp_path: Path) -> None:
    root = make(tmp_path / "root", [3 * MIB, 10])
    seen: list[ConversionProgress] = []

    convert(root, tmp_path / "data", dry_run=True, progress=seen.append)

    assert (seen[-1].num_records, seen[-1].num_bytes, seen[-1].source_bytes) == (2, 3 * MIB + 10, 3 * MIB + 10)


def test_first_samples_are_shown_as_what_they_hold(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"1\n2\n")

    report = convert(tmp_path / "a.txt", tmp_path / "data", transform=lambda line: {"n": int(line)}, dry_run=True)

    assert [one.shown for one in report.first_records] == ["{'n': 1}", "{'n': 2}"]
    assert not (tmp_path / "data").exists()
