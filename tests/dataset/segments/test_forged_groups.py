"""A group whose payload is shorter than its tables, with every hash right, is damage for each way to read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from splitdata import CorruptRecordError, SplitDataLoader, SplitWriter, verify
from splitdata.dataset.manifests.directory import DatasetDirectory
from splitdata.format import spec
from splitdata.format.checksum import bin_salt, hash64
from splitdata.format.frames import FrameHeader, lengths_word
from tests.dataset.record_kinds import overwrite

GROUP = 16


def forge(path: Path, payload: bytes) -> None:
    """Write a dataset of one group, with this payload in its place."""
    with SplitWriter(path, bins=1, durability="none", group=GROUP) as writer:
        writer.write_many([b"%02d" % number for number in range(GROUP)])
    segment = DatasetDirectory(path).newest().segments[0]
    folder = path / "segments" / segment.id
    header = FrameHeader(
        sequence=0,
        stored_length=len(payload),
        raw_length=len(payload),
        payload_hash=hash64(payload),
        kind=spec.KIND_GROUP,
    )
    frame = header.pack(bin_salt(segment.id, 0), spec.BIN_HEADER_BYTES) + payload
    overwrite(folder / "000000.bin", spec.BIN_HEADER_BYTES, frame)
    lengths = lengths_word(len(payload), len(payload)).to_bytes(8, "little")
    overwrite(folder / "index", spec.INDEX_HEADER_BYTES + 8, lengths)


@pytest.mark.parametrize("length", [0, 4, 8, 12, 8 + 4 * GROUP - 1])
@pytest.mark.parametrize("slot", [0, 1, GROUP - 1])
def test_group_that_ends_within_its_tables_is_damage(tmp_path: Path, length: int, slot: int) -> None:
    whole = GROUP.to_bytes(4, "little") + bytes(4) + (8 + 4 * GROUP).to_bytes(4, "little") * GROUP
    forge(tmp_path / "d", whole[:length])

    with SplitDataLoader(tmp_path / "d") as reader:
        for read in (
            lambda: reader[slot],
            lambda: reader[[slot]],
            lambda: reader[:],
            lambda: reader.view(slot),
            lambda: reader.key(slot),
        ):
            with pytest.raises(CorruptRecordError, match="group of records 0 to 15"):
                read()
    assert verify(tmp_path / "d").num_damaged_records == GROUP
