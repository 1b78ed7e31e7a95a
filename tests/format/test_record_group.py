"""Groups of records: what is packed comes back, and a damaged payload gives one verdict however it is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitdata import FormatError
from splitdata.format.record_group import RecordGroup, group_room, pack_group

RECORDS = st.lists(st.binary(max_size=80), min_size=1, max_size=40)
ALIGNMENTS = st.sampled_from([1, 8, 64])


def only(count: int) -> range:
    return range(count, count + 1)


def item(group: RecordGroup, slot: int) -> bytes:
    return group.data[slice(*group.span(slot))]


@st.composite
def groups(draw: st.DrawFn) -> tuple[list[bytes], list[bytes] | None, bytes]:
    records = draw(
        st.one_of(RECORDS, st.builds(lambda n, size: [bytes([n]) * size] * n, st.integers(1, 40), st.just(16)))
    )
    keys = draw(st.none() | st.lists(st.binary(max_size=9), min_size=len(records), max_size=len(records)))
    return records, keys, pack_group(records, keys, draw(ALIGNMENTS))


@given(groups())
def test_records_and_keys_survive_bytes(case: tuple[list[bytes], list[bytes] | None, bytes]) -> None:
    records, keys, data = case
    group = RecordGroup(data, only(len(records)))

    group.check_strictly()
    assert (
        group.items()
        == list(map(bytes, group.views()))
        == [item(group, slot) for slot in range(len(records))]
        == records
    )
    assert group.lengths.tolist() == list(map(len, records))
    assert [group.key(slot) for slot in range(len(records))] == (keys or [b""] * len(records))
    rows = group.rows()
    if rows is not None:
        assert [row.tobytes() for row in rows] == records


@given(RECORDS, st.booleans(), ALIGNMENTS)
def test_room_is_never_less_than_what_is_packed(records: list[bytes], has_keys: bool, alignment: int) -> None:
    keys = [b"key"] * len(records) if has_keys else None
    num_bytes = sum(map(len, records)) + sum(map(len, keys or ()))
    room = group_room(len(records), num_bytes, has_keys=has_keys, alignment=alignment)
    assert len(pack_group(records, keys, alignment)) <= room


@given(groups(), st.data())
def test_damaged_payload_gives_one_verdict_item_by_item_and_together(
    case: tuple[list[bytes], list[bytes] | None, bytes], data: st.DataObject
) -> None:
    records, _, packed = case
    damaged = bytearray(packed)
    place = data.draw(st.integers(0, len(damaged) - 1))
    damaged[place] = data.draw(st.integers(0, 255))
    cut = bytes(damaged[: data.draw(st.sampled_from([len(damaged), len(damaged) - 1, 7, 0]))])
    try:
        group = RecordGroup(cut, only(len(records)))
    except FormatError:
        return

    single: list[bytes | None] = []
    for slot in range(len(records)):
        try:
            single.append(item(group, slot))
        except FormatError:
            single.append(None)
    if None in single:
        with pytest.raises(FormatError):
            group.items()
    else:
        assert group.items() == single
    for slot in range(len(records)):
        try:
            assert len(group.key(slot)) <= len(cut)
        except FormatError:
            continue


def test_group_of_fewer_records_than_are_asked_for_is_refused_and_of_more_is_read() -> None:
    data = pack_group([b"a", b"b", b"c"], None, 1)
    with pytest.raises(FormatError, match="has 3 records"):
        RecordGroup(data, range(4, 65))
    assert item(RecordGroup(data, range(2, 65)), 1) == b"b"
