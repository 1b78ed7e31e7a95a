"""mode="resume": a killed session is gone on with as if it had never been interrupted.

    run 1 ── SIGKILL        run 2 ── SIGKILL        run 3 ── closed        files == those of one whole run
        at byte or operation p       at q

Each run learns from the metadata, which are committed with the records, where it is to go on.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from splitdata import (
    BadMagicError,
    CorruptRecordError,
    DatasetExistsError,
    FormatError,
    ManifestError,
    MissingBinError,
    SplitDataLoader,
    SplitWriter,
    TruncatedFileError,
    describe,
    verify,
)
from splitdata.format import spec
from tests.dataset.disk import bins_of, files_of, read, written
from tests.faults.file_faults import fast_folder, intercepted
from tests.faults.kill_workloads import BLOCKS, PLAIN, TEXTS, Records, Workload
from tests.faults.test_io_errors import Failing, open_descriptors, run_with_fault
from tests.faults.test_kill import cost_of_all, read_all, spread, write_until_killed

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")


def with_small_large_records(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(spec, "LARGE_RECORD_BYTES", 1 << 10)
    patch.setattr(spec, "BLOCK_BYTES", 1 << 8)


def resuming(name: str, groups: list[Records], **options: Any) -> Workload:  # whatever SplitWriter takes
    """Write groups of records, a commit each, from where the metadata say that the run before has come."""

    def run(path: Path) -> Iterator[None]:
        with SplitWriter(path, mode="resume", reproducible=True, **options) as writer:
            if writer.metadata.get("finished"):
                return
            if "done" not in writer.metadata:
                writer.commit(metadata={"done": 0})
                yield
            for number in range(writer.metadata["done"], len(groups)):
                writer.write_many(groups[number])
                writer.commit(metadata={"done": number + 1})
                yield
            writer.close(metadata={"done": len(groups), "finished": True})
            yield

    states: list[Records | None] = [list(chain.from_iterable(groups[:number])) for number in range(len(groups) + 1)]
    return Workload(name, run, [None, *states, states[-1]])


WORKLOADS = [
    resuming("plain", PLAIN, bins=3, metadata={"made": "here"}),
    resuming("lazy", PLAIN, metadata={"made": "here"}, durability="none"),
    resuming("aligned", PLAIN, bins=4, alignment=64, durability="none"),
    resuming("zstd", TEXTS, bins=2, compression="zstd", durability="none"),
    replace(resuming("blocks", BLOCKS, bins=2, durability="none"), patch=with_small_large_records),
]
BY_NAME = {workload.name: workload for workload in WORKLOADS}
every_workload = pytest.mark.parametrize("name", BY_NAME)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with fast_folder(tmp_path) as path:
        yield path


def contents(path: Path) -> dict[str, str]:
    """Return what makes up a dataset; a kill may leave one old manifest more than are kept."""
    manifests = sorted(path.glob("manifest.*.json"))[:-8]
    return {name: digest for name, digest in files_of(path).items() if path / name not in manifests}


def check_state(workload: Workload, path: Path, where: str) -> None:
    """Check that records and metadata of what a kill left belong to one commit."""
    found = read_all(path)
    assert found in workload.states, where
    if found is not None:
        with SplitDataLoader(path) as loader:
            assert workload.states[1 + loader.metadata["done"]] == found, where


def kill_twice_and_finish(workload: Workload, folder: Path, pairs: list[tuple[int, int]]) -> int:
    """Kill a run at one point and the next at another, let the third finish; returns how often both died."""
    whole, path, both = folder / "whole", folder / "dataset", 0
    for first, second in pairs:
        where = f"{workload.name} killed at {first}, then at {second}"
        assert write_until_killed(workload, path, first).exit_code == -signal.SIGKILL
        with pytest.MonkeyPatch.context() as patch:
            workload.patch(patch)
            check_state(workload, path, where)
            exit_code = write_until_killed(workload, path, second).exit_code
            assert exit_code in (0, -signal.SIGKILL), where
            both += exit_code != 0
            check_state(workload, path, where)
            for _ in workload.run(path):
                pass
            assert read(path) == workload.states[-1], where
        assert contents(path) == contents(whole), where
        shutil.rmtree(path)
    return both


def pairs_of_points(total: int, count: int) -> list[tuple[int, int]]:
    """Return pairs of points in which the second falls everywhere for early and for late first ones."""
    # By the golden ratio: spread evenly whatever the total is.
    return [(point, int(number * 0.6180339887 % 1 * total)) for number, point in enumerate(spread(total, count))]


@needs_fork
@pytest.mark.usefixtures("small_process")
@every_workload
def test_run_killed_twice_and_resumed_leaves_the_files_of_a_whole_one(name: str, folder: Path) -> None:
    workload = BY_NAME[name]
    total = cost_of_all(workload, folder)

    both = kill_twice_and_finish(workload, folder, pairs_of_points(total, 26))

    assert both > 5
    with pytest.MonkeyPatch.context() as patch:
        workload.patch(patch)
        assert verify(folder / "whole").is_intact


@needs_fork
@pytest.mark.soak
@pytest.mark.usefixtures("small_process")
@every_workload
def test_run_killed_at_every_point_and_resumed_leaves_the_files_of_a_whole_one(name: str, folder: Path) -> None:
    workload = BY_NAME[name]
    total = cost_of_all(workload, folder)

    assert kill_twice_and_finish(workload, folder, pairs_of_points(total, total)) > total // 4


@pytest.mark.parametrize("sticky", [False, True], ids=["once", "sticky"])
def test_full_disk_at_any_operation_ends_the_run_and_a_resumed_one_finishes(folder: Path, sticky: bool) -> None:
    workload, whole, path = BY_NAME["plain"], folder / "whole", folder / "dataset"
    list(workload.run(whole))
    number = 0
    while True:
        handler = Failing(number, errno.ENOSPC, sticky=sticky)
        run_with_fault(workload, path, handler)
        if not handler.failed:
            break
        where = f"operation {number}, {handler.failed[:1]}"
        check_state(workload, path, where)
        assert list(workload.run(path)) or read(path) == workload.states[-1], where
        assert contents(path) == contents(whole), where
        shutil.rmtree(path)
        number += 1
    assert number > 50


def failed_session(
    path: Path, committed: Records, pending: Records, **options: Any
) -> None:  # whatever SplitWriter takes
    """Commit records, write more of them, and die by an exception that cannot even tidy up."""
    writer = SplitWriter(path, **options)
    writer.write_many(committed)
    writer.commit(metadata={"done": len(committed)})
    writer.write_many(pending)
    writer._session.append(pending)
    writer._is_closed = True
    writer._session.close()


def test_resumed_writer_counts_on_and_gives_positions_behind_what_is_there(tmp_path: Path) -> None:
    written(tmp_path / "data", [b"before"])
    failed_session(tmp_path / "data", [b"a", b"b"], [b"lost"], mode="append", bins=2)

    with SplitWriter(tmp_path / "data", mode="resume", bins=2) as writer:
        assert writer.num_written == 2
        assert writer.metadata == {"done": 2}
        assert writer.write(b"c") == 2
        assert writer.commit() == range(3, 4)
        writer.write(b"d")
        assert writer.commit(metadata={"done": 4}) == range(4, 5)
        assert writer.metadata == {"done": 4}

    assert read(tmp_path / "data") == [b"before", b"a", b"b", b"c", b"d"]
    described = describe(tmp_path / "data")
    assert [segment.num_records for segment in described.segments] == [1, 4]
    assert described.metadata == {"done": 4}
    assert verify(tmp_path / "data").is_intact


def test_resume_begins_a_dataset_where_there_is_none(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "data", mode="resume", metadata={"own": 1}) as writer:
        assert writer.metadata == {}
        assert writer.write(b"a") == 0

    assert read(tmp_path / "data") == [b"a"]
    assert describe(tmp_path / "data").metadata == {"own": 1}


@pytest.mark.parametrize("options", [{"bins": 3}, {"alignment": 64}], ids=str)
def test_other_bins_or_alignment_begin_a_segment(tmp_path: Path, options: dict[str, Any]) -> None:
    failed_session(tmp_path / "data", [b"a", b"b"], [], bins=2)

    with SplitWriter(tmp_path / "data", mode="resume", **options) as writer:
        assert writer.num_written == 0
        writer.write(b"c")

    assert read(tmp_path / "data") == [b"a", b"b", b"c"]
    assert len(describe(tmp_path / "data").segments) == 2


def test_closed_run_is_not_reopened(tmp_path: Path) -> None:
    written(tmp_path / "data", [b"a"])
    before = files_of(tmp_path / "data")

    with SplitWriter(tmp_path / "data", mode="resume") as writer:
        assert writer.num_written == 0
    assert files_of(tmp_path / "data") == before


def test_run_behind_which_another_has_appended_is_left_as_it_is(tmp_path: Path) -> None:
    failed_session(tmp_path / "data", [b"a", b"b"], [b"lost"], bins=2)
    with SplitWriter(tmp_path / "data", mode="append") as writer:
        writer.write(b"rival")

    with SplitWriter(tmp_path / "data", mode="resume", bins=2) as writer:
        writer.write(b"c")
    assert read(tmp_path / "data") == [b"a", b"b", b"rival", b"c"]


def test_rival_that_appends_meanwhile_moves_what_a_resumed_writer_has_pending(tmp_path: Path) -> None:
    failed_session(tmp_path / "data", [b"a", b"b"], [b"lost"], bins=2)
    with SplitWriter(tmp_path / "data", mode="resume", bins=2) as writer:
        writer.write(b"c")
        with SplitWriter(tmp_path / "data", mode="append") as rival:
            rival.write(b"rival")
        assert writer.commit() == range(3, 4)
        assert writer.write(b"d") == 3

    assert read(tmp_path / "data") == [b"a", b"b", b"rival", b"c", b"d"]
    assert verify(tmp_path / "data").is_intact


def test_writer_that_lives_is_not_disturbed(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "data", bins=2) as alive:
        alive.write(b"a")
        alive.commit()
        alive.write(b"b")
        alive._session.append([b"pending"])
        before = files_of(tmp_path / "data")
        with pytest.raises(BlockingIOError, match="another program is writing to this dataset"):
            SplitWriter(tmp_path / "data", mode="resume")
        assert files_of(tmp_path / "data") == before

    assert read(tmp_path / "data") == [b"a", b"pending", b"b"]


def test_writer_that_lives_before_its_first_commit_is_not_disturbed(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "data", bins=2) as alive:
        alive._session.append([b"a"])
        with pytest.raises(BlockingIOError, match="has not committed yet"):
            SplitWriter(tmp_path / "data", mode="resume")

    assert read(tmp_path / "data") == [b"a"]


def test_two_that_begin_at_once_leave_one_whole_dataset(tmp_path: Path) -> None:
    one = SplitWriter(tmp_path / "data", mode="resume", bins=1)
    other = SplitWriter(tmp_path / "data", mode="resume", bins=1)
    one.commit(metadata={"done": 0})

    with pytest.raises(DatasetExistsError, match="meanwhile"):
        other.commit(metadata={"done": 0})
    other.abort()
    one.write(b"a")
    one.close(metadata={"done": 1})
    assert read(tmp_path / "data") == [b"a"]
    assert len(list((tmp_path / "data" / "segments").iterdir())) == 1


def test_segment_that_was_cleared_away_while_it_was_made_is_an_error(tmp_path: Path) -> None:
    def clear_away(name: str, real: Callable[..., int], arguments: tuple[str], keywords: dict[str, Any]) -> int:
        descriptor = real(*arguments, **keywords)
        Path(arguments[0]).unlink()
        return descriptor

    with intercepted(clear_away, ("create",)), pytest.raises(BlockingIOError, match="has removed this new segment"):
        SplitWriter(tmp_path / "data", mode="resume", bins=1).commit(metadata={"done": 0})


def test_aborted_resumed_writer_keeps_what_was_committed_even_if_that_is_nothing(tmp_path: Path) -> None:
    writer = SplitWriter(tmp_path / "data", mode="resume", bins=2)
    writer.commit(metadata={"done": 0})
    writer.abort()
    for committed in ([], [b"a"]):
        writer = SplitWriter(tmp_path / "data", mode="resume", bins=2)
        assert writer.num_written == 0
        writer.write_many(committed)
        writer.commit(metadata={"done": len(committed)})
        writer._session.append([b"pending"])
        writer.abort()
        assert read(tmp_path / "data") == committed
        assert verify(tmp_path / "data").is_intact


def test_empty_segment_is_sealed_and_intact(tmp_path: Path) -> None:
    for _ in range(2):
        with SplitWriter(tmp_path / "data", mode="resume", bins=2, metadata={"own": 1}) as writer:
            writer.commit(metadata={"done": 0})

    described = describe(tmp_path / "data")
    assert described.segments[0].is_sealed
    assert described.metadata == {"own": 1, "done": 0}
    assert verify(tmp_path / "data").is_intact
    assert read(tmp_path / "data") == []


def test_longest_record_that_was_never_committed_is_forgotten(tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    def stop(*_: object) -> None:
        raise StopError

    for name in ("killed", "whole"):
        writer = SplitWriter(tmp_path / name, bins=2, reproducible=True)
        writer.write_many([b"a" * 10, b"b"])
        writer.commit()
        if name == "killed":
            writer.write(b"x" * 1000)
            # The header of the index counts this record already.
            with intercepted(stop, ("create_unnamed",)), pytest.raises(StopError):
                writer.commit()
            writer._is_closed = True
            writer._session.close()
            writer = SplitWriter(tmp_path / name, bins=2, reproducible=True, mode="resume")
        writer.write(b"c" * 20)
        writer.close()

    assert files_of(tmp_path / "killed") == files_of(tmp_path / "whole")


def test_reader_of_a_dead_run_is_not_disturbed_by_the_resumed_one(tmp_path: Path) -> None:
    failed_session(tmp_path / "data", [b"a" * 5000, b"b" * 5000], [b"lost" * 5000] * 4, bins=2)
    with SplitDataLoader(tmp_path / "data", io="mmap") as loader:
        view = loader.view(0)
        with SplitWriter(tmp_path / "data", mode="resume", bins=2) as writer:
            writer.write_many([b"c" * 9000] * 4)
        assert list(loader) == [b"a" * 5000, b"b" * 5000]
        assert bytes(view) == b"a" * 5000
        loader.refresh()
        assert len(loader) == 6


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 8)


def flip(offset: int) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[offset] ^= 1
        path.write_bytes(data)

    return change


DAMAGE: dict[str, tuple[str, Callable[[Path], None], type[FormatError], str]] = {
    "bin cut": ("000001.bin", cut, TruncatedFileError, "ends at byte"),
    "bin gone": ("000001.bin", Path.unlink, MissingBinError, "is missing"),
    "bin header": ("000001.bin", flip(20), FormatError, "header of the bin is damaged"),
    "bin magic": ("000001.bin", flip(0), BadMagicError, "does not begin as a bin"),
    "frame": ("000001.bin", flip(64 + 18), CorruptRecordError, "do not agree"),
    "frame check": ("000001.bin", flip(64 + 5), CorruptRecordError, "header check of record 1"),
    "frame lengths": ("000001.bin", flip(64 + 24), CorruptRecordError, "no other record is affected"),
    "entry": ("index", flip(128 + 16), FormatError, "record 1 "),
    "bin of entry": ("index", flip(128 + 16 + 5), CorruptRecordError, "leads to bin"),
    "index cut": ("index", cut, TruncatedFileError, "were committed"),
    "index gone": ("index", Path.unlink, TruncatedFileError, "is missing"),
    "index magic": ("index", flip(0), BadMagicError, "does not begin as an index"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_to_what_was_committed_is_refused_and_nothing_changed(tmp_path: Path, kind: str) -> None:
    name, damage, error, message = DAMAGE[kind]
    failed_session(tmp_path / "data", [b"a" * 300, b"b" * 300], [], bins=2)
    damage(next((tmp_path / "data" / "segments").iterdir()) / name)
    before = files_of(tmp_path / "data")

    with pytest.raises(error, match=message):
        SplitWriter(tmp_path / "data", mode="resume", bins=2)
    assert files_of(tmp_path / "data") == before


def test_lost_last_record_begins_a_segment(tmp_path: Path) -> None:
    failed_session(tmp_path / "data", [b"a", b"b"], [], bins=2)
    index = next((tmp_path / "data" / "segments").iterdir()) / "index"
    data = bytearray(index.read_bytes())
    data[128 + 16 : 128 + 32] = b"\xff" * 8 + bytes(8)
    index.write_bytes(data)

    with SplitWriter(tmp_path / "data", mode="resume", bins=2) as writer:
        writer.write(b"c")
    with SplitDataLoader(tmp_path / "data") as loader:
        assert [loader[0], loader[2]] == [b"a", b"c"]


def test_lost_manifest_is_not_taken_for_a_dead_writer(tmp_path: Path) -> None:
    failed_session(tmp_path / "data", [b"a"], [], bins=1)
    for manifest in (tmp_path / "data").glob("manifest.*"):
        manifest.unlink()
    before = files_of(tmp_path / "data")

    with pytest.raises(ManifestError, match="no manifest: it was deleted"):
        SplitWriter(tmp_path / "data", mode="resume")
    assert files_of(tmp_path / "data") == before


@pytest.mark.parametrize("has_entries", [False, True])
def test_torn_header_without_manifest_is_cleared_away_only_if_nothing_lies_behind_it(
    tmp_path: Path, has_entries: bool
) -> None:
    folder = tmp_path / "data" / "segments" / ("0" * 32)
    folder.mkdir(parents=True)
    (folder / "index").write_bytes(b"\x89SDI" + bytes(124) + b"entry" * has_entries)

    with SplitWriter(tmp_path / "data", mode="resume") as writer:
        writer.write(b"a")
    assert folder.exists() == has_entries
    assert read(tmp_path / "data") == [b"a"]


def test_metadata_that_become_too_large_are_refused(tmp_path: Path) -> None:
    writer = SplitWriter(tmp_path / "data", metadata={"a": "x" * 600_000})
    writer.write(b"a")
    with pytest.raises(TypeError, match="text keys"):
        writer.commit(metadata={1: 2})  # type: ignore[dict-item]  # that is the question
    with pytest.raises(ValueError, match="limit"):
        writer.commit(metadata={"b": "x" * 2_000_000})
    writer.commit()
    with pytest.raises(ValueError, match="limit"):
        writer.close(metadata={"b": "x" * 600_000})
    assert read(tmp_path / "data") == [b"a"]


def test_metadata_alone_are_committed_in_every_mode(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "data", metadata={"a": 1}) as writer:
        writer.write(b"a")
        assert writer.commit() == range(1)
        writer.commit(metadata={"a": 2, "b": 3})
        assert describe(tmp_path / "data").metadata == {"a": 2, "b": 3}
    writer = SplitWriter(tmp_path / "data", mode="append")
    writer.close(metadata={"b": 4})
    assert describe(tmp_path / "data").metadata == {"a": 2, "b": 4}
    assert len(bins_of(tmp_path / "data")) == 1


def test_lock_is_let_go_after_a_refusal(tmp_path: Path) -> None:
    failed_session(tmp_path / "data", [b"a", b"b"], [], bins=2)

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    for name in ("truncate", "list_names"):
        with intercepted(fail, (name,)), pytest.raises(OSError, match="Input/output"):
            SplitWriter(tmp_path / "data", mode="resume", bins=2)
    before = open_descriptors()
    with intercepted(fail, ("truncate",)), pytest.raises(OSError, match="Input/output"):
        SplitWriter(tmp_path / "data", mode="resume", bins=2)
    assert open_descriptors() == before
    with SplitWriter(tmp_path / "data", mode="resume", bins=2) as writer:
        assert writer.num_written == 2


@needs_fork
@pytest.mark.parametrize("more", [0, 3])
@pytest.mark.parametrize("alignment", [8, 4096])
def test_padding_that_a_bin_has_lost_is_put_back(tmp_path: Path, alignment: int, more: int) -> None:
    path = tmp_path / "data"
    records = [b"odd%02d" % number for number in range(5)]
    child = os.fork()
    if not child:
        writer = SplitWriter(path, bins=2, alignment=alignment)
        writer.write_many(records)
        writer.commit()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    for file in bins_of(path):
        os.truncate(file, file.stat().st_size - 2)
    assert verify(path).is_intact

    added = [b"more%02d" % number for number in range(more)]
    with SplitWriter(path, bins=2, alignment=alignment, mode="resume") as writer:
        assert writer.num_written == 5
        writer.write_many(added)

    assert read(path) == records + added
    assert verify(path).is_intact
