"""Datasets of which a later version has written a part: what is not known is carried along, or refused by name."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest

from splitdata import SplitDataLoader, SplitWriter, UnsupportedVersionError, compact, delete, repair, verify
from tests.faults.forging import write_manifest

RECORDS = [b"a", b"bb", b"ccc"]


def body_of(path: Path) -> dict[str, Any]:
    """Return the newest manifest as JSON."""
    newest = max(path.glob("manifest.*.json"))
    body: dict[str, Any] = json.loads(newest.read_bytes().splitlines()[0])
    return body


def change(path: Path, segment: int | None = None, **fields: object) -> None:
    """Put fields into the newest manifest, or into one of its segments."""
    body = body_of(path)
    (body if segment is None else body["segments"][segment]).update(fields)
    write_manifest(path, json.dumps(body).encode(), body["generation"])


def append(path: Path, *, mode: Literal["append", "resume"] = "append", seals: bool = True) -> None:
    """Commit three records; a session that fails leaves its segment open."""
    with suppress(InterruptedError), SplitWriter(path, bins=1, mode=mode, durability="none") as writer:
        writer.write_many(RECORDS)
        writer.commit()
        if not seals:
            raise InterruptedError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a dataset of two segments, of which the second one is not understood."""
    append(tmp_path / "d")
    append(tmp_path / "d")
    change(tmp_path / "d", 1, must_understand=["quaternions"])
    return tmp_path / "d"


def test_segment_of_an_unknown_feature_is_refused_by_its_name_and_all_others_are_read(path: Path) -> None:
    with SplitDataLoader(path) as reader:
        assert list(reader[:3]) == RECORDS
        with pytest.raises(UnsupportedVersionError, match="quaternions"):
            reader[3]
        with pytest.raises(UnsupportedVersionError, match="quaternions"):
            list(reader)


def test_search_for_a_key_meets_a_segment_of_an_unknown_feature_and_says_so(tmp_path: Path) -> None:
    for key in ("a", "b"):
        with SplitWriter(tmp_path / "d", bins=1, mode="append", durability="none") as writer:
            writer.write(b"a record", key)
    change(tmp_path / "d", 1, must_understand=["quaternions"])

    with SplitDataLoader(tmp_path / "d") as reader, pytest.raises(UnsupportedVersionError, match="quaternions"):
        reader.find("a")


def test_verify_and_repair_name_an_unknown_feature_and_call_nothing_damaged(path: Path) -> None:
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}

    report, repaired = verify(path), repair(path)

    assert [finding.num_records for finding in report.findings] == [0]
    assert "quaternions" in report.findings[0].problem
    assert (repaired.actions, repaired.findings) == ((), ())
    assert "quaternions" in repaired.notes[0]
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before


def test_a_segment_of_an_unknown_feature_is_not_resumed_and_records_are_added_behind_it(tmp_path: Path) -> None:
    path = tmp_path / "d"
    append(path, seals=False)
    change(path, 0, must_understand=["quaternions"])

    append(path, mode="resume")

    assert [segment.get("must_understand") for segment in body_of(path)["segments"]] == [["quaternions"], None]
    with SplitDataLoader(path) as reader:
        assert list(reader[3:]) == RECORDS


@pytest.mark.parametrize("by", ["append", "resume", "repair"])
def test_unknown_names_are_carried_along(tmp_path: Path, by: str) -> None:
    path = tmp_path / "d"
    append(path, seals=False)
    change(path, 0, rows=[{"of": "later"}])
    change(path, later={"a": 1})

    if by == "repair":
        (path / "manifest.0000000009.json").write_bytes(b"damaged")
        repair(path)
    else:
        append(path, mode="resume" if by == "resume" else "append")

    body = body_of(path)
    assert body["later"] == {"a": 1}
    assert body["segments"][0]["rows"] == [{"of": "later"}]
    assert [segment["records"] for segment in body["segments"]] == {"append": [3, 3], "resume": [6], "repair": [3]}[by]


def test_deleting_and_compacting_carry_unknown_names_along_and_leave_a_segment_with_some_as_it_is(
    tmp_path: Path,
) -> None:
    path = tmp_path / "d"
    append(path)
    append(path)
    change(path, 1, rows=7)
    change(path, later={"a": 1})

    delete(path, positions=[1, 4])
    report = compact(path, erase=True)

    body = body_of(path)
    assert body["later"] == {"a": 1}
    assert [segment.get("rows") for segment in body["segments"]] == [None, 7]
    assert (report.num_erased, [segment["deleted"] for segment in body["segments"]]) == (1, [1, 1])
    assert not report.is_erased
    with SplitDataLoader(path) as reader:
        assert [reader[position] for position in (0, 2, 3, 5)] == [RECORDS[0], RECORDS[2], RECORDS[0], RECORDS[2]]


def test_folding_carries_names_along_and_leaves_a_segment_alone_of_which_something_unknown_is_said(
    tmp_path: Path,
) -> None:
    path = tmp_path / "d"
    append(path)
    change(path, 0, rows=7)
    change(path, later={"a": 1})

    for _ in range(33):
        append(path)

    body = body_of(path)
    assert body["later"] == {"a": 1}
    assert body["segments"][0]["rows"] == 7
    assert len(body["segments"]) < 5
    with SplitDataLoader(path) as reader:
        assert list(reader) == RECORDS * 34


def test_manifest_says_who_made_it_and_when_unless_the_dataset_is_reproducible(tmp_path: Path) -> None:
    append(tmp_path / "d")
    with SplitWriter(tmp_path / "r", reproducible=True) as writer:
        writer.write(b"r")

    body = body_of(tmp_path / "d")
    assert body["writer"].startswith("splitdata ")
    made = datetime.strptime(body["time"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert abs(datetime.now(UTC) - made) < timedelta(hours=1)
    assert not {"writer", "time"} & set(body_of(tmp_path / "r"))
