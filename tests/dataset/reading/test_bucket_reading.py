"""A dataset in a bucket, read by obstore over HTTP: options, workers, the command line, a server that fails."""

from __future__ import annotations

import pickle
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from splitdata import (
    BlockCache,
    DatasetNotFoundError,
    DistributedLoader,
    SplitDataLoader,
    SplitWriter,
    StoreError,
    describe,
    diff,
    verify,
)
from splitdata_cli.main import cli
from tests.dataset.flaky_proxy import FlakyProxy
from tests.stores import BUCKET_OPTIONS, bucket, store_of

pytest.importorskip("obstore")
pytest.importorskip("localbucket")

URL = "s3://train-data/sets/a"
SECRET = BUCKET_OPTIONS["aws_secret_access_key"]
COUNT = 400


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of a bucket with a dataset, and the same dataset in a folder."""
    root = tmp_path_factory.mktemp("bucket")
    folder = root / "local"
    source = random.Random(5)
    with SplitWriter(folder, bins=4, durability="none") as writer:
        for number in range(COUNT):
            writer.write(source.randbytes(source.randrange(4000)), f"{number}")
    for key, data in store_of(folder, "sets/a").items():
        path = root / "buckets" / "train-data" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    with bucket(root / "buckets") as address:
        yield address, folder


@pytest.fixture
def options(served: tuple[str, Path]) -> dict[str, Any]:
    """What leads to the bucket."""
    return BUCKET_OPTIONS | {"endpoint": served[0]}


@pytest.fixture
def environment(served: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """The same in the environment, as people have it."""
    monkeypatch.setenv("AWS_ENDPOINT", served[0])
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", BUCKET_OPTIONS["aws_access_key_id"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")


def test_dataset_of_a_bucket_is_read_with_options(served: tuple[str, Path], options: dict[str, Any]) -> None:
    local = SplitDataLoader(served[1])
    remote = SplitDataLoader(URL, storage_options=options)
    assert remote.paths == [URL]
    assert remote[:] == local[:]
    assert remote.find("77") == 77
    assert remote.fingerprint == local.fingerprint


def test_no_secret_is_in_a_pickle_a_repr_or_a_state(options: dict[str, Any]) -> None:
    reader = SplitDataLoader(URL, storage_options=options)
    loader = DistributedLoader(reader, batch_size=4)
    next(iter(loader))
    for text in (pickle.dumps(reader), repr(reader).encode(), repr(loader.state_dict()).encode()):
        assert SECRET.encode() not in text
    assert pickle.loads(pickle.dumps(reader))[3] == reader[3]


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("shuffle", [False, "global", "bins"])
def test_loader_hands_out_the_same_batches_as_from_a_folder(served: tuple[str, Path], shuffle: Any) -> None:
    batches = [list(DistributedLoader(place, batch_size=16, shuffle=shuffle, seed=1)) for place in (URL, served[1])]
    assert batches[0] == batches[1]


def test_worker_processes_make_the_store_anew(served: tuple[str, Path], options: dict[str, Any]) -> None:
    reader = SplitDataLoader(URL, storage_options=options, block_cache=BlockCache(block_bytes=4096))
    found = list(DistributedLoader(reader, batch_size=16, shuffle="bins", num_workers=1))
    assert found == list(DistributedLoader(served[1], batch_size=16, shuffle="bins"))


@pytest.mark.usefixtures("environment")
def test_tools_read_a_bucket_as_a_folder(served: tuple[str, Path]) -> None:
    description = describe(URL)
    local = describe(served[1])
    assert description.path == URL
    assert description.disk_bytes == local.disk_bytes
    assert description.num_keys == COUNT
    report = verify(URL)
    assert report.is_intact
    assert report.num_bytes == verify(served[1]).num_bytes
    assert not diff(URL, served[1]).differences


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("command", [["info"], ["head"], ["cat", "3"], ["digest"], ["plan"]], ids=" ".join)
def test_command_says_of_a_bucket_what_it_says_of_a_folder(served: tuple[str, Path], command: list[str]) -> None:
    name, *rest = command
    there, here = (CliRunner().invoke(cli, [name, place, *rest]) for place in (URL, str(served[1])))
    assert there.exit_code == 0, there.stderr
    assert there.stdout.replace(URL, "X").split() == here.stdout.replace(str(served[1]), "X").split()


@pytest.mark.usefixtures("environment")
def test_url_of_nothing_is_no_dataset_and_makes_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatasetNotFoundError, match="s3://train-data/nothing is not a splitdata dataset"):
        SplitDataLoader("s3://train-data/nothing")
    assert not list(tmp_path.iterdir())


def test_web_server_is_read_by_the_file_current(served: tuple[str, Path]) -> None:
    address, folder = served
    place = f"{address}/train-data/sets/a"
    root = folder.parent / "buckets" / "train-data" / "sets" / "a"
    (root / "CURRENT").write_text(f"{SplitDataLoader(folder).generation}\n")
    remote = SplitDataLoader(place, storage_options={"client_options": {"allow_http": True}})
    assert remote[:] == SplitDataLoader(folder)[:]


FAULTS: dict[str, list[str]] = {
    "dropped connections": ["drop"] * 3,
    "server errors": ["500", "503", "500"],
    "too many requests": ["429", "429"],
    "slow answers": ["slow"] * 2,
    "bodies that are cut": ["cut"] * 4,
    "wrong ranges": ["", "other bytes", "", "other bytes"],
    "whole files in the place of ranges": ["whole"] * 2,
    "all of them": ["drop", "500", "429", "", "cut", "slow", "other bytes", "", "whole", "cut", "drop"],
}


@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
def test_faulty_way_costs_time_and_no_record(
    served: tuple[str, Path], faults: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("splitdata.storage.remote.patience._FIRST_PAUSE", 0.01)
    with FlakyProxy(served[0], faults) as proxy:
        remote = SplitDataLoader(URL, storage_options=BUCKET_OPTIONS | {"endpoint": proxy.address})
        assert remote[:] == SplitDataLoader(served[1])[:]
        assert proxy.num_faults


def test_server_that_is_gone_is_an_error_without_the_key(
    served: tuple[str, Path], options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("splitdata.storage.remote.patience._FIRST_PAUSE", 0.01)
    with FlakyProxy(served[0], []) as proxy:
        given = options | {"endpoint": proxy.address, "timeout": 1}
        remote = SplitDataLoader(URL, storage_options=given)
        proxy.close()
        with pytest.raises(StoreError, match=r"s3://train-data/sets/a.* failed \d+ times in \d s") as caught:
            remote[np.arange(COUNT)]
    assert SECRET not in str(caught.value)
