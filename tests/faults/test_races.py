"""Several programs at a place where no dataset is yet: whatever one does between two steps of another, nothing fails.

    victim   open ── write ── commit ── close          between any two operations on files:
    rival              └─ appends and closes, or opens and gives up, or writes and gives up

Also left to chance: processes that begin at the same moment.
"""

from __future__ import annotations

import os
import random
import shutil
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import pytest

from splitdata import DatasetExistsError, DatasetNotFoundError, SplitDataLoader, SplitWriter, repair
from splitdata.dataset.manifests.directory import DatasetDirectory
from splitdata.dataset.manifests.retention import KEPT_MANIFESTS
from splitdata.storage import files
from splitdata.storage.folder import Folder
from tests.faults.file_faults import CHANGING, READING, fast_folder, intercepted

Act: TypeAlias = Callable[[Path, bytes], list[bytes]]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with fast_folder(tmp_path) as path:
        yield path


# -- what a program does; returns what it has committed ---------------------------------------------


def appends(path: Path, record: bytes) -> list[bytes]:
    with SplitWriter(path, bins=1, mode="append", durability="none") as writer:
        writer.write(record)
    return [record]


def appends_by_name(path: Path, record: bytes) -> list[bytes]:
    """Append with ids that both programs derive from the same options."""
    with SplitWriter(path, bins=1, mode="append", durability="none", reproducible=True) as writer:
        writer.write(record)
    return [record]


def resumes(path: Path, record: bytes) -> list[bytes]:
    with SplitWriter(path, bins=1, mode="resume", durability="none") as writer:
        writer.write(record)
    return [record]


def makes_it_empty(path: Path, record: bytes) -> list[bytes]:
    SplitWriter(path, mode="append", durability="none").close()
    return []


def gives_up(path: Path, record: bytes) -> list[bytes]:
    SplitWriter(path, mode="append", durability="none").abort()
    return []


def writes_and_gives_up(path: Path, record: bytes) -> list[bytes]:
    writer = SplitWriter(path, bins=1, mode="append", durability="none")
    writer.write_many([record] * 3)
    # Brings them to the files.
    writer._guarded(writer._flush)
    writer.abort()
    return []


RIVALS: list[Act] = [appends, appends_by_name, makes_it_empty, gives_up, writes_and_gives_up]


class Interloper:
    """Lets a rival act before operation `number` of a victim.

    Attributes:
        count: Operations of the victim so far.
        committed: By the rival.
    """

    def __init__(self, number: int, act: Callable[[], list[bytes]]) -> None:
        self.count = 0
        self.committed: list[bytes] = []
        self._number = number
        self._act = act
        self._is_acting = False

    def __call__(
        self, name: str, real: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]
    ) -> object:
        """Act, if it is time, and do the operation."""
        if not self._is_acting:
            number, self.count = self.count, self.count + 1
            if number == self._number:
                self._is_acting = True
                try:
                    self.committed += self._act()
                finally:
                    self._is_acting = False
        return real(*arguments, **keywords)


@pytest.mark.parametrize("rival", RIVALS)
@pytest.mark.parametrize("victim", [appends, appends_by_name, resumes, makes_it_empty, writes_and_gives_up])
def test_first_append_between_any_two_steps_of_another_program_fails_neither(
    victim: Act, rival: Act, folder: Path
) -> None:
    number = 0
    while True:
        path = folder / "data"
        committed: list[bytes] = []
        interloper = Interloper(number, partial(rival, path, b"rival"))
        try:
            with intercepted(interloper, (*CHANGING, *READING)):
                committed = victim(path, b"victim")
        except DatasetExistsError:
            # As "create" does, "resume" makes a dataset where it has found none.
            assert victim is resumes, number
        except Exception as error:
            error.add_note(f"the rival acted before operation {number}")
            raise
        if interloper.count <= number:
            break
        committed += interloper.committed
        if committed:
            with SplitDataLoader(path) as loader:
                assert sorted(loader) == sorted(committed), number
        shutil.rmtree(path, ignore_errors=True)
        number += 1
    assert number > 5


def commits_by_the_dozen(path: Path, record: bytes) -> list[bytes]:
    """Commit so often that all manifests which another program has seen are gone, and their numbers free."""
    committed = []
    with SplitWriter(path, bins=1, mode="append", durability="none") as writer:
        for _ in range(KEPT_MANIFESTS + 4):
            writer.write(record)
            writer.commit()
            committed.append(record)
    return committed


def test_commit_that_a_rival_overtakes_by_the_dozen_between_any_two_steps_is_made_once(folder: Path) -> None:
    number = 0
    while True:
        path = folder / "data"
        appends(path, b"first")
        writer = SplitWriter(path, bins=1, mode="append", durability="none")
        interloper = Interloper(number, partial(commits_by_the_dozen, path, b"rival"))
        places: list[int] = []
        with intercepted(interloper, (*CHANGING, *READING)):
            for record in (b"one", b"two"):
                writer.write(record)
                places += writer.commit()
        with SplitDataLoader(path) as loader:
            assert [loader[place] for place in places] == [b"one", b"two"], number
            assert sorted(loader) == sorted([b"first", b"one", b"two", *interloper.committed]), number
        writer.close()
        shutil.rmtree(path)
        if interloper.count <= number:
            break
        number += 1
    assert number > 20


def commits(writer: SplitWriter) -> list[bytes]:
    writer.commit()
    return []


def test_reader_that_opens_during_the_first_commit_never_says_that_a_manifest_was_lost(folder: Path) -> None:
    number = 0
    while True:
        path = folder / str(number)
        writer = SplitWriter(path, bins=1, mode="append", durability="none")
        writer.write(b"record")
        writer._guarded(writer._flush)
        interloper = Interloper(number, partial(commits, writer))
        with intercepted(interloper, READING), suppress(DatasetNotFoundError), SplitDataLoader(path) as loader:
            assert list(loader) == [b"record"]
        writer.close()
        if interloper.count <= number:
            break
        number += 1
    assert number > 2


def act_in_child(act: Act, path: Path, record: bytes, begin: int, tell: int, delay: float) -> NoReturn:
    """Act once the pipe `begin` closes, and tell what came of it; in a forked child."""
    try:
        os.read(begin, 1)
        time.sleep(delay)
        os.write(tell, b"+" + b"".join(act(path, record)))
    except BaseException:
        os.write(tell, traceback.format_exc().encode())
    finally:
        os._exit(0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(
    "rounds",
    [pytest.param(15, id="few"), pytest.param(1000, id="many", marks=[pytest.mark.soak, pytest.mark.time_limit(2000)])],
)
@pytest.mark.parametrize(
    "acts", [[appends] * 4, [appends, gives_up, appends, writes_and_gives_up]], ids=["append", "some give up"]
)
def test_racing_first_appends_all_succeed_and_lose_nothing(acts: list[Act], rounds: int, folder: Path) -> None:
    chance = random.Random("first appends")
    for number in range(rounds):
        path = folder / str(number)
        waiting, start = os.pipe()
        children = []
        for which, act in enumerate(acts):
            delay = chance.random() * 0.004
            reading, writing = os.pipe()
            pid = os.fork()
            if pid == 0:
                # Its closing is the signal.
                os.close(start)
                act_in_child(act, path, b"%d" % which, waiting, writing, delay)
            os.close(writing)
            children.append((pid, reading))
        os.close(start)
        os.close(waiting)
        answers = []
        for pid, reading in children:
            with os.fdopen(reading, "rb") as end:
                answers.append(end.read().decode())
            os.waitpid(pid, 0)
        assert all(answer.startswith("+") for answer in answers), (number, answers)
        expected = sorted(answer[1:].encode() for answer in answers if len(answer) > 1)
        with SplitDataLoader(path) as loader:
            assert sorted(loader) == expected, number
        shutil.rmtree(path)


@pytest.mark.parametrize("kind", ["records", "metadata"])
def test_folders_that_are_taken_away_each_time_they_are_made_are_made_until_something_is_in_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path = tmp_path / "data"
    writer = SplitWriter(path, mode="append", metadata={"a": 1})
    shutil.rmtree(path)
    make, rivals = files.make_directory, iter(range(5))

    def make_after_a_rival(folder: str, mode: int = 0o777, *, at: int | None = None) -> bool:
        if folder == str(path / "segments") and next(rivals, None) is not None:
            path.rmdir()
        return make(folder, mode, at=at)

    monkeypatch.setattr(files, "make_directory", make_after_a_rival)
    if kind == "records":
        writer.write(b"a")
    writer.close()

    assert next(rivals, None) is None
    assert list(SplitDataLoader(path)) == [b"a"] * (kind == "records")
    assert SplitDataLoader(path).metadata == {"a": 1}


def test_repair_of_a_folder_that_goes_meanwhile_says_that_it_does_not_exist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    appends(tmp_path / "data", b"a")
    listed = files.list_names

    def goes_after_the_first_look(folder: str, **where: int | None) -> list[str]:
        names = listed(folder, **where)
        shutil.rmtree(folder)
        return names

    monkeypatch.setattr(files, "list_names", goes_after_the_first_look)
    with pytest.raises(DatasetNotFoundError, match="data"):
        repair(tmp_path / "data")


def test_folder_is_made_where_not_even_the_root_can_be_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os.path, "isdir", lambda path: False)
    appends(tmp_path / "data", b"a")

    monkeypatch.undo()
    assert list(SplitDataLoader(tmp_path / "data")) == [b"a"]


@pytest.mark.parametrize("question", ["has_folder", "sub"])
def test_folder_of_segments_that_goes_while_it_is_looked_at_is_not_foreign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, question: str
) -> None:
    (tmp_path / "segments").mkdir()
    asked = getattr(Folder, question)

    def goes(self: Folder, name: str) -> Any:
        (tmp_path / "segments").rmdir()
        return asked(self, name)

    monkeypatch.setattr(Folder, question, goes)
    assert DatasetDirectory(str(tmp_path)).foreign_names() == []
