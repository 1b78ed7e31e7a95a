"""Several sources as one keep what each says of its records: keys, and the codec."""

from __future__ import annotations

from pathlib import Path

import pytest

from splitdata import SampleDataset, SourceError, SplitWriter, convert


def _samples(path: Path, numbers: range, *, keyed: bool = True) -> str:
    with SplitWriter(path, metadata={"made by": "a test", "first": numbers[0]}) as writer:
        for number in numbers:
            writer.write_sample({"x": number}, key=f"k{number}" if keyed else None)
    return str(path)


def test_several_datasets_of_samples_keep_keys_codec_and_the_metadata_that_they_share(tmp_path: Path) -> None:
    sources = [_samples(tmp_path / "a", range(3)), _samples(tmp_path / "b", range(3, 5))]

    report = convert(sources, tmp_path / "both")

    both = SampleDataset(tmp_path / "both")
    assert report.num_records == 5
    assert [sample["x"] for sample in both] == [0, 1, 2, 3, 4]
    assert [both.records.key(position) for position in range(5)] == ["k0", "k1", "k2", "k3", "k4"]
    assert both.records.metadata["made by"] == "a test"
    assert "first" not in both.records.metadata


def test_samples_and_plain_records_together_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    sources = [_samples(tmp_path / "a", range(3), keyed=False), str(tmp_path / "b")]
    with SplitWriter(tmp_path / "b") as writer:
        writer.write(b"plain")

    with pytest.raises(SourceError, match="are of the codec sample, those of b of None"):
        convert(sources, tmp_path / "both")
    assert not (tmp_path / "both").exists()
