"""What holds records of its own is never taken as opaque files unless somebody says so."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from splitdata import SourceError, open_source, source_kinds
from splitdata.conversion.sources.recognise import kind_of
from splitdata_cli.main import cli

MEGATRON = b"MMIDIDX\0\0" + bytes(40)
FILES = [
    "a.tar",
    "a.tar.gz",
    "a.zip",
    "a.parquet",
    "a.arrow",
    "a.feather",
    "a.npy",
    "a.NPZ",
    "a.h5",
    "a.hdf5",
    "a.mdb",
    "a.mds",
    "shard.00000.mds.zstd",
    "a.arrayrecord",
    "a.array_record-00000-of-00002",
    "a.tfrecord",
    "a.tfrecord-00000-of-00010",
    "a.beton",
    "a.zarr.zip",
]


def _folder_of(mark: str, content: object = None) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / mark).write_text(json.dumps(content))

    return make


def _megatron(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "a.idx").write_bytes(MEGATRON)
    (folder / "a.bin").write_bytes(b"tokens")


def _huggingface(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    (folder / "train.arrow").touch()


FOLDERS = {
    "mds": _folder_of("index.json", {"version": 2, "shards": []}),
    "litdata": _folder_of("index.json", {"chunks": [], "config": {}}),
    "lmdb": _folder_of("data.mdb"),
    "zarr 2 group": _folder_of(".zgroup"),
    "zarr 2": _folder_of(".zarray"),
    "zarr 3": _folder_of("zarr.json"),
    "huggingface": _huggingface,
    "megatron": _megatron,
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("below", ["", "x", "x/y/z"])
def test_folder_with_a_container_anywhere_in_it_is_files_only_where_it_is_said(
    tmp_path: Path, name: str, below: str
) -> None:
    folder = tmp_path / "in"
    (folder / below).mkdir(parents=True)
    (folder / below / name).touch()
    (folder / "b.jpg").touch()

    with pytest.raises(SourceError, match=r"in holds (x/)?(y/z/)?a|holds .*shard.*, which has records of its own"):
        list(open_source(folder))

    assert len(list(open_source(folder, kind="folder"))) == 2


@pytest.mark.parametrize("kind", FOLDERS)
@pytest.mark.parametrize("below", ["", "train", "a/b/train"])
def test_folder_that_belongs_together_is_never_opaque_files(tmp_path: Path, kind: str, below: str) -> None:
    folder = tmp_path / "in"
    FOLDERS[kind](folder / below)
    (folder / "zzz.jpg").touch()
    # Of formats whose marks are hidden files the walk sees those whose folders are named .zarr.
    if below == "a/b/train" and kind in ("zarr 2", "zarr 2 group"):
        (folder / below).rename(folder / "a" / "b" / "c.zarr")
        (folder / "a" / "b" / "c.zarr" / "0.0").touch()

    if kind == "megatron" or below:
        with pytest.raises(SourceError, match="which has records of its own"):
            list(open_source(folder))
    else:
        assert kind.split()[0] in _told(folder)
    assert open_source(folder, kind="folder").kind == "folder"


def _told(path: Path) -> str:
    """Return the kind that a path is taken for, or why it is refused."""
    try:
        return kind_of(str(path))
    except SourceError as error:
        return str(error)


@pytest.mark.parametrize("name", ["index.json", "a.bin", "zarr", "data.json", "a.zarrr", "b.npyx", "chunk-0-0.bin"])
def test_file_that_is_no_container_is_taken_with_its_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "in" / "x").mkdir(parents=True)
    (tmp_path / "in" / "x" / name).write_text("{}")
    (tmp_path / "in" / ".a.npy").touch()

    assert len(list(open_source(tmp_path / "in"))) == 1


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"\x93NUMPY\1\0", "npy"),
        (b"\x89HDF\r\n\x1a\n", "hdf5"),
        (b"PAR1", "parquet"),
        (b"ARROW1\0\0", "arrow"),
    ],
)
def test_file_whose_name_tells_nothing_is_known_by_its_first_bytes(tmp_path: Path, start: bytes, kind: str) -> None:
    (tmp_path / "a.data").write_bytes(start)

    assert kind in _told(tmp_path / "a.data")


def test_shards_without_their_index_name_the_folder(tmp_path: Path) -> None:
    FOLDERS["litdata"](tmp_path / "l")
    (tmp_path / "l" / "chunk-0-0.bin").touch()
    (tmp_path / "shard.00000.mds").touch()

    for path in (tmp_path / "l" / "chunk-0-0.bin", tmp_path / "shard.00000.mds"):
        for source in (path, [path, path]):
            with pytest.raises(SourceError, match=r"index\.json: name the folder"):
                open_source(source)


def test_what_cannot_be_told_lists_all_kinds(tmp_path: Path) -> None:
    (tmp_path / "a.unknown").write_bytes(b"?")

    with pytest.raises(SourceError) as raised:
        open_source(tmp_path / "a.unknown")
    arguments = ["write", str(tmp_path / "a.unknown"), str(tmp_path / "data")]
    ended = CliRunner().invoke(cli, arguments)
    wrong = CliRunner().invoke(cli, [*arguments, "--from", "nothing"])

    kinds = [kind for kind in source_kinds() if kind != "auto"]
    assert len(kinds) >= 20
    for kind in kinds:
        assert f"'{kind}'" in str(raised.value)
        assert f" {kind}" in ended.stderr.partition("--from")[2]
        assert f" {kind}" in wrong.stderr.partition("none of")[2]
    assert (ended.exit_code, wrong.exit_code) == (2, 2)
    assert not (tmp_path / "data").exists()
