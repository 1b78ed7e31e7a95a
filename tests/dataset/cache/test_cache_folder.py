"""The folder of a cache: who may use what, what is removed, and that nothing else ever is."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from splitdata import CacheError, FormatError, SplitDataLoader, SplitWriter, verify
from splitdata.dataset.cache.cache_folder import CacheFolder
from splitdata.dataset.cache.cache_generation import CacheGeneration, read_key
from splitdata.dataset.cache.cache_key import CacheKey
from splitdata.dataset.manifests.retention import remove_dataset
from splitdata.storage import files
from splitdata.storage.folder import Folder
from tests.command import ROOT
from tests.dataset.disk import files_of, written

KEY = CacheKey(dataset="3-abc", num_records=3, transform="decode", code="c0de", version="v", seed=0, codec=1, epoch=0)


def written_in(folder: CacheFolder, key: CacheKey) -> None:
    """Make a generation with one dataset in it, and let it go."""
    generation = folder.open(key)
    claim = generation.claim()
    written(Path(claim.folder.path), [b"a", b"b"])
    claim.release()
    generation.close()


def epochs(folder: CacheFolder) -> list[int]:
    return [epoch for epoch, _ in folder.generations()]


# -- keys ----------------------------------------------------------------------------------------


def test_key_is_read_as_it_was_written() -> None:
    for key in (KEY, KEY.at(7), replace(KEY, version=None, transform='é"\n')):
        assert CacheKey.decode(key.encode()) == key


@pytest.mark.parametrize("field", ["dataset", "num_records", "transform", "code", "version", "seed", "codec"])
def test_lineage_is_of_all_fields_but_the_epoch(field: str) -> None:
    value = getattr(KEY, field)
    changed: dict[str, Any] = {field: value + 1 if isinstance(value, int) else value + "x"}
    other = replace(KEY, **changed)

    assert other.lineage != KEY.lineage == KEY.at(99).lineage


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b"[" * 100_000,
        # Version 1 knew no code.
        KEY.encode().replace(b'"splitdata_cache": 2', b'"splitdata_cache": 1'),
        KEY.encode().replace(b'"splitdata_cache": 2', b'"splitdata_cache": 3'),
        KEY.encode().replace(b'"seed": 0', b'"seed": "0"'),
        KEY.encode().replace(b'"seed": 0', b'"seed": true'),
        KEY.encode().replace(b'"seed": 0', b'"sod": 0'),
        KEY.encode()[:-10],
        b"\xff" + KEY.encode(),
    ],
)
def test_key_that_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        CacheKey.decode(data)


# -- use and removal -----------------------------------------------------------------------------


def test_generation_in_use_is_not_removed_and_afterwards_it_is(tmp_path: Path) -> None:
    folder = CacheFolder(tmp_path / "cache")
    written_in(folder, KEY)
    first, second = folder.open(KEY), folder.open(KEY)

    assert folder.discard_stale(KEY.at(0)) == 0
    stale = replace(KEY, seed=1)
    assert folder.discard_stale(stale) == 0
    first.close()
    assert folder.discard_stale(stale) == 0
    second.close()
    assert folder.discard_stale(stale) == 1
    assert files_of(tmp_path / "cache") == {}


def test_generation_in_use_by_another_process_is_not_removed_until_that_is_killed(tmp_path: Path) -> None:
    folder = CacheFolder(tmp_path / "cache")
    program = (
        "import sys; from splitdata.dataset.cache.cache_folder import CacheFolder; "
        "from splitdata.dataset.cache.cache_key import CacheKey; "
        "held = CacheFolder(sys.argv[1]).open(CacheKey.decode(sys.argv[2].encode())); "
        "print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "cache"), KEY.encode().decode()]
    stale = replace(KEY, version=None)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"held"
        assert folder.discard_stale(stale) == 0
        process.kill()
        process.wait()
    assert folder.discard_stale(stale) == 1


@pytest.mark.parametrize(
    ("present", "current", "is_complete", "left"),
    [
        ([0], 5, False, [0, 5]),
        ([0, 5], 10, False, [5, 10]),
        ([0, 5], 5, False, [0, 5]),
        ([0, 5], 5, True, [5]),
        ([0, 5, 10], 5, False, [5, 10]),
        ([0, 5, 10], 5, True, [5, 10]),
        ([0, 5, 10], 0, False, [0, 10]),
        ([0, 5, 10], 0, True, [0, 5, 10]),
    ],
)
def test_two_generations_stay_at_most_and_newer_ones_always(
    tmp_path: Path, present: list[int], current: int, is_complete: bool, left: list[int]
) -> None:
    folder = CacheFolder(tmp_path / "cache")
    for epoch in {*present, current}:
        written_in(folder, KEY.at(epoch))

    folder.tidy(KEY.at(current), is_complete=is_complete)

    assert epochs(folder) == left


def test_removal_that_was_killed_half_way_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = CacheFolder(tmp_path / "cache")
    written_in(folder, KEY)
    with monkeypatch.context() as patch:

        def dies(path: str, **_: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(files, "remove", dies)
        with pytest.raises(KeyboardInterrupt):
            folder.discard_stale(replace(KEY, seed=1))
    assert folder.generations() == []
    (left,) = (tmp_path / "cache").iterdir()
    assert left.name.startswith("removed.")

    generation = folder.open(KEY)
    folder.tidy(KEY, is_complete=False)
    assert [one.name for one in (tmp_path / "cache").iterdir()] == [Path(generation.paths.folder).name]
    assert generation.writers() == []
    generation.close()


def test_what_is_not_the_caches_survives_every_removal(tmp_path: Path) -> None:
    folder = CacheFolder(tmp_path / "cache")
    written_in(folder, KEY)
    (dataset,) = (tmp_path / "cache").glob("generation.*/writer.0000")
    precious = [
        dataset.parent / "thesis.tex",
        dataset / "thesis.tex",
        dataset / "segments" / "thesis.tex",
        next((dataset / "segments").iterdir()) / "thesis.tex",
    ]
    for path in precious:
        path.write_text("years of work")

    folder.discard_stale(replace(KEY, seed=1))

    left = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert {path.name for path in left} == {"thesis.tex"}
    assert len(left) == len(precious)


def test_removed_dataset_is_gone_and_readers_keep_what_they_have(tmp_path: Path) -> None:
    path = written(tmp_path / "data", [b"a" * 100, b"b" * 100], bins=2)
    reader = SplitDataLoader(path)
    views = [reader.view(0), reader.view(1)]

    with Folder.open(str(tmp_path)) as folder:
        remove_dataset(folder, path.name)
        remove_dataset(folder, path.name)

    assert not path.exists()
    assert list(map(bytes, views)) == [b"a" * 100, b"b" * 100]


def test_links_are_not_followed_out_of_the_folder(tmp_path: Path) -> None:
    outside = written(tmp_path / "outside", [b"precious"])
    segment = next((outside / "segments").iterdir())
    folder = CacheFolder(tmp_path / "cache")
    generation = folder.open(KEY)
    Path(generation.paths.writer(3)).symlink_to(outside)
    links = [("segments", outside / "segments"), (f"segments/{segment.name}", segment)]
    for number, (name, target) in enumerate(links):
        link = Path(generation.paths.writer(number)) / name
        link.parent.mkdir(parents=True)
        link.symlink_to(target)
    generation.close()
    whole = CacheFolder(tmp_path / "other")
    written_in(whole, KEY)
    (elsewhere,) = (tmp_path / "other").iterdir()
    (tmp_path / "cache" / f"generation.0000000009.{KEY.lineage}").symlink_to(elsewhere)
    before = files_of(outside), files_of(elsewhere)

    folder.discard_stale(replace(KEY, seed=1))

    assert (files_of(outside), files_of(elsewhere)) == before


# -- opening -------------------------------------------------------------------------------------


def test_generation_is_made_once_by_many_at_once(tmp_path: Path) -> None:
    opened: list[CacheGeneration] = []
    barrier = threading.Barrier(8)

    def open_it() -> None:
        barrier.wait()
        opened.append(CacheFolder(tmp_path / "deep" / "cache").open(KEY))

    threads = [threading.Thread(target=open_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(opened) == 8
    (folder,) = (tmp_path / "deep" / "cache").iterdir()
    assert [path.name for path in folder.iterdir()] == ["key.json"]
    assert read_key(opened[0].folder) == KEY
    for generation in opened:
        generation.close()


def test_generation_that_is_removed_again_and_again_can_be_opened(tmp_path: Path) -> None:
    folder = CacheFolder(tmp_path / "cache")
    stale = replace(KEY, seed=1)
    is_over = threading.Event()

    def remove() -> None:
        while not is_over.is_set():
            folder.discard_stale(stale)

    thread = threading.Thread(target=remove)
    thread.start()
    try:
        for _ in range(30):
            generation = folder.open(KEY)
            claim = generation.claim()
            assert Path(generation.paths.key).exists()
            assert Path(generation.paths.folder, generation.paths.writer_lock_name(0)).exists()
            claim.release()
            generation.close()
    finally:
        is_over.set()
        thread.join()


def test_writers_claim_one_dataset_each_and_free_ones_again(tmp_path: Path) -> None:
    generation = CacheFolder(tmp_path / "cache").open(KEY)
    claims = [generation.claim() for _ in range(3)]
    assert [claim.number for claim in claims] == [0, 1, 2]

    claims[1].release()
    assert generation.claim().number == 1
    claims[0].release()
    assert generation.claim(1).number == 1
    generation.close()
    claims[2].release()


def without_links(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(source: str, target: str, **_: object) -> None:
        raise PermissionError(1, "no links here")

    monkeypatch.setattr(files, "link", refuses)


@pytest.mark.parametrize("patch", [lambda monkeypatch: None, without_links])
def test_key_is_whole_or_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patch: Callable[[pytest.MonkeyPatch], None]
) -> None:
    patch(monkeypatch)
    generation = CacheFolder(tmp_path / "cache").open(KEY)

    assert Path(generation.paths.key).read_bytes() == KEY.encode()
    assert [one.name for one in Path(generation.paths.folder).iterdir()] == ["key.json"]
    generation.close()


def give_away(folder: Path) -> None:
    if os.geteuid():
        pytest.skip("only root gives folders away")
    os.chown(folder, 12345, -1)


def replace_by_link(folder: Path) -> None:
    real = folder.rename(Path(tempfile.mkdtemp(dir=folder.parents[1])) / "real")
    folder.symlink_to(real)


SHARED: dict[str, tuple[Callable[[Path], None], str]] = {
    "of another user": (give_away, "belongs to the user 12345"),
    "open to all": (lambda folder: folder.chmod(0o777), "has the mode 777"),
    "open to its group": (lambda folder: folder.chmod(0o770), "has the mode 770"),
    "sticky": (lambda folder: folder.chmod(0o1777), "has the mode 1777"),
    "link": (replace_by_link, "is a link"),
}


@pytest.mark.skipif(sys.platform == "win32", reason="folders have no such owners and modes there")
@pytest.mark.parametrize("inner", [False, True], ids=["cache", "generation"])
@pytest.mark.parametrize("how", SHARED)
def test_folder_that_others_could_have_written_to_is_refused_with_what_to_do(
    tmp_path: Path, how: str, inner: bool
) -> None:
    folder = CacheFolder(tmp_path / "cache")
    written_in(folder, KEY)
    share, words = SHARED[how]
    share(Path(folder.paths.generation(0, KEY.lineage).folder) if inner else tmp_path / "cache")
    before = files_of(tmp_path)

    with pytest.raises(CacheError, match=f"{words}.*samples that others may have put there are not read"):
        folder.open(KEY)
    if not inner:
        with pytest.raises(CacheError, match=words):
            folder.check()
        # To look at it harms nobody.
        assert folder.is_cache()
    assert files_of(tmp_path) == before


@pytest.mark.skipif(sys.platform == "win32", reason="folders have no such modes there")
@pytest.mark.parametrize("umask", [0o000, 0o002, 0o077])
def test_folder_is_made_for_this_user_alone_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        folder = CacheFolder(tmp_path / "parent" / "cache")
        written_in(folder, KEY)
    finally:
        os.umask(before)

    for path in (tmp_path / "parent" / "cache", Path(folder.paths.generation(0, KEY.lineage).folder)):
        assert path.stat().st_mode & 0o777 == 0o700
    written_in(folder, KEY.at(5))
    assert epochs(folder) == [0, 5]


def test_where_the_system_has_no_owners_none_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "geteuid", raising=False)
    folder = CacheFolder(tmp_path / "cache")
    written_in(folder, KEY)
    (tmp_path / "cache").chmod(0o777)

    written_in(folder, KEY.at(5))

    assert epochs(folder) == [0, 5]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no users with numbers there")
def test_folder_of_another_user_is_refused_to_whoever_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = CacheFolder(tmp_path / "cache")
    written_in(folder, KEY)
    here = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: here + 1)

    with pytest.raises(CacheError, match=f"belongs to the user {here}, and this is the user {here + 1}"):
        folder.open(KEY)


@pytest.mark.parametrize("name", [".hidden", "generation.5.abc", "removed.x", "lock2", "manifest.0000000001.json"])
def test_foreign_name_makes_a_folder_nobodys(tmp_path: Path, name: str) -> None:
    folder = CacheFolder(tmp_path / "cache")
    written_in(folder, KEY)
    (tmp_path / "cache" / name).write_text("")

    with pytest.raises(CacheError, match="no cache's"):
        folder.open(KEY)
    assert not folder.is_cache()


def test_bytes_are_those_of_all_files(tmp_path: Path) -> None:
    folder = CacheFolder(tmp_path / "cache")
    assert folder.num_bytes() == 0
    written_in(folder, KEY)

    sizes = [path.stat().st_size for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert folder.num_bytes() == sum(sizes) > 0


def test_lock_is_held_by_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("splitdata.dataset.cache.cache_folder._LOCK_SECONDS", 0.05)
    folder = CacheFolder(tmp_path / "cache")
    folder.open(KEY).close()
    with folder.locked(), pytest.raises(BlockingIOError, match="holds the lock"), folder.locked():
        pass
    with folder.locked():
        pass


def test_verify_reads_all_datasets_of_a_cache(tmp_path: Path) -> None:
    folder = CacheFolder(tmp_path / "cache")
    written_in(folder, KEY)
    written_in(folder, KEY.at(5))
    progress: list[tuple[int, int]] = []
    report = verify(tmp_path / "cache", progress=lambda done, total: progress.append((done, total)))
    assert report.is_intact
    assert (report.num_records, report.generation) == (4, 0)
    assert progress[-1][0] == progress[-1][1]

    (path, _) = sorted((tmp_path / "cache").glob("generation.*/writer.*/segments/*/*.bin"))
    data = bytearray(path.read_bytes())
    data[-9] ^= 1
    path.write_bytes(data)
    (manifest,) = (tmp_path / "cache").glob("generation.0000000005.*/writer.*/manifest.*")
    manifest.write_bytes(b"{}")
    report = verify(tmp_path / "cache")
    assert not report.is_intact
    assert {str(path), str(manifest.parent)} <= {finding.path for finding in report.findings}


# -- the writer of a dataset, after a fork -------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_copy_of_a_writer_in_a_forked_child_undoes_nothing(tmp_path: Path) -> None:
    writer = SplitWriter(tmp_path / "data", bins=1, durability="none")
    writer.write(b"first")
    writer.commit()
    writer.write(bytes(5 << 20))
    child = os.fork()
    if child == 0:
        try:
            # What the garbage collection of the child does, or its end.
            writer.__del__()
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    writer.write(b"last")
    writer.close()

    with SplitDataLoader(tmp_path / "data") as loader:
        assert [loader[0], len(loader[1]), loader[2]] == [b"first", 5 << 20, b"last"]
    assert verify(tmp_path / "data").is_intact
