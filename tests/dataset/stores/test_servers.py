"""Datasets in stores of others, each a real server: what is written is read, once, and a store that lies is refused."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from splitdata import DatasetExistsError, DistributedLoader, SplitDataLoader, SplitWriter, StoreError, copy
from tests.dataset.stores.servers import SERVERS, Server, missing, started
from tests.stores import store_of

pytestmark = [pytest.mark.slow, pytest.mark.time_limit(180)]

RECORDS = [b"%04d" % number * 700 for number in range(2000)]


def running(name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if reason := missing(name):
        pytest.skip(reason)
    pytest.importorskip("obstore")
    with started(name, tmp_path_factory.mktemp("server") / "objects") as server:
        yield server


@pytest.fixture(scope="module", params=[name for name in SERVERS if name != "rclone"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A store that keeps to conditions."""
    yield from running(request.param, tmp_path_factory)


@pytest.fixture
def liar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A store that makes an object although there is one."""
    yield from running("rclone", tmp_path_factory)


def test_what_is_written_is_read_added_to_and_replaced(server: Server) -> None:
    url, options = f"{server.url}/sets/a", server.options
    with SplitWriter(url, bins=3, storage_options=options) as writer:
        writer.write_many(RECORDS[:1500], keys=map(str, range(1500)))
    with pytest.raises(DatasetExistsError, match="mode='append'"):
        SplitWriter(url, storage_options=options)
    with SplitWriter(url, mode="append", storage_options=options) as writer:
        writer.write_many(RECORDS[1500:])
    loader = SplitDataLoader(url, storage_options=options)
    assert loader[:] == RECORDS
    assert loader.find("7") == 7
    assert (
        sorted(record for batch in DistributedLoader(loader, batch_size=64, shuffle="bins") for record in batch)
        == RECORDS
    )
    with SplitWriter(url, mode="overwrite", storage_options=options) as writer:
        writer.write(b"new")
    assert SplitDataLoader(url, storage_options=options)[:] == [b"new"]


def test_object_of_many_parts_is_whole(server: Server) -> None:
    url, records = f"{server.url}/parts", [bytes([number]) * (1 << 20) for number in range(21)]
    with SplitWriter(url, bins=1, storage_options=server.options) as writer:
        writer.write_many(records)
    assert SplitDataLoader(url, storage_options=server.options)[:] == records


def test_copy_there_and_back_is_the_same_byte_by_byte(server: Server, tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "here", bins=3, durability="none") as writer:
        writer.write_many(RECORDS)
    report = copy(tmp_path / "here", f"{server.url}/copy", dest_options=server.options)
    assert report.is_verified
    assert copy(tmp_path / "here", f"{server.url}/copy", dest_options=server.options).bytes_sent == 0
    copy(f"{server.url}/copy", tmp_path / "back", source_options=server.options)
    assert store_of(tmp_path / "back", "") == store_of(tmp_path / "here", "")


def test_writers_that_commit_at_the_same_moment_lose_and_double_nothing(server: Server) -> None:
    url = f"{server.url}/race"
    with SplitWriter(url, storage_options=server.options) as writer:
        writer.write(b"first")

    def add(number: int) -> None:
        with SplitWriter(url, mode="append", storage_options=server.options) as writer:
            for part in range(3):
                writer.write(b"%d of %d" % (part, number))
                writer.commit()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(add, range(6)))
    expected = [b"first", *(b"%d of %d" % (part, number) for part in range(3) for number in range(6))]
    assert sorted(SplitDataLoader(url, storage_options=server.options)) == sorted(expected)


def test_store_that_ignores_conditions_is_refused(liar: Server) -> None:
    url, options = f"{liar.url}/data", liar.options | {"timeout": 5}
    with pytest.raises(StoreError, match="two writers would lose each other's commits"):  # noqa: SIM117  # at its end
        with SplitWriter(url, storage_options=options) as writer:
            writer.write(b"a")
