"""Every public object and function that takes a path x every kind of path.

relative, then os.chdir        goes on working
"~/data"                       the home folder
"s3://b/x", Path("s3://b/x"), "file:///x"      ValueError that names the scheme, and no folder called "s3:"
b"data"                        TypeError that says what to do
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from splitdata import (
    Cache,
    DatasetNotFoundError,
    DistributedLoader,
    Rotation,
    SampleDataset,
    SplitDataLoader,
    SplitWriter,
    convert,
    describe,
    describe_cache,
    measure_dataset,
    open_source,
    repair,
    verify,
    write_split_data,
)
from splitdata.loader.samples.record_source import RecordFetcher
from tests.loader.grouped import grouped

COUNT = 12


def doubled(record: Any) -> Any:  # a sample
    return {"x": record["x"] * 2}


def values(samples: Iterable[Any]) -> list[int]:
    return sorted(int(one) for batch in samples for one in batch["x"])


def loaded(path: Any, **options: Any) -> Callable[[], object]:  # a path of any kind
    loader = DistributedLoader(path, **grouped(batch_size=4, **options))
    return lambda: values(loader)


def cached(path: Any) -> Callable[[], object]:  # as above
    return loaded(Path("data").absolute(), transform=doubled, cache=Cache(path))


def rotated(path: Any) -> Callable[[], object]:  # as above
    return loaded(Path("data").absolute(), transform=doubled, rotation=Rotation(2, 4, "disk", path))


def unpickled(path: Any) -> Callable[[], object]:  # as above
    data = pickle.dumps(SplitDataLoader(path))
    return lambda: list(pickle.loads(data))


def opened(path: Any) -> Callable[[], object]:  # as above
    source = open_source(path)
    return lambda: list(source)


def written(path: Any) -> Callable[[], object]:  # as above
    writer = SplitWriter(path, durability="none")
    writer.write(b"before")

    def use() -> None:
        writer.commit()
        writer.write(b"behind")
        writer.close()

    return use


def at_once(function: Callable[[Any], object]) -> Callable[[Any], Callable[[], object]]:
    """Return what gives a path to a function that is done with it; a path in its report leads there still."""

    def take(path: Any) -> Callable[[], object]:  # as above
        report = function(path)
        return lambda: Path(getattr(report, "path", ".")).stat()

    return take


@dataclass(frozen=True)
class Taker:
    """Something that takes a path.

    Attributes:
        take: Gives it the path, and returns what is to work after a change of the working folder.
        suffix: Behind the name of the dataset: what the path leads to.
        makes: Whether it makes what the path leads to.
        at_url: Whether the dataset may lie in an object store.
    """

    take: Callable[[Any], Callable[[], object]]
    suffix: str = ""
    makes: bool = False
    at_url: bool = False


TAKERS = {
    "SplitDataLoader": Taker(lambda path: SplitDataLoader(path).__iter__, at_url=True),
    "SplitDataLoader of a list": Taker(lambda path: SplitDataLoader([path, path]).__iter__, at_url=True),
    "SplitDataLoader.refresh": Taker(lambda path: SplitDataLoader(path).refresh, at_url=True),
    "SplitDataLoader unpickled": Taker(unpickled, at_url=True),
    "SampleDataset": Taker(lambda path: SampleDataset(path).__iter__, at_url=True),
    "RecordFetcher": Taker(lambda path: RecordFetcher(path).dataset.__len__, at_url=True),
    "DistributedLoader": Taker(loaded, at_url=True),
    "DistributedLoader with threads": Taker(lambda path: loaded(path, num_workers=1, kind="thread"), at_url=True),
    "describe": Taker(at_once(describe), at_url=True),
    "verify": Taker(at_once(verify), at_url=True),
    "repair": Taker(at_once(repair)),
    "measure_dataset": Taker(at_once(lambda path: measure_dataset(path, num_workers=0, seconds=0.001)), at_url=True),
    "describe_cache": Taker(at_once(describe_cache)),
    "Cache": Taker(cached, "-cache", makes=True),
    "Rotation": Taker(rotated, "-rotation", makes=True),
    "open_source": Taker(opened, ".jsonl"),
    "convert from": Taker(at_once(lambda path: convert(path, Path("to").absolute())), ".jsonl"),
    "SplitWriter": Taker(written, "-written", makes=True, at_url=True),
    "write_split_data": Taker(at_once(lambda path: write_split_data(path, [b"a"])), "-split", makes=True, at_url=True),
    "convert to": Taker(
        at_once(lambda path: convert(Path("data.jsonl").absolute(), path)), "-converted", makes=True, at_url=True
    ),
}
every_taker = pytest.mark.parametrize("taker", TAKERS.values(), ids=TAKERS)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home and working folder that holds a dataset and a file to convert."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.chdir(home)
    with SplitWriter(home / "data", bins=3, durability="none") as writer:
        for number in range(COUNT):
            writer.write_sample({"x": number})
    (home / "data.jsonl").write_text('{"a": 1}\n{"a": 2}\n')
    return home


@every_taker
@pytest.mark.parametrize("kind", [str, Path], ids=["text", "Path"])
def test_relative_path_works_on_after_a_change_of_the_working_folder(
    home: Path, taker: Taker, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    use = taker.take(kind("data" + taker.suffix))
    elsewhere = home.parent / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)

    use()

    assert list(elsewhere.iterdir()) == []
    assert (home / ("data" + taker.suffix)).exists()


@every_taker
def test_tilde_is_the_home_folder(home: Path, taker: Taker) -> None:
    (home / "below").mkdir()
    (home / "data").rename(home / "below" / "data")
    (home / "data.jsonl").rename(home / "below" / "data.jsonl")
    if taker.makes:
        (home / "data").symlink_to(home / "below" / "data")
        (home / "data.jsonl").symlink_to(home / "below" / "data.jsonl")

    taker.take("~/below/data" + taker.suffix)()

    assert not Path("~").exists()
    assert (home / "below" / ("data" + taker.suffix)).exists()


URLS = pytest.mark.parametrize(
    "path", ["s3://bucket/x", Path("s3://bucket/x"), "file:///x", "gs://b/x", "hdfs://b/x"], ids=str
)


def test_no_cache_lies_at_a_url(home: Path) -> None:
    before = sorted(home.iterdir())
    assert describe_cache("s3://bucket/x") is None
    assert sorted(home.iterdir()) == before


@pytest.mark.parametrize("taker", [one for name, one in TAKERS.items() if not one.at_url and name != "describe_cache"])
@URLS
def test_url_is_refused_by_its_scheme_and_makes_no_folder(home: Path, taker: Taker, path: Any) -> None:
    before = sorted(home.iterdir())
    with pytest.raises(ValueError, match=str(path).partition(":")[0]):
        taker.take(path)()
    assert sorted(home.iterdir()) == before


@pytest.mark.parametrize("taker", [one for one in TAKERS.values() if one.at_url])
@URLS
def test_what_takes_a_url_asks_for_the_extra_and_makes_no_folder(
    home: Path, taker: Taker, path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    if taker.makes and path == "file:///x":
        path = "file://xhost/x"
    before = sorted(home.iterdir())
    is_remote = path in ("s3://bucket/x", "gs://b/x")
    expected = {True: ModuleNotFoundError, False: ValueError, "file:///x": DatasetNotFoundError}
    with pytest.raises(expected.get(path, expected[is_remote]), match="remote" if is_remote else "x"):
        taker.take(path)()
    assert sorted(home.iterdir()) == before


@every_taker
def test_bytes_are_refused(home: Path, taker: Taker) -> None:
    before = sorted(home.iterdir())
    with pytest.raises(TypeError, match="bytes"):
        taker.take(b"data")()
    assert sorted(home.iterdir()) == before
