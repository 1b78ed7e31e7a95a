"""Samples as tables of Arrow, and on to pandas, polars and datasets of Hugging Face's, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitdata import DistributedLoader, SampleDataset, SplitWriter
from splitdata.samples import arrow_columns

pyarrow: Any = pytest.importorskip("pyarrow")

SAMPLES: list[dict[str, Any]] = [
    {
        "x": np.full((2, 3), number, np.float32),
        "row": np.arange(number % 4, dtype=np.int16),
        "label": number,
        "weight": np.float16(number / 2),
        "ok": number % 2 == 0,
        "name": f"é{number}",
        "image": bytes([number]),
        "note": None if number % 3 else {"by": f"{number}", "at": [number, 1]},
    }
    for number in range(23)
]


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SampleDataset:
    # Several batches, the last of them shorter.
    monkeypatch.setattr(arrow_columns, "_ROWS", 5)
    with SplitWriter(tmp_path / "d", bins=3) as writer:
        writer.write_samples(SAMPLES)
    return SampleDataset(tmp_path / "d")


def as_lists(sample: dict[str, Any]) -> dict[str, Any]:
    return {name: value.tolist() if hasattr(value, "tolist") else value for name, value in sample.items()}


def test_table_has_the_values_and_types_of_the_samples(dataset: SampleDataset) -> None:
    table = dataset.to_arrow()

    assert table.to_pylist() == [as_lists(sample) for sample in SAMPLES]
    assert table.schema.field("x").type == pyarrow.list_(pyarrow.list_(pyarrow.float32(), 3), 2)
    assert table.schema.field("row").type == pyarrow.large_list(pyarrow.int16())
    kinds = {name: str(table.schema.field(name).type) for name in ("label", "weight", "ok", "name", "image")}
    assert list(kinds.values()) == ["int64", "halffloat", "bool", "string", "binary"]


def test_columns_are_those_that_are_asked_for_in_their_order(dataset: SampleDataset) -> None:
    table = dataset.to_arrow(["label", "x"])

    assert table.column_names == ["label", "x"]
    assert table["label"].to_pylist() == list(range(23))
    with pytest.raises(KeyError, match="there is no column 'lable': there are 'x', 'row'"):
        dataset.to_arrow(["lable"])


def test_numbers_and_arrays_of_one_shape_are_not_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gathered: list[Any] = []
    gather = SampleDataset.gather

    def noted(self: SampleDataset, indices: Any) -> Any:
        gathered.append(gather(self, indices))
        return gathered[-1]

    monkeypatch.setattr(SampleDataset, "gather", noted)

    with SplitWriter(tmp_path / "d") as writer:
        writer.write_samples({"x": sample["x"], "label": sample["label"]} for sample in SAMPLES)
    table = SampleDataset(tmp_path / "d").to_arrow()

    for name in ("x", "label"):
        chunk = table[name].chunk(0)
        while hasattr(chunk, "flatten") and pyarrow.types.is_fixed_size_list(chunk.type):
            chunk = chunk.flatten()
        assert chunk.buffers()[1].address == gathered[0][name].ctypes.data


def test_samples_that_are_no_dicts_are_one_column(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "texts", metadata={"record_codec": "text"}) as writer:
        writer.write_many([b"one", b"two"])

    assert SampleDataset(tmp_path / "texts").to_arrow().to_pydict() == {"value": ["one", "two"]}


def test_dataset_without_samples_is_a_table_without_rows(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "d", metadata={"record_codec": "sample"}):
        pass

    assert SampleDataset(tmp_path / "d").to_arrow().num_rows == 0


def test_value_without_a_type_in_arrow_names_its_column(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "d") as writer:
        writer.write_samples([{"label": 1, "z": np.complex64(1j)}])

    with pytest.raises(TypeError, match="the column 'z' does not fit into Arrow"):
        SampleDataset(tmp_path / "d").to_arrow()


def test_pandas_and_polars_read_the_table(dataset: SampleDataset) -> None:
    pandas = pytest.importorskip("pandas")
    polars = pytest.importorskip("polars")

    assert dataset.to_arrow(["label"]).to_pandas().equals(pandas.DataFrame({"label": range(23)}))
    assert polars.from_arrow(dataset.to_arrow(["x"]))["x"].to_numpy().shape == (23, 2, 3)


class TestHuggingFace:
    @pytest.fixture(autouse=True)
    def needs_datasets(self) -> None:
        self.datasets: Any = pytest.importorskip("datasets")

    def test_dataset_goes_there_and_back(self, dataset: SampleDataset, tmp_path: Path) -> None:
        from splitdata.interop.huggingface import from_hf_dataset, to_hf_dataset

        there = to_hf_dataset(dataset, ["x", "label", "name", "image"])
        positions = from_hf_dataset(there, tmp_path / "back")

        assert there[4] == {"x": [[4.0] * 3] * 2, "label": 4, "name": "é4", "image": b"\x04"}
        assert positions == range(23)
        back = SampleDataset(tmp_path / "back")
        for sample, original in zip(back, SAMPLES, strict=True):
            np.testing.assert_array_equal(np.stack(list(sample["x"])), original["x"])
            assert (sample["label"], sample["name"]) == (original["label"], original["name"])

    def test_rows_that_were_selected_are_written_in_their_order(self, tmp_path: Path) -> None:
        from splitdata.interop.huggingface import from_hf_dataset

        given = self.datasets.Dataset.from_dict({"label": list(range(9))})

        from_hf_dataset(given.select([7, 2, 5]), tmp_path / "d")

        assert [sample["label"] for sample in SampleDataset(tmp_path / "d")] == [7, 2, 5]

    def test_several_splits_are_refused(self, tmp_path: Path) -> None:
        from splitdata.interop.huggingface import from_hf_dataset

        with pytest.raises(TypeError, match="one split, got DatasetDict"):
            from_hf_dataset(self.datasets.DatasetDict(), tmp_path / "d")
        assert not (tmp_path / "d").exists()

    def test_loader_trains_on_one_as_it_is(self) -> None:
        given = self.datasets.Dataset.from_dict({"label": list(range(10))})

        with DistributedLoader(given, batch_size=5, shuffle="global") as loader:
            assert sorted(label for batch in loader for label in batch["label"].tolist()) == list(range(10))
