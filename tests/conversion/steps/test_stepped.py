"""convert(where=, transform=, on_error=): each record is kept or not, becomes none, one or many, or fails."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitdata import (
    SampleDataset,
    SplitDataLoader,
    SplitWriter,
    StateMismatchError,
    TooManySkippedError,
    convert,
    open_source,
)
from splitdata.conversion import conversion_log
from splitdata.conversion.sources.text.lines import JsonLineSource
from splitdata.conversion.steps import stepped_source
from splitdata.conversion.steps.failures import FailurePolicy
from splitdata.conversion.steps.stepped_source import stepped
from tests.conversion.steps.step_functions import spread
from tests.dataset.disk import files_of, read


def text_file(path: Path, number: int = 20) -> Path:
    path.write_bytes(b"".join(b"%d\n" % at for at in range(number)))
    return path


def is_even(record: bytes) -> bool:
    return int(record) % 2 == 0


def expected(number: int) -> list[bytes]:
    found: list[bytes] = []
    for at in range(number):
        if at % 7 == 6 or at % 4 == 0:
            continue
        single = b"%d" % at
        found += [[single], [single, single + b"b"], [b"%d.%d" % (at, part) for part in range(at % 5)]][at % 4 - 1]
    return found


def to_sample(record: bytes) -> dict[str, object]:
    return {"number": int(record), "square": np.arange(int(record) % 3, dtype=np.int16)}


def test_where_keeps_records_as_they_are_and_counts_the_others(tmp_path: Path) -> None:
    report = convert(text_file(tmp_path / "a.txt"), tmp_path / "data", where=is_even, limit=5)

    assert read(tmp_path / "data") == [b"0", b"2", b"4", b"6", b"8"]
    assert report.skipped == {"filtered record": 4}


@pytest.mark.parametrize("way", ["plain", "shuffle", "dry_run", "resume"])
def test_transform_gives_none_one_or_many_through_every_way_of_writing(tmp_path: Path, way: str) -> None:
    options: dict[str, Any] = {} if way == "plain" else {way: 1 if way == "shuffle" else True}

    report = convert(text_file(tmp_path / "a.txt"), tmp_path / "data", transform=spread, on_error="skip", **options)

    assert report.num_records == len(expected(20))
    assert report.num_failed == report.skipped["failed record"] == len([*range(6, 20, 7), 19])
    if way == "dry_run":
        assert [one.begin for one in report.first_records] == expected(20)[:3]
    else:
        found = read(tmp_path / "data")
        assert (sorted(found), sorted(expected(20))) == (sorted(expected(20)), sorted(found))
        assert found == expected(20) or way == "shuffle"


def test_samples_go_in_decoded_and_come_out_as_samples_or_bytes(tmp_path: Path) -> None:
    convert(text_file(tmp_path / "a.txt", 4), tmp_path / "samples", transform=to_sample)
    samples = SampleDataset(tmp_path / "samples")
    assert [sample["number"] for sample in samples] == [0, 1, 2, 3]
    assert samples[2]["square"].dtype == np.int16

    convert(
        tmp_path / "samples",
        tmp_path / "bytes",
        where=lambda sample: sample["number"] > 1,
        transform=lambda sample: sample["square"].tobytes(),
    )

    assert read(tmp_path / "bytes") == [np.arange(2, dtype=np.int16).tobytes(), b""]
    assert SplitDataLoader(tmp_path / "bytes").record_codec is None


@pytest.mark.parametrize("codec", ["json", "text"])
def test_codec_of_a_dataset_stays_that_of_what_is_made_of_it(tmp_path: Path, codec: Any) -> None:
    value: Any = {"a": [1]} if codec == "json" else "ä"
    with SplitWriter(tmp_path / "data", codec=codec) as writer:
        writer.write_sample(value)

    convert(tmp_path / "data", tmp_path / "other", transform=lambda given: given if given == value else 1 / 0)

    assert list(SampleDataset(tmp_path / "other")) == [value]


def test_keys_stay_of_one_and_are_numbered_of_many(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    for name in ("a", "b", "c"):
        (tmp_path / "root" / name).write_bytes(name.encode())

    convert(tmp_path / "root", tmp_path / "data", transform=lambda data: {b"a": data, b"b": [data, data]}.get(data))

    loader = SplitDataLoader(tmp_path / "data")
    assert [loader.key(position) for position in range(len(loader))] == ["a", "b#0", "b#1"]


def test_large_file_goes_in_whole(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "large").write_bytes(bytes(3 << 20))

    convert(tmp_path / "root", tmp_path / "data", transform=lambda data: b"%d" % len(data))

    assert read(tmp_path / "data") == [b"%d" % (3 << 20)]


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (lambda data: data.decode(), "encode"),
        (lambda data: data if data == b"0" else {"a": 1}, "a sample, and bytes before"),
        (lambda data: {"a": 1} if data == b"0" else data, "bytes, and a sample before"),
        (lambda data: {"a": object()}, "object"),
    ],
)
def test_what_is_no_record_is_an_error_that_names_the_record(
    tmp_path: Path, transform: Callable[[bytes], object], message: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=message) as caught:
        convert(text_file(tmp_path / "a.txt"), tmp_path / "data", transform=transform)

    assert "in record" in caught.value.__notes__[0]
    assert not (tmp_path / "data").exists()


def test_records_that_fail_are_put_aside_with_their_error(tmp_path: Path) -> None:
    folder = tmp_path / "aside"

    convert(text_file(tmp_path / "a.txt"), tmp_path / "data", transform=spread, quarantine=folder)

    assert {path.name: path.read_bytes() for path in folder.glob("*.record")} == {
        f"{number:012d}.record": b"%d" % number for number in (6, 13, 19)
    }
    told = json.loads((folder / "000000000013.json").read_text())
    assert told == {"record": 13, "key": None, "error": "ValueError: bad 13"}
    with pytest.raises(FileExistsError, match="choose an empty one"):
        convert(tmp_path / "a.txt", tmp_path / "more", transform=spread, quarantine=folder)


def test_more_failures_than_may_be_end_the_conversion(tmp_path: Path) -> None:
    text_file(tmp_path / "a.txt")
    with pytest.raises(TooManySkippedError, match="record 13 of the source: ValueError: bad 13") as caught:
        convert(tmp_path / "a.txt", tmp_path / "data", transform=spread, on_error="skip", max_errors=1)
    assert caught.value.num_skipped == 2
    assert not (tmp_path / "data").exists()

    convert(tmp_path / "a.txt", tmp_path / "data", transform=spread, on_error="skip", max_errors=3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on_error": "skip"}, "give one"),
        ({"transform": spread, "max_errors": 3}, "left out"),
        ({"transform": spread, "on_error": "ignore"}, "on_error must be"),
        ({"where": 7}, "functions"),
        ({"where": "tests.conversion.steps:nothing"}, "no nothing"),
        ({"transform": spread, "quarantine": "a/b"}, "inside the source"),
    ],
)
def test_invalid_step_is_refused(
    tmp_path: Path, options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a").mkdir()
    Path("a/b.txt").write_bytes(b"1\n")
    with pytest.raises((TypeError, ValueError), match=message):
        convert("a", "data", **options)


@settings(max_examples=30)
@given(st.integers(0, 40), st.integers(1, 9), st.booleans())
def test_records_behind_every_position_are_those_that_followed(
    tmp_path_factory: pytest.TempPathFactory, number: int, per_note: int, has_where: bool
) -> None:
    path = tmp_path_factory.mktemp("lines") / "a.jsonl"
    path.write_bytes(b"".join(b"%d\n%s" % (at, b"\n" * (at % 3 == 0)) for at in range(number)))

    def source() -> stepped_source.SteppedSource:
        failures = FailurePolicy("skip")
        return stepped(JsonLineSource(str(path)), is_even if has_where else None, spread, failures)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stepped_source, "_INPUTS_PER_NOTE", per_note)
        whole_source = source()
        whole, positions = [], []
        for record in whole_source:
            whole.append(record)
            positions.append(json.loads(json.dumps(whole_source.position())))
        for at, position in enumerate(positions):
            again = source()
            rest = again.records_from(positions[at // 2])
            for _ in range(at - at // 2):
                next(rest)
            assert not at or again.position() == position
            behind = source()
            assert list(behind.records_from(position)) == whole[at + 1 :]
            assert behind.skipped == whole_source.skipped


class StopError(Exception):
    """What interrupts a conversion here."""


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_interrupted_conversion_ends_with_the_files_of_a_whole_one(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversion_log, "_COMMIT_BYTES", 8_000)
    data = b"".join(b"%d\n" % at for at in range(1500))
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    counter = count()

    def run(dest: str, *, num_reports: int = 1 << 30) -> object:
        begin = next(counter) * 0

        def report(_: object) -> None:
            nonlocal begin
            begin += 1
            if begin > num_reports:
                raise StopError

        options: dict[str, Any] = {"quarantine": tmp_path / f"{dest} aside", "max_errors": 10_000, "bins": 2}
        source = open_source(tmp_path / name)
        return convert(
            source, tmp_path / dest, reproducible=True, resume=True, transform=spread, progress=report, **options
        )

    whole = run("whole")
    num_stopped = 0
    for calls in count(1):
        try:
            report: Any = run("data", num_reports=1 + calls)
            break
        except StopError:
            num_stopped += 1

    assert num_stopped > 1
    assert report.was_finished or report.skipped == whole.skipped  # type: ignore[attr-defined]  # a report
    assert files_of(tmp_path / "data") == files_of(tmp_path / "whole")
    assert files_of(tmp_path / "data aside") == files_of(tmp_path / "whole aside")
    with pytest.raises(StateMismatchError, match="code of transform"):
        convert(tmp_path / name, tmp_path / "data", transform=is_even, resume=True, reproducible=True, bins=2)
