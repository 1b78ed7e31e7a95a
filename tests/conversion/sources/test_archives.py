"""Archives and folders of classes: what is a record, a sample, a key; damage has a name and leaves DEST alone."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from splitdata import DuplicateKeyError, SampleDataset, SourceError, SplitDataLoader, convert, open_source
from splitdata.conversion.sources.seek import position_of, records_from

LARGE = bytes(range(256)) * 8192  # 2 MiB: given as an open file


def _tar(path: Path, members: list[tuple[str, bytes]], *, form: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w", format=form) as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def _zip(path: Path, members: list[tuple[str, bytes]], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


FILES = [
    ("b.jpg", b"two"),
    (f"{'a' * 120}/{'ü' * 120}.jpg", LARGE),
    ("empty", b""),
    (".DS_Store", b"x"),
    ("c.png", b"3"),
]
KEPT = {name: content for name, content in FILES if name != ".DS_Store"}


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.zip"])
def test_files_of_an_archive_are_records_with_their_paths_as_keys(tmp_path: Path, name: str, form: int) -> None:
    source = _zip(tmp_path / name, FILES) if name == "a.zip" else _tar(tmp_path / name, FILES, form=form)

    report = convert(source, tmp_path / "dest")

    assert report.kind == ("zip" if name == "a.zip" else "tar")
    assert report.skipped == {"hidden file": 1}
    with SplitDataLoader(tmp_path / "dest") as loader:
        assert {loader.key(position): bytes(loader[position]) for position in range(len(loader))} == KEPT


SHARD = [
    ("./x/1.jpg", b"one"),
    ("./x/1.CLS", b"3"),
    ("./x/.hidden", b""),
    ("./x/__meta__.json", b"{}"),
    ("./x/2.jpg", LARGE),
    ("./x/2.seg.png", b"s"),
    ("./x/3.jpg", b"three"),
]


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz"])
def test_members_of_one_stem_are_a_sample_with_a_field_for_each_suffix(tmp_path: Path, name: str) -> None:
    report = convert(_tar(tmp_path / name, SHARD), tmp_path / "dest")

    assert report.kind == "webdataset"
    assert report.skipped == {"hidden file": 1, "member that describes the shard": 1}
    samples = SampleDataset(tmp_path / "dest")
    assert list(samples) == [{"jpg": b"one", "cls": b"3"}, {"jpg": LARGE, "seg.png": b"s"}, {"jpg": b"three"}]
    assert [samples.records.key(position) for position in range(3)] == ["x/1", "x/2", "x/3"]


def test_shard_that_webdataset_wrote_is_read(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    with webdataset.TarWriter(str(tmp_path / "a.tar")) as writer:
        for number in range(5):
            writer.write({"__key__": f"{number:03}", "cls": number, "txt": f"text {number}"})

    assert convert([tmp_path / "a.tar"], tmp_path / "dest").kind == "webdataset"
    assert SampleDataset(tmp_path / "dest")[4] == {"cls": b"4", "txt": b"text 4"}


@pytest.mark.parametrize("name", ["w.tar", "w.tar.gz", "f.tar", "f.tar.gz", "f.zip"])
def test_reading_goes_on_from_every_position(tmp_path: Path, name: str) -> None:
    members = SHARD if name[0] == "w" else FILES
    path = _zip(tmp_path / name, members) if name == "f.zip" else _tar(tmp_path / name, members)
    source = open_source(path)

    def read(position: dict[str, object] | None) -> list[tuple[str | None, bytes]]:
        pairs = source.keyed_records(position)  # type: ignore[attr-defined]
        return [(key, record if isinstance(record, bytes) else record.read_whole()) for key, record in pairs]

    everything, skipped = read(None), dict(source.skipped)
    for stop in range(1, len(everything)):
        begun = records_from(source, None)
        for _ in range(stop):
            next(begun)
        position = position_of(source, stop)
        begun.close()

        assert read(position) == everything[stop:]
        assert dict(source.skipped) == skipped


def _refused(tmp_path: Path, path: Path, match: str, kind: str = "auto") -> None:
    with pytest.raises((SourceError, DuplicateKeyError), match=match):
        convert(open_source(path, kind=kind), tmp_path / "dest")
    assert not (tmp_path / "dest" / "segments").is_dir() or not list((tmp_path / "dest").glob("manifest*"))


@pytest.mark.parametrize("kind", ["tar", "webdataset"])
def test_tar_that_is_cut_off_anywhere_is_refused(tmp_path: Path, kind: str) -> None:
    whole = _tar(tmp_path / "whole.tar", [("1.jpg", b"x" * 700), ("1.cls", b"3"), ("2.jpg", b"y")]).read_bytes()
    end = 512 * 7
    assert not whole[end:].strip(b"\0")
    assert whole[end - 512 : end].strip(b"\0")
    path = tmp_path / "cut.tar"
    for length in [0, 1, 511, 512, 600, 1400, 1536, 2048, 2100, 2560, 3000, 3100, end, end + 511]:
        path.write_bytes(whole[:length])
        _refused(tmp_path, path, "truncated|ends after", kind)


def test_gzip_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(_tar(tmp_path / "a.tar", SHARD).read_bytes())[:-20])
    _refused(tmp_path, path, "a.tar.gz")


def test_archives_that_were_joined_are_refused(tmp_path: Path) -> None:
    one = _tar(tmp_path / "a.tar", SHARD).read_bytes()
    (tmp_path / "joined.tar").write_bytes(one + one)
    _refused(tmp_path, tmp_path / "joined.tar", "joined by `cat`")


@pytest.mark.parametrize("damaged", [0, 100, 124, 148, 512])
def test_damaged_header_of_a_tar_is_refused(tmp_path: Path, damaged: int) -> None:
    path = _tar(tmp_path / "a.tar", [("1.jpg", b""), ("1.cls", b"")], form=tarfile.USTAR_FORMAT)
    data = bytearray(path.read_bytes())
    data[damaged] ^= 0x55
    path.write_bytes(data)
    _refused(tmp_path, path, "is damaged", "tar")


@pytest.mark.parametrize("make", [_tar, _zip])
@pytest.mark.parametrize("name", ["../x.jpg", "/x.jpg", "a/../../x.jpg"])
def test_name_that_leads_out_of_an_archive_is_refused(tmp_path: Path, make: object, name: str) -> None:
    assert callable(make)
    path = make(tmp_path / ("a.zip" if make is _zip else "a.tar"), [("a.jpg", b"1"), (name, b"2")])
    _refused(tmp_path, path, "leads out of")


@pytest.mark.parametrize(
    ("members", "match"),
    [
        ([("1.jpg", b""), ("1.jpg", b"")], "field jpg of the sample 1 twice"),
        ([("1.jpg", b""), ("1.JPG", b"")], "field jpg of the sample 1 twice"),
        ([("1.jpg", b""), ("1.cls", b""), ("2.jpg", b""), ("1.txt", b"")], "the same key"),
        ([("1.jpg", b""), ("1.cls", b""), ("README", b"")], "without a suffix"),
        ([(".x", b"")], "no file to convert"),
        ([], "no file to convert"),
    ],
)
def test_shard_whose_samples_cannot_be_told_is_refused(
    tmp_path: Path, members: list[tuple[str, bytes]], match: str
) -> None:
    _refused(tmp_path, _tar(tmp_path / "a.tar", members), match, "webdataset")


def test_damaged_zip_is_refused(tmp_path: Path) -> None:
    whole = _zip(tmp_path / "whole.zip", [("a", b"x" * 300), ("b", b"y" * 300)], zipfile.ZIP_STORED).read_bytes()
    path = tmp_path / "a.zip"
    flipped = whole.replace(b"yyy", b"yzy", 1)
    for data, match in [(whole[:-30], "no zip"), (whole[:100], "no zip"), (b"", "no zip"), (flipped, "CRC")]:
        path.write_bytes(data)
        _refused(tmp_path, path, match)
    _refused(tmp_path, _zip(tmp_path / "none.zip", []), "holds no file")


def test_zip_with_a_file_of_no_name_is_refused(tmp_path: Path) -> None:
    path = _zip(tmp_path / "a.zip", [("x", b"content")])
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\1\2")
    # The one byte of the name in the list becomes a comment.
    data[entry + 28], data[entry + 32] = 0, 1
    path.write_bytes(data)
    _refused(tmp_path, path, "a member of the name ''")


def test_folder_of_classes_gives_samples_with_labels(tmp_path: Path) -> None:
    for name, content in [("dog/1.JPG", LARGE), ("dog-b/x/2.png", b"b"), ("cat/3.jpg", b"c"), ("cat/notes.txt", b"")]:
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    report = convert(open_source(tmp_path / "root", kind="imagefolder"), tmp_path / "dest")

    assert report.skipped == {"file without the name of a picture": 1}
    samples = SampleDataset(tmp_path / "dest")
    assert samples.records.metadata["class_names"] == ["cat", "dog", "dog-b"]
    assert list(samples) == [
        {"image": b"c", "label": 0, "path": "cat/3.jpg"},
        {"image": b"b", "label": 2, "path": "dog-b/x/2.png"},
        {"image": LARGE, "label": 1, "path": "dog/1.JPG"},
    ]
    assert samples.records.find("dog/1.JPG") == 2
    assert convert(open_source(tmp_path / "root", kind="imagefolder"), tmp_path / "2", resume=True).num_records == 3

    (tmp_path / "root" / "4.jpg").write_bytes(b"")
    _refused(tmp_path / "2", tmp_path / "root", "lies in no folder of a class", "imagefolder")


def test_folders_of_different_classes_are_not_one_source(tmp_path: Path) -> None:
    for name in ["a/cat/1.jpg", "b/dog/2.jpg"]:
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()

    with pytest.raises(SourceError, match="different classes, such as cat"):
        open_source([tmp_path / "a", tmp_path / "b"], kind="imagefolder")
