"""Datasets of samples: what is written as values is read as values.

SplitWriter.write_sample ──> records of one codec, named in the metadata ──> SampleDataset
"""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from splitdata import (
    ClosedError,
    CorruptRecordError,
    FormatError,
    SampleDataset,
    SplitDataLoader,
    SplitWriter,
    UnsupportedVersionError,
    describe,
    encode_sample,
    repair,
    verify,
)
from splitdata.samples.record_codecs import record_codec
from tests.samples.drawn import Sample, same


class Point(NamedTuple):
    x: int
    y: Any


def image_sample(number: int, size: int = 12) -> dict[str, Any]:
    image = np.random.default_rng(number).integers(0, 256, (size, size, 3), np.uint8)
    return {"image": image, "label": number, "weight": number / 4}


def write_samples(path: Path, samples: list[Sample], **options: Any) -> Path:  # of SplitWriter
    with SplitWriter(path, **options) as writer:
        for sample in samples:
            writer.write_sample(sample)
    return path


@pytest.fixture(params=[None, "zstd"])
def samples(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[SampleDataset, list[Sample]]:
    written = [image_sample(number) for number in range(40)]
    return SampleDataset(write_samples(tmp_path / "d", written, bins=3, compression=request.param)), written


# -- writing many --------------------------------------------------------------------------------


def test_samples_of_an_iterable_are_written_as_one_by_one(tmp_path: Path) -> None:
    samples = [image_sample(number) for number in range(5)]
    with SplitWriter(tmp_path / "d") as writer:
        assert writer.write_samples(iter(samples[:2])) == 2
        assert writer.write_samples(samples[2:], keys=["c", None, "e"]) == 3

    dataset = SampleDataset(tmp_path / "d")
    assert same(list(dataset), samples)
    assert [SplitDataLoader(tmp_path / "d").key(number) for number in range(5)] == [None, None, "c", None, "e"]


def test_no_samples_give_a_writer_no_codec(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "d") as writer:
        assert writer.write_samples([]) == 0
        writer.write(b"plain")

    assert SplitDataLoader(tmp_path / "d").record_codec is None


def test_sample_that_does_not_fit_ends_the_iterable_and_those_before_it_count(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "d", codec="text") as writer:
        with pytest.raises(TypeError, match="int"):
            writer.write_samples(["a", "b", 3, "d"])
        assert writer.num_written == 2

    assert list(SampleDataset(tmp_path / "d")) == ["a", "b"]


def test_lists_of_samples_and_keys_of_different_lengths_are_refused_before_the_first(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "d") as writer:
        with pytest.raises(ValueError, match="got 2 samples and 1 keys"):
            writer.write_samples(["a", "b"], keys=["x"])
        assert writer.num_written == 0


@pytest.mark.parametrize("single", [{"image": 1}, "text", b"bytes"])
def test_single_sample_in_place_of_many_is_refused(tmp_path: Path, single: Any) -> None:  # of any kind
    with SplitWriter(tmp_path / "d") as writer:
        with pytest.raises(TypeError, match="write_sample takes one"):
            writer.write_samples(single)
        assert writer.num_written == 0


def test_sample_written_as_a_record_is_answered_with_write_sample(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "d") as writer:
        for sample in ({"image": 1}, [1, 2], 3, 1.5, None):
            with pytest.raises(TypeError, match="write_sample"):
                writer.write(sample)  # type: ignore[arg-type]  # the point of the test


# -- reading -------------------------------------------------------------------------------------


def test_samples_are_read_as_they_were_written(samples: tuple[SampleDataset, list[Sample]]) -> None:
    dataset, written = samples
    assert len(dataset) == 40
    assert dataset.codec == "sample"
    assert same(dataset[7], written[7])
    assert same(dataset[-1], written[-1])
    assert same(dataset[5:20:4], written[5:20:4])
    assert same(dataset[[3, -1, 3]], [written[3], written[-1], written[3]])
    assert same(dataset[np.array([0, 9])], [written[0], written[9]])
    assert same(dataset.__getitems__([4, 2]), [written[4], written[2]])
    assert same(list(dataset), written)
    assert dataset[[]] == []


def test_gathered_samples_are_one_batch(samples: tuple[SampleDataset, list[Sample]]) -> None:
    dataset, written = samples
    picked = [3, 39, 0, 3] * 8
    batch = dataset.gather(picked)
    for key in ("image", "label", "weight"):
        assert same(batch[key], np.stack([written[place][key] for place in picked]))
    assert dataset.gather(slice(2, 5))["label"].tolist() == [2, 3, 4]
    batch["image"][:] = 0
    assert same(dataset[3], written[3])


@pytest.mark.parametrize("io", ["mmap", "pread"])
@pytest.mark.parametrize("size", [10, 300])
def test_small_and_large_samples_are_read_by_both_means(tmp_path: Path, io: Sample, size: int) -> None:
    written = [image_sample(number, size) | {"text": "x" * number} for number in range(20)]
    dataset = SampleDataset(write_samples(tmp_path / "d", written), io=io)
    assert same(dataset[4], written[4])
    assert same(dataset[2:9], written[2:9])
    batch = dataset.gather([5, 1])
    assert same(batch["image"], np.stack([written[5]["image"], written[1]["image"]]))
    assert batch["text"] == ["xxxxx", "x"]
    dataset.prefetch([1, 2])
    dataset.read_ahead([1, 2])


def test_sample_of_more_than_16_mib_is_read_in_place(tmp_path: Path) -> None:
    written = {"x": np.arange(3 << 20, dtype=np.int64), "text": "abc"}
    dataset = SampleDataset(write_samples(tmp_path / "d", [written]), io="mmap")
    array = dataset[0]["x"]
    assert same(dataset[0], written)
    dataset.close()
    assert array.ctypes.data % 64 == 0
    assert array[-1] == (3 << 20) - 1


def test_arrays_of_large_samples_are_aligned_views_of_the_file(tmp_path: Path) -> None:
    dataset = SampleDataset(write_samples(tmp_path / "d", [image_sample(n, 250) for n in range(4)], bins=2), io="mmap")
    for sample in dataset:
        assert not sample["image"].flags.writeable
    for number in range(4):
        assert dataset[number]["image"].ctypes.data % 64 == 0


@pytest.mark.parametrize("size", [10, 300])
def test_copies_can_be_written_to(tmp_path: Path, size: int) -> None:
    path = write_samples(tmp_path / "d", [image_sample(number, size) for number in range(3)])
    dataset = SampleDataset(path, copy=True)
    dataset[1]["image"][:] = 0
    dataset[[1]][0]["image"][:] = 0
    assert same(dataset[1], image_sample(1, size))
    with pytest.raises(ValueError, match="read-only"):
        SampleDataset(path)[1]["image"][:] = 0


def test_dataset_without_samples_is_empty(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "d", codec="sample"):
        pass
    dataset = SampleDataset(tmp_path / "d")
    assert (len(dataset), list(dataset), dataset[:], dataset.codec) == (0, [], [], "sample")
    with pytest.raises(ValueError, match="no samples to make a batch of"):
        dataset.gather([])


def test_types_are_restored(tmp_path: Path) -> None:
    path = write_samples(tmp_path / "d", [Point(1, [2])])
    assert type(SampleDataset(path, types=[Point])[0]) is Point
    assert SampleDataset(path)[0] == (1, [2])


def test_dataset_offers_what_the_reader_does(samples: tuple[SampleDataset, list[Sample]]) -> None:
    dataset, _ = samples
    path = dataset.records.paths[0]
    reader = SplitDataLoader(path)
    assert dataset.fingerprint == reader.fingerprint
    assert dataset.generation == reader.generation
    assert dataset.metadata == reader.metadata == {"record_codec": "sample"}
    assert dataset.bin_layout().counts.tolist() == reader.bin_layout().counts.tolist()
    assert repr(dataset) == f"SampleDataset({path!r}): 40 records of the codec sample"
    with SplitWriter(path, mode="append") as writer:
        writer.write_sample({"more": 1}, key="k")
    assert dataset.refresh()
    assert dataset[40] == {"more": 1}
    assert dataset.records.find("k") == 40
    with dataset as same_one:
        assert same_one is dataset
    with pytest.raises(ClosedError):
        dataset[0]


@pytest.mark.parametrize("duplicate", [lambda dataset: pickle.loads(pickle.dumps(dataset)), copy.copy])
def test_dataset_pickles_with_its_options(tmp_path: Path, duplicate: Sample) -> None:
    path = write_samples(tmp_path / "d", [Point(1, np.zeros(2))])
    dataset = duplicate(SampleDataset(path, types=[Point], copy=True))
    assert type(dataset[0]) is Point
    dataset[0].y[:] = 1
    assert dataset[0].y.tolist() == [0, 0]


def test_several_datasets_of_one_codec_are_read_end_to_end(tmp_path: Path) -> None:
    one = write_samples(tmp_path / "a", [1, 2])
    two = write_samples(tmp_path / "b", [3])
    other = write_samples(tmp_path / "c", ["text"], codec="text")
    assert list(SampleDataset([one, two])) == [1, 2, 3]
    with pytest.raises(ValueError, match="have records of different codecs: sample, text"):
        SampleDataset([one, other])


def test_preview_is_one_line_and_no_longer_than_asked(tmp_path: Path) -> None:
    sample = {
        "image": np.zeros((4, 5), np.uint8),
        "point": Point(1, (None, b"\n")),
        7: ["a" * 100, 1.5, []],
        "many": [list(range(100))],
    }
    dataset = SampleDataset(write_samples(tmp_path / "d", [sample]), types=[Point])
    assert dataset.preview(0, 1000) == (
        "{'image': uint8[4, 5] 0 0 0 0 ..., 'point': Point(x=1, y=(None, b'\\n')), "
        f"7: [{'a' * 60!r}... 100 in all, 1.5, []], 'many': [{list(range(100))}]}}"
    )
    assert dataset.preview(0, 40) == dataset.preview(0, 1000)[:37] + "..."


# -- other codecs --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("codec", "values"),
    [
        ("text", ["", "größe", "two\nlines"]),
        ("json", [{"a": [1, 2.5, None, "ß"]}, 7, "text", [], 10**30]),
        ("npy", [np.arange(6).reshape(2, 3), np.float32(2), np.zeros((0, 3)), np.array(["a", "bc"])]),
        ("bytes", [b"", b"\0\xff"]),
    ],
)
def test_records_of_other_codecs_are_read_as_their_values(tmp_path: Path, codec: Sample, values: list[Any]) -> None:
    dataset = SampleDataset(write_samples(tmp_path / "d", values, codec=codec))
    expected = [np.asarray(value) if codec == "npy" else value for value in values]
    assert dataset.codec == codec
    assert same(list(dataset), expected)
    assert same(dataset[1], expected[1])
    assert same(dataset[:2], expected[:2])


def test_npy_records_are_numpy_files_read_in_place_in_their_order(tmp_path: Path) -> None:
    array = np.asfortranarray(np.arange(60_000, dtype=np.float64).reshape(300, 200))
    dataset = SampleDataset(write_samples(tmp_path / "d", [array, array + 1], codec="npy"), io="mmap")
    (tmp_path / "a.npy").write_bytes(dataset.records[0])
    assert same(np.load(tmp_path / "a.npy"), array)
    assert dataset[0].flags.f_contiguous
    assert not dataset[0].flags.writeable
    assert dataset[0].ctypes.data % 64 == 0
    batch = dataset.gather([1, 0])
    assert same(batch, np.stack([array + 1, array]))
    writable = SampleDataset(tmp_path / "d", copy=True)[0]
    writable[0, 0] = 7
    assert writable.flags.f_contiguous


def test_arrays_of_different_shape_make_no_batch(tmp_path: Path) -> None:
    dataset = SampleDataset(write_samples(tmp_path / "d", [np.zeros(2), np.zeros(3), np.zeros(2, "f4")], codec="npy"))
    for picked, what in (([0, 1], r"shape \(2,\) in sample 0, \(3,\)"), ([0, 2], "dtype float64 in sample 0, float32")):
        with pytest.raises(ValueError, match=what):
            dataset.gather(picked)


@pytest.mark.parametrize("codec", ["text", "json", "bytes"])
def test_records_without_arrays_make_no_batch(tmp_path: Path, codec: Sample) -> None:
    value = b"abc" if codec == "bytes" else "abc"
    dataset = SampleDataset(write_samples(tmp_path / "d", [value], codec=codec))
    with pytest.raises(ValueError, match="these records hold no arrays"):
        dataset.gather([0])


@pytest.mark.parametrize(
    ("codec", "value", "message"),
    [
        ("text", b"bytes", "made of a str, not bytes"),
        ("bytes", "text", "made of bytes, not str"),
        ("npy", [1, 2], "made of an array without objects, not list"),
        ("npy", np.array([None]), "made of an array without objects, not an array of object"),
        ("json", {1, 2}, "not JSON serializable"),
        ("sample", {1, 2}, "set is nothing that a sample can hold"),
    ],
)
def test_value_that_does_not_fit_the_codec_is_refused_and_the_writer_goes_on(
    tmp_path: Path,
    codec: Sample,
    value: object,
    message: str,
) -> None:
    with SplitWriter(tmp_path / "d", codec=codec) as writer:
        with pytest.raises(TypeError, match=message):
            writer.write_sample(value)
        writer.write(encode_sample(None) if codec == "sample" else b"")
    assert len(SplitDataLoader(tmp_path / "d")) == 1


def test_json_without_a_number_for_nan_is_refused(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "d", codec="json") as writer, pytest.raises(ValueError, match="not JSON compliant"):
        writer.write_sample(float("nan"))


BAD: list[tuple[str, bytes]] = [
    ("sample", b"\x8dSM no sample"),
    ("sample", encode_sample([1, 2])[:-1]),
    ("text", b"\xff"),
    ("json", b"{"),
    ("json", b"\xff"),
    ("json", b"[" * 100_000),
    ("npy", b"\x93NUMPY\x01\x00"),
    ("npy", record_codec("npy").encode(np.zeros(3))[:-1]),
    ("npy", record_codec("npy").encode(np.zeros(3)) + b"\0"),
    ("npy", b"\x93NUMPY\x07\x00v\x00{}"),
    (
        "npy",
        b"\x93NUMPY\x01\x00\x76\x00"
        + b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(118)
        + bytes(8),
    ),
    ("npy", b"\x93NUMPY\x01\x00\x76\x00" + b"{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }".ljust(118)),
    ("npy", b"\x93NUMPY\x01\x00\x76\x00" + b"{'descr': '<f8', 'fortran_order': False, 'shape': (2**70,), }".ljust(118)),
]


@pytest.mark.parametrize(("codec", "record"), BAD)
def test_record_that_is_none_of_its_codec_is_named_and_the_others_are_read(
    tmp_path: Path,
    codec: Sample,
    record: bytes,
) -> None:
    good: Any = {"sample": 1, "text": "1", "json": 1, "npy": np.ones(1)}[codec]
    with SplitWriter(tmp_path / "d", codec=codec) as writer:
        writer.write_sample(good)
        writer.write(record)
        writer.write_sample(good)
    dataset = SampleDataset(tmp_path / "d")
    assert same(dataset[2], good)
    for read in (
        lambda: dataset[1],
        lambda: dataset[-2],
        lambda: dataset[0:3],
        lambda: dataset[[2, 1]],
        lambda: [*dataset],
    ):
        with pytest.raises(FormatError, match=f"record 1 of .* is intact, but not of the codec {codec}: "):
            read()
    with pytest.raises(ValueError, match=r"record 1 of|no arrays that would"):
        dataset.gather([0, 1])


def test_errors_of_decoding_keep_their_class(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "d", codec="sample") as writer:
        writer.write(b"\x8dSM\x09" + bytes(12))
    dataset = SampleDataset(tmp_path / "d")
    with pytest.raises(UnsupportedVersionError, match=r"record 0 of .*a sample of version 9"):
        dataset[0]


def test_damaged_record_is_a_corrupt_record_as_for_the_reader(tmp_path: Path) -> None:
    path = write_samples(tmp_path / "d", [image_sample(number) for number in range(3)], bins=1)
    file = next(path.glob("segments/*/000000.bin"))
    data = bytearray(file.read_bytes())
    data[data.index(image_sample(1)["image"].tobytes())] ^= 1
    file.write_bytes(data)
    dataset = SampleDataset(path)
    for read in (lambda: dataset[1], lambda: dataset[0:3], lambda: dataset.gather([0, 1])):
        with pytest.raises(CorruptRecordError, match="record 1 does not match its checksum"):
            read()
    assert same(dataset[2], image_sample(2))


# -- what the metadata say -----------------------------------------------------------------------


def test_dataset_that_names_no_codec_is_refused_with_advice(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "d") as writer:
        writer.write(b"abc")
    with pytest.raises(
        ValueError, match=r"does not say what its records hold; read them as bytes with SplitDataLoader"
    ):
        SampleDataset(tmp_path / "d")


@pytest.mark.parametrize("name", ["from the future", 7])
def test_codec_that_is_unknown_is_an_unsupported_version(tmp_path: Path, name: object) -> None:
    with SplitWriter(tmp_path / "d") as writer:
        writer.write(b"abc")
        writer.commit(metadata={"record_codec": name})
    with pytest.raises(UnsupportedVersionError, match=f"codec '{name}', which this splitdata does not know"):
        SampleDataset(tmp_path / "d")
    assert SplitDataLoader(tmp_path / "d")[0] == b"abc"
    with SplitWriter(tmp_path / "d", mode="append") as writer:
        with pytest.raises(UnsupportedVersionError, match="does not know"):
            writer.write_sample(1)
        writer.write(b"def")
    assert describe(tmp_path / "d").record_codec == str(name)


def test_codec_of_a_dataset_holds_for_those_who_append(tmp_path: Path) -> None:
    path = write_samples(tmp_path / "d", ["one"], codec="text", metadata={"name": "texts"})
    write_samples(path, ["two"], mode="append")
    assert list(SampleDataset(path)) == ["one", "two"]
    assert SplitDataLoader(path).metadata == {"name": "texts", "record_codec": "text"}


def test_encoded_samples_are_written_as_records(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "d", codec="sample") as writer:
        writer.write_many(encode_sample(number) for number in range(5))
    assert list(SampleDataset(tmp_path / "d")) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("mode", ["append", "resume"])
def test_records_of_one_dataset_have_one_codec(tmp_path: Path, mode: Sample) -> None:
    path = write_samples(tmp_path / "d", [1])
    with pytest.raises(ValueError, match="has 1 records of the codec sample, and these are of the codec text"):
        SplitWriter(path, mode=mode, codec="text")
    assert list(SampleDataset(path)) == [1]
    with SplitWriter(tmp_path / "bytes") as writer:
        writer.write(b"abc")
    with SplitWriter(tmp_path / "bytes", mode=mode) as writer:
        with pytest.raises(ValueError, match="has 1 records without a codec, and these are of the codec sample"):
            writer.write_sample(1)
        writer.write(b"def")
    assert SplitDataLoader(tmp_path / "bytes")[:] == [b"abc", b"def"]


def test_records_without_a_codec_are_not_followed_by_samples(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "d") as writer:
        writer.write(b"abc")
        with pytest.raises(ValueError, match="records were written that are of no codec; open the writer with codec="):
            writer.write_sample(1)
    assert SplitDataLoader(tmp_path / "d").record_codec is None


def test_writers_of_two_codecs_at_once_do_not_both_commit(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "d"):
        pass
    first = SplitWriter(tmp_path / "d", mode="append", codec="sample")
    second = SplitWriter(tmp_path / "d", mode="append", codec="text")
    first.write_sample(1)
    second.write_sample("text")
    first.close()
    with pytest.raises(ValueError, match="of the codec sample, and these are of the codec text"):
        second.commit()
    second.close()
    assert list(SampleDataset(tmp_path / "d")) == [1]
    assert verify(tmp_path / "d").is_intact


def test_overwriting_begins_with_another_codec(tmp_path: Path) -> None:
    path = write_samples(tmp_path / "d", [1])
    write_samples(path, ["text"], mode="overwrite", codec="text")
    assert list(SampleDataset(path)) == ["text"]
    with SplitWriter(path, mode="overwrite") as writer:
        writer.write(b"abc")
    assert SplitDataLoader(path).record_codec is None


@pytest.mark.parametrize(
    "options",
    [
        {"codec": "pickle"},
        {"metadata": {"record_codec": "pickle"}},
        {"codec": "text", "metadata": {"record_codec": "json"}},
    ],
)
def test_codec_that_is_none_or_two_is_refused_before_anything_is_made(tmp_path: Path, options: Sample) -> None:
    with pytest.raises(ValueError, match="codec"):
        SplitWriter(tmp_path / "d", **options)
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize(("codec", "alignment"), [("sample", 64), ("npy", 64), ("text", 8), (None, 8)])
def test_records_that_hold_arrays_are_aligned_to_64(tmp_path: Path, codec: Sample, alignment: int) -> None:
    with SplitWriter(tmp_path / "d", codec=codec, bins=2) as writer:
        begin = b"\x8dSM" if codec == "sample" else b""
        writer.write_many([begin + b"a" * number for number in range(9)])
    with SplitWriter(tmp_path / "e", codec=codec, bins=2, alignment=4096) as writer:
        writer.write(begin)
    for name, expected in (("d", alignment), ("e", 4096)):
        for file in (tmp_path / name).glob("segments/*/*.bin"):
            assert 1 << file.read_bytes()[48] == expected


def test_first_sample_makes_a_dataset_of_samples_aligned_and_so_do_those_that_follow(tmp_path: Path) -> None:
    path = tmp_path / "d"
    for mode in ("create", "append", "resume"):
        write_samples(path, [1, {"a": np.zeros(9)}], mode=mode, bins=1)
    assert {1 << file.read_bytes()[48] for file in path.glob("segments/*/*.bin")} == {64}
    assert describe(path).record_codec == "sample"
    assert len(SampleDataset(path)) == 6


def test_run_of_samples_that_was_killed_is_resumed_in_its_segment(tmp_path: Path) -> None:
    writer = SplitWriter(tmp_path / "d", bins=1)
    writer.write_sample(1)
    writer.commit()
    writer.write_sample(2)
    writer._release()
    with SplitWriter(tmp_path / "d", mode="resume", bins=1) as writer:
        assert writer.num_written == 1
        writer.write_sample(3)
    assert list(SampleDataset(tmp_path / "d")) == [1, 3]
    assert describe(tmp_path / "d").num_segments == 1


def test_codec_survives_the_loss_of_all_manifests(tmp_path: Path) -> None:
    path = write_samples(tmp_path / "d", [image_sample(1)])
    for manifest in path.glob("manifest.*"):
        manifest.unlink()
    repair(path, adopt=True)
    assert same(SampleDataset(path)[0], image_sample(1))


def test_many_small_runs_are_folded_and_stay_aligned(tmp_path: Path) -> None:
    path = tmp_path / "d"
    for number in range(40):
        write_samples(path, [image_sample(number)], mode="append", durability="none")
    assert describe(path).num_segments < 40
    assert {1 << file.read_bytes()[48] for file in path.glob("segments/*/*.bin")} == {64}
    assert same(SampleDataset(path)[17], image_sample(17))


def test_reproducible_writers_give_equal_files(tmp_path: Path) -> None:
    for name in "ab":
        write_samples(tmp_path / name, [image_sample(3)], reproducible=True)
    files = [sorted((f.relative_to(tmp_path / n), f.read_bytes()) for f in (tmp_path / n).rglob("*.*")) for n in "ab"]
    assert files[0] == files[1]


def test_manifest_says_the_codec_in_plain_json(tmp_path: Path) -> None:
    path = write_samples(tmp_path / "d", [1])
    body = json.loads((path / "manifest.0000000001.json").read_text().splitlines()[0])
    assert body["metadata"] == {"record_codec": "sample"}
