"""Ctrl-C in the midst of writing, caught: each record that counts has the key that it came with."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from splitdata import ClosedError, SampleDataset, SplitDataLoader, SplitWriter
from tests.loader.pipeline.test_interrupts import Line


def one_by_one(writer: SplitWriter, number: int) -> None:
    writer.write(b"%d" % number, key=f"key {number}")


def one_without_a_key(writer: SplitWriter, number: int) -> None:
    writer.write(b"%d" % number, key=None if number % 2 else f"key {number}")


def lists(writer: SplitWriter, number: int) -> None:
    numbers = [number * 10 + place for place in range(3)]
    writer.write_many([b"%d" % one for one in numbers], keys=[f"key {one}" for one in numbers])


def iterables(writer: SplitWriter, number: int) -> None:
    numbers = [number * 10 + place for place in range(3)]
    writer.write_many((b"%d" % one for one in numbers), keys=(f"key {one}" for one in numbers))


def samples(writer: SplitWriter, number: int) -> None:
    writer.write_samples([{"number": number}], keys=[f"key {number}"])


WAYS: list[Callable[[SplitWriter, int], None]] = [one_by_one, one_without_a_key, lists, iterables, samples]


@pytest.mark.parametrize("write", WAYS)
def test_interrupt_in_any_line_of_writing_shifts_no_key(
    write: Callable[[SplitWriter, int], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that some calls write a chunk: what is interrupted there ends the writer.
    monkeypatch.setattr("splitdata.dataset.writer._MIN_CHUNK_BYTES", 1000)
    monkeypatch.setattr("splitdata.dataset.writer._CHUNK_BYTES_PER_BIN", 1)
    path = tmp_path / "data"
    line_number = number = num_struck = 0
    has_missed = False
    while not has_missed:
        writer = SplitWriter(path, bins=2, mode="append", durability="none")
        try:
            while not has_missed:
                number += 1
                try:
                    with Line(line_number) as line:
                        write(writer, number)
                except KeyboardInterrupt:
                    num_struck += 1
                line_number += line.has_struck
                has_missed = not line.has_struck
                # Those that come after it must not pay for it.
                write(writer, 100_000 + number)
            writer.close()
        except ClosedError:
            writer.close()
    assert num_struck >= 10

    with SplitDataLoader(path) as loader:
        decoded = iter(SampleDataset(path) if write is samples else ())
        for position, record in enumerate(loader):
            key = loader.key(position)
            if write is samples:
                assert key is not None
                assert next(decoded) == {"number": int(key.removeprefix("key "))}
            elif write is one_without_a_key and int(record) % 2:
                assert key is None
            else:
                assert key == f"key {int(record)}"


def test_interrupt_in_the_midst_of_a_commit_ends_the_writer_and_doubles_nothing(tmp_path: Path) -> None:
    line_number, has_missed = 0, False
    while not has_missed:
        path = tmp_path / str(line_number)
        with SplitWriter(path, bins=2, mode="append", durability="none") as writer:
            writer.write_many([b"one", b"two"])
            writer.commit()
            writer.write(b"three")
            try:
                with Line(line_number) as line:
                    writer.commit()
            except KeyboardInterrupt:
                # Not where it came before the commit had begun.
                with suppress(ClosedError):
                    writer.write(b"four")
        has_missed = not line.has_struck
        with SplitDataLoader(path) as loader:
            found = list(loader)
        assert found == [b"one", b"two", b"three", b"four"][: len(found)]
        assert len(found) >= 2
        line_number += 13
    assert line_number > 100
