"""repair of manifests, and adoption: what was committed returns in its place, what was not only if asked for.

newest damaged     made again from the one before and the segments      published under a new number
all gone           made again from the segments, with --adopt
killed writers     their whole records are added at the end, with --adopt
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from splitdata import (
    DatasetNotFoundError,
    FormatError,
    ManifestError,
    SplitDataLoader,
    SplitWriter,
    UnsupportedVersionError,
    describe,
    repair,
    verify,
)
from splitdata.dataset.manifests.directory import DatasetDirectory
from tests.command import ROOT
from tests.faults.file_faults import fast_folder
from tests.faults.forging import write_manifest


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    with fast_folder(tmp_path) as folder:
        yield folder / "data"


def write(path: Path, *groups: list[bytes], bins: int = 2, **options: object) -> None:
    """Append groups of records, each in a run of its own."""
    for group in groups:
        with SplitWriter(path, mode="append", bins=bins, durability="none", **options) as writer:  # type: ignore[arg-type]
            writer.write_many(group)


def records_of(path: Path) -> list[bytes]:
    with SplitDataLoader(path) as loader:
        return [loader[position] for position in range(len(loader))]


def manifests(path: Path) -> list[Path]:
    return sorted(path.glob("manifest.*.json"))


def tree_of(path: Path) -> dict[str, bytes]:
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def check_whole(path: Path, records: list[bytes]) -> None:
    """Compare all records, and append one more."""
    assert records_of(path) == records
    assert verify(path).findings == ()
    again = repair(path)
    assert (again.actions, again.is_whole) == ((), True)
    write(path, [b"appended"])
    assert records_of(path) == [*records, b"appended"]


A, B, C = [b"a%d" % n for n in range(5)], [b"b%d" % n * n for n in range(4)], [b"c" * n for n in range(6)]


# -- a damaged newest manifest ---------------------------------------------------------------------


@pytest.mark.parametrize("damage", [b"", b"{}", b"\0" * 400, b'{"format":"splitdata"}\n{"xxh3":"0000000000000000"}\n'])
def test_damaged_newest_manifest_is_made_again_under_a_new_number(path: Path, damage: bytes) -> None:
    write(path, A, B, C, metadata={"who": "me"})
    before = describe(path)
    newest = manifests(path)[-1]
    newest.write_bytes(damage)

    report = repair(path)

    after = describe(path)
    assert report.generation == after.generation == before.generation + 1
    assert (after.fingerprint, after.metadata, after.dataset_id) == (
        before.fingerprint,
        before.metadata,
        before.dataset_id,
    )
    assert after.segments == before.segments
    assert not newest.exists()
    check_whole(path, A + B + C)


@pytest.mark.parametrize("number", [9_999_999_999, 9_999_999_998, 7_000_000_000])
@pytest.mark.parametrize("content", [b"", b"not a manifest", b'{"generation": 9999999999}\n'])
def test_file_with_the_number_of_no_possible_commit_costs_a_repair_and_not_the_dataset(
    path: Path, number: int, content: bytes
) -> None:
    write(path, [b"a", b"b"], [b"c"])
    newest = DatasetDirectory(path).generations()[-1]
    strange = path / f"manifest.{number:010d}.json"
    strange.write_bytes(content)
    for attempt in (SplitDataLoader, lambda path: SplitWriter(path, mode="append"), verify):
        with pytest.raises(ManifestError, match="splitdata repair"):
            attempt(path)
    tree = tree_of(path)
    assert repair(path, dry_run=True).generation == newest + 1
    assert tree_of(path) == tree

    report = repair(path)

    assert report.generation == newest + 1
    assert f"{strange}: removed" in report.actions
    assert not strange.exists()
    assert repair(path).actions == ()
    check_whole(path, [b"a", b"b", b"c"])


def test_repair_that_is_killed_beside_a_number_of_no_possible_commit_is_finished_by_the_next(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(path, [b"a"], [b"b"])
    (path / "manifest.9999999999.json").write_bytes(b"")
    with monkeypatch.context() as patch:
        patch.setattr(DatasetDirectory, "remove_manifest", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            repair(path)
    repair(path)

    check_whole(path, [b"a", b"b"])


def test_last_manifest_of_all_is_mended_only_where_it_is_damaged(path: Path) -> None:
    write(path, [b"a"])
    last = replace(DatasetDirectory(path).newest(), generation=9_999_999_999)
    (path / "manifest.9999999999.json").write_bytes(last.encode())

    assert records_of(path) == [b"a"]
    with pytest.raises(ManifestError, match="the last there is"):
        write(path, [b"b"])
    assert repair(path).generation == 9_999_999_999


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
@pytest.mark.parametrize("make", [Path.mkdir, lambda one: one.symlink_to("nowhere"), os.mkfifo], ids=["d", "l", "p"])
def test_thing_with_the_name_of_the_last_manifest_is_named_and_left(path: Path, make: Callable[[Path], None]) -> None:
    write(path, [b"a"])
    make(path / "manifest.9999999999.json")
    for attempt in (SplitDataLoader, lambda path: SplitWriter(path, mode="append"), verify, repair):
        with pytest.raises(FormatError, match=r"manifest\.9999999999\.json.*move it away"):
            attempt(path)


def test_newest_manifest_with_any_byte_damaged_is_made_again(path: Path) -> None:
    write(path, A, B)
    newest = manifests(path)[-1]
    before, original = tree_of(path), newest.read_bytes()
    for byte in range(0, len(original), 3):
        content = bytearray(original)
        content[byte] ^= 1 << byte % 8
        newest.write_bytes(content)
        assert repair(path).is_whole
        assert records_of(path) == A + B
        manifests(path)[-1].unlink()
        newest.write_bytes(original)
        assert tree_of(path) == before


@pytest.mark.parametrize("is_deleted", [False, True])
def test_all_manifests_lost_are_made_again_from_the_segments(path: Path, is_deleted: bool) -> None:
    write(path, A, metadata={"first": 1, "both": "a"})
    write(path, B)
    write(path, C, metadata={"second": 2, "both": "b"})
    before = describe(path)
    for manifest in manifests(path):
        if is_deleted:
            manifest.unlink()
        else:
            manifest.write_bytes(manifest.read_bytes()[:-5])
    if is_deleted:
        with pytest.raises(ManifestError, match="repair --adopt"):
            repair(path)

    report = repair(path, adopt=is_deleted)

    after = describe(path)
    assert report.is_whole
    assert report.num_adopted == (len(A + B + C) if is_deleted else 0)
    assert (after.fingerprint, after.segments) == (before.fingerprint, before.segments)
    assert after.metadata == {"first": 1, "second": 2, "both": "b"}
    assert is_deleted or after.dataset_id == before.dataset_id
    assert len(manifests(path)) == 1
    check_whole(path, A + B + C)


def test_manifests_and_one_index_lost_together_come_back(path: Path) -> None:
    for lost in range(3):
        data = path / str(lost)
        write(data, A, B, C, bins=3)
        before = describe(data)
        (data / "segments" / before.segments[lost].id / "index").unlink()
        for manifest in manifests(data):
            manifest.write_bytes(b"")
        # Its records fit into the one place that no other segment claims.
        assert repair(data).is_whole
        assert describe(data).fingerprint == before.fingerprint
        assert records_of(data) == A + B + C


def test_open_segment_that_was_extended_returns_whole(path: Path) -> None:
    writer = SplitWriter(path, bins=2, durability="none")
    for group in (A, B, C):
        writer.write_many(group)
        writer.commit()
    writer.abort()
    manifests(path)[-1].write_bytes(b"damaged")

    assert repair(path).num_records == len(A + B + C)
    check_whole(path, A + B + C)


def test_deleted_newest_manifest_returns_with_adopt_in_the_old_places(path: Path) -> None:
    write(path, A, B, C)
    before = describe(path)
    for manifest in manifests(path)[1:]:
        manifest.unlink()

    assert repair(path).num_adoptable == len(B + C)
    assert records_of(path) == A
    report = repair(path, adopt=True)

    assert describe(path).segments == before.segments
    assert report.num_records == len(A + B + C)
    check_whole(path, A + B + C)


def test_contradiction_is_refused_and_changes_nothing(path: Path) -> None:
    write(path, A)
    alone = manifests(path)[0].read_bytes()
    write(path, B)
    manifests(path)[-1].unlink()
    assert manifests(path)[0].read_bytes() == alone
    write(path, C)
    manifests(path)[-1].write_bytes(b"damaged")
    before = tree_of(path)

    for adopt in (False, True):
        with pytest.raises(ManifestError, match=r"position 5 is claimed by several segments.*nothing was changed"):
            repair(path, adopt=adopt)
        assert tree_of(path) == before


def test_gap_between_segments_is_refused_and_changes_nothing(path: Path) -> None:
    write(path, A, B, C)
    middle = path / "segments" / describe(path).segments[1].id
    for file in middle.iterdir():
        file.unlink()
    middle.rmdir()
    for manifest in manifests(path):
        manifest.write_bytes(b"damaged")
    before = tree_of(path)

    with pytest.raises(ManifestError, match="no segment has the positions from 5 on"):
        repair(path)
    assert tree_of(path) == before


def test_listed_segment_whose_folder_is_gone_is_reported(path: Path) -> None:
    write(path, A, B)
    folder = path / "segments" / describe(path).segments[1].id
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()

    report = repair(path)

    assert (report.actions, report.num_lost_records, report.findings[0].position) == ((), len(B), len(A))


def test_manifest_of_another_version_is_refused(path: Path) -> None:
    write(path, A)
    line = manifests(path)[0].read_bytes().split(b"\n")[0]
    write_manifest(path, line.replace(b'"version":[1,0]', b'"version":[9,9]'))
    before = tree_of(path)

    with pytest.raises(UnsupportedVersionError):
        repair(path)
    assert tree_of(path) == before


def test_manifest_that_claims_a_billion_records_takes_no_memory(path: Path) -> None:
    write(path, A)
    line = manifests(path)[0].read_bytes().split(b"\n")[0]
    write_manifest(path, line.replace(b'"records":5', b'"records":4000000000'))
    before = tree_of(path)

    report = repair(path)

    assert report.num_lost_records == 4_000_000_000
    assert "4000000000 records" in report.findings[0].problem
    assert tree_of(path) == before


def test_empty_dataset_and_no_dataset(path: Path) -> None:
    with pytest.raises(DatasetNotFoundError):
        repair(path)
    path.mkdir()
    for adopt in (False, True):
        with pytest.raises(DatasetNotFoundError):
            repair(path, adopt=adopt)
    with SplitWriter(path):
        pass
    assert repair(path, adopt=True).actions == ()
    manifests(path)[0].write_bytes(b"damaged")
    assert repair(path).num_records == 0
    check_whole(path, [])


def test_damaged_manifest_after_an_overwrite_brings_back_the_new_dataset(path: Path) -> None:
    write(path, A, B)
    with SplitWriter(path, mode="overwrite", bins=1) as writer:
        writer.write_many(C)
    manifests(path)[-1].write_bytes(b"damaged")
    before = tree_of(path)
    try:
        repair(path)
    except ManifestError:
        # The old one is still there, and nothing says which of the two it is to be.
        assert tree_of(path) == before
    else:
        check_whole(path, C)


# -- adoption --------------------------------------------------------------------------------------


def abandoned(path: Path, groups: list[list[bytes]], pending: list[bytes], *, bins: int = 2) -> None:
    """Run a writer in a process of its own, that commits groups, writes what is pending and is killed."""
    code = (
        "import os, signal, sys\n"
        "from splitdata import SplitWriter\n"
        "path, bins, groups, pending = eval(sys.stdin.read())\n"
        "writer = SplitWriter(path, mode='append', bins=bins)\n"
        "for group in groups:\n"
        "    writer.write_many(group)\n"
        "    writer.commit()\n"
        "writer.write_many(pending)\n"
        "writer._flush()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        input=repr((str(path), bins, groups, pending)),
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL


needs_kill = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")


@needs_kill
def test_pending_records_of_a_killed_writer_are_adopted_in_its_segment(path: Path) -> None:
    abandoned(path, [A, B], C)

    before = tree_of(path)
    assert repair(path).num_adoptable == len(C)
    assert tree_of(path) == before
    report = repair(path, adopt=True)

    assert (report.num_adopted, report.num_records, len(describe(path).segments)) == (len(C), len(A + B + C), 1)
    assert repair(path, adopt=True).num_adopted == 0
    check_whole(path, A + B + C)


@needs_kill
def test_killed_writers_segment_without_a_commit_is_adopted_whole(path: Path) -> None:
    write(path, A)
    abandoned(path, [], B)
    abandoned(path, [], C, bins=3)

    assert repair(path).num_adoptable == len(B + C)
    report = repair(path, adopt=True)

    assert report.num_adopted == len(B + C)
    assert records_of(path) in (A + B + C, A + C + B)
    check_whole(path, records_of(path))


@needs_kill
def test_first_commit_that_never_was_is_adopted(path: Path) -> None:
    abandoned(path, [], B)
    with pytest.raises(DatasetNotFoundError):
        repair(path)

    assert repair(path, adopt=True).num_adopted == len(B)
    check_whole(path, B)


@needs_kill
def test_pending_records_behind_which_others_were_committed_are_copied_to_the_end(path: Path) -> None:
    abandoned(path, [A], B)
    write(path, C)

    assert repair(path).num_adoptable == len(B)
    report = repair(path, adopt=True)

    assert report.num_adopted == len(B)
    assert records_of(path) == A + C + B
    assert repair(path, adopt=True).num_adopted == 0
    assert repair(path).num_adoptable == 0
    check_whole(path, A + C + B)


@needs_kill
def test_only_the_unbroken_run_of_whole_records_is_adopted(path: Path) -> None:
    abandoned(path, [A], [b"whole", b"broken", b"behind the broken one"], bins=1)
    file = next(path.rglob("000000.bin"))
    file.write_bytes(file.read_bytes().replace(b"broken\0", b"brokem\0"))

    assert repair(path, adopt=True).num_adopted == 1
    check_whole(path, [*A, b"whole"])


@needs_kill
def test_adoption_needs_no_index(path: Path) -> None:
    abandoned(path, [A], B)
    next(path.rglob("index")).unlink()

    assert repair(path, adopt=True).num_adopted == len(B)
    check_whole(path, A + B)


@needs_kill
def test_segment_without_a_record_is_removed_if_its_writer_is_dead(path: Path) -> None:
    write(path, A)
    abandoned(path, [], [])
    with SplitWriter(path, mode="append", bins=2) as writer:
        writer._session._open_segment(1)
        kept = set((path / "segments").iterdir())
        report = repair(path)
        assert set((path / "segments").iterdir()) == kept
        assert "a writer is at work" in report.notes[0]
        (path / f"manifest.{'0' * 32}.tmp").touch()
        assert repair(path, adopt=True).actions == ()
        writer.write_many(B)
    assert repair(path).actions == (f"{path}/manifest.{'0' * 32}.tmp: removed",)
    check_whole(path, A + B)


LIVE = """
import sys
from splitdata import SplitWriter
writer = SplitWriter(sys.argv[1], mode="append", bins=2, durability="none")
writer.write_many([b"live 0", b"live 1"])
writer.commit()
writer.write_many([b"live 2", b"live 3"])
writer._flush()
print("written", flush=True)
sys.stdin.readline()
writer.commit()
print("committed", flush=True)
sys.stdin.readline()
writer.close()
"""


def test_segment_of_a_live_writer_is_never_touched(path: Path) -> None:
    write(path, A)
    with subprocess.Popen(
        [sys.executable, "-c", LIVE, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    ) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        assert writer.stdout.readline() == "written\n"
        before = tree_of(path)
        for adopt in (False, True):
            report = repair(path, adopt=adopt)
            assert (report.actions, report.num_adopted, report.num_adoptable) == ((), 0, 0)
            assert "a writer is at work" in report.notes[0]
        assert tree_of(path) == before

        first = path / "segments" / describe(path).segments[0].id
        (first / "index").unlink()
        assert len(repair(path, adopt=True).actions) == 1
        assert tree_of(path) == before
        print(file=writer.stdin, flush=True)
        assert writer.stdout.readline() == "committed\n"
        writer.stdin.close()
        assert writer.wait() == 0
    check_whole(path, [*A, b"live 0", b"live 1", b"live 2", b"live 3"])


def test_damaged_manifest_beside_a_live_writer_is_made_again_and_the_writer_goes_on(path: Path) -> None:
    write(path, A)
    with SplitWriter(path, mode="append", bins=2, durability="none") as writer:
        writer.write_many(B)
        writer.commit()
        manifests(path)[-1].write_bytes(b"damaged")
        assert repair(path).num_records == len(A + B)
        writer.write_many(C)
    check_whole(path, A + B + C)


def test_program_that_commits_meanwhile_is_not_overwritten(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path, A)
    with SplitWriter(path, mode="append", bins=2, durability="none") as writer:
        writer.write_many(B)
    manifests(path)[-1].unlink()
    real = DatasetDirectory.segment_ids

    def segment_ids(self: DatasetDirectory) -> list[str]:
        ids = real(self)
        monkeypatch.undo()
        write(path, C)
        return ids

    monkeypatch.setattr(DatasetDirectory, "segment_ids", segment_ids)
    with pytest.raises(ManifestError, match="another program has committed"):
        repair(path, adopt=True)
    assert records_of(path) == A + C
    assert repair(path, adopt=True).num_adopted == len(B)
    check_whole(path, A + C + B)
