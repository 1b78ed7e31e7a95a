"""Parts of a source: end to end they give its records and keys, whatever their size, also behind a pickle."""

from __future__ import annotations

import gzip
import pickle
import zipfile
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitdata import SourceError, SplitWriter, open_source
from splitdata.conversion.sources.each_record import keyed_records_of, whole_record
from splitdata.conversion.sources.parts import PartedSource, has_parts
from splitdata.conversion.sources.source import RecordSource
from splitdata.conversion.sources.text.lines import JsonLineSource, LineSource

LINES = b"".join(b'{"n": %d}\n%s' % (number, b"\n" * (number % 5 == 0)) for number in range(300))


def make_files(root: Path) -> Path:
    for number in range(40):
        file = root / f"c{number % 3}" / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * number * 50)
    (root / ".hidden").write_bytes(b"no")
    (root / "c1" / "large.png").write_bytes(bytes(range(256)) * 8192)
    return root


def make_zip(root: Path) -> Path:
    make_files(root)
    with zipfile.ZipFile(root.with_suffix(".zip"), "w") as archive:
        for path in sorted(root.rglob("*.*")):
            archive.write(path, path.relative_to(root))
    return root.with_suffix(".zip")


def make_list(root: Path) -> str:
    make_files(root)
    root.with_suffix(".list").write_text("\n".join(map(str, sorted(root.rglob("*.png"), reverse=True))))
    return f"@{root.with_suffix('.list')}"


def make_dataset(root: Path, *, has_keys: bool) -> Path:
    with SplitWriter(root, bins=3) as writer:
        for number in range(100):
            writer.write(b"r" * (number % 90), key=f"k{number}" if has_keys and number % 2 else None)
        writer.write(bytes(3 << 20))
    return root


def make_several(root: Path) -> list[str]:
    root.mkdir()
    for number, data in enumerate((LINES, gzip.compress(LINES), b"", LINES[:-1])):
        (root / f"{number}.jsonl{'.gz' * (number == 1)}").write_bytes(data)
    return [str(path) for path in sorted(root.iterdir())]


def make_table(root: Path, name: str) -> Path:
    pyarrow = pytest.importorskip("pyarrow")
    parquet, feather = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow.feather")
    root.mkdir()
    table = pyarrow.table({"n": list(range(700)), "text": [f"t{number}" for number in range(700)]})
    if name.endswith("parquet"):
        parquet.write_table(table, root / name, row_group_size=100)
    elif name.endswith("feather"):
        feather.write_feather(table, str(root / name), chunksize=90)
    else:
        with pyarrow.ipc.new_stream(str(root / name), table.schema) as writer:
            writer.write_table(table, max_chunksize=90)
    return root / name


def one_file(name: str, data: bytes) -> Callable[[Path], Path]:
    def make(root: Path) -> Path:
        root.mkdir()
        (root / name).write_bytes(data)
        return root / name

    return make


# How it is made, its kind, and whether it has several parts of 100 bytes.
SOURCES: dict[str, tuple[Callable[[Path], Any], str, bool]] = {
    "jsonl": (one_file("a.jsonl", b"\xef\xbb\xbf" + LINES), "auto", True),
    "lines": (one_file("a.txt", LINES + b"\xef\xbb\xbfend"), "auto", True),
    "jsonl.gz": (one_file("a.jsonl.gz", gzip.compress(LINES)), "auto", False),
    "csv": (one_file("a.csv", b"a,b\n" + b'1,"x\ny"\n' * 200), "auto", False),
    "prefixed": (one_file("a.bin", b"\3\0\0\0abc" * 500), "prefixed", False),
    "several": (make_several, "auto", True),
    "folder": (make_files, "auto", True),
    "imagefolder": (make_files, "imagefolder", True),
    "list": (make_list, "auto", True),
    "zip": (make_zip, "auto", True),
    "dataset": (lambda root: make_dataset(root, has_keys=False), "auto", True),
    "dataset with keys": (lambda root: make_dataset(root, has_keys=True), "auto", True),
    "parquet": (lambda root: make_table(root, "a.parquet"), "auto", True),
    "feather": (lambda root: make_table(root, "a.feather"), "auto", True),
    "arrow stream": (lambda root: make_table(root, "a.arrow"), "auto", False),
}


def pairs_of(source: RecordSource) -> list[tuple[str | None, bytes]]:
    return [(key, whole_record(record)) for key, record in keyed_records_of(source, None)]


@pytest.mark.parametrize("max_bytes", [100, 1 << 30])
@pytest.mark.parametrize("name", SOURCES)
def test_parts_end_to_end_give_the_records_of_the_source(tmp_path: Path, name: str, max_bytes: int) -> None:
    make, kind, is_cut = SOURCES[name]
    made = make(tmp_path / "source")
    whole = open_source(made, kind=kind)
    expected, skipped = pairs_of(whole), dict(whole.skipped)
    source: Any = open_source(made, kind=kind)
    assert has_parts(source)

    parts = [pickle.loads(pickle.dumps(part)) for part in source.parts(max_bytes)]

    found = [pairs_of(part) for part in parts]
    assert list(chain(*found)) == expected
    assert (len(parts) > 1) == (is_cut and max_bytes < 1 << 30) or name == "several"
    total = dict(source.skipped)
    for part in parts:
        for what, number in part.skipped.items():
            total[what] = total.get(what, 0) + number
    assert total == skipped


@given(
    st.lists(st.sampled_from([b"", b"a", b"bc\r", b" ", b"\r", b"\xef\xbb\xbf"]), max_size=12),
    st.sampled_from([b"\n", b"\r\n"]),
    st.sampled_from([b"", b"end", b"e\rnd\r"]),
    st.integers(1, 9),
    st.sampled_from((LineSource, JsonLineSource)),
)
def test_lines_of_windows_of_any_size_are_those_of_the_file(
    tmp_path_factory: pytest.TempPathFactory, texts: list[bytes], end: bytes, tail: bytes, size: int, kind: Any
) -> None:
    path = tmp_path_factory.mktemp("lines") / "a.txt"
    path.write_bytes(b"".join(text + end for text in texts) + tail)

    try:
        whole = list(kind(str(path)))
    except SourceError:
        # CR alone ends no line; a window tells the same.
        with pytest.raises(SourceError):
            [list(part) for part in kind(str(path)).parts(size)]
        return
    assert [line for part in kind(str(path)).parts(size) for line in part] == whole


def test_error_in_a_part_tells_where_its_lines_begin(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"{}\n" * 10 + b"no\n")
    source = cast("PartedSource", open_source(tmp_path / "a.jsonl", validate=True))

    with pytest.raises(SourceError, match=r"line 3 of .*a\.jsonl behind byte 24 is not JSON") as caught:
        list(chain(*source.parts(12)))
    assert caught.value.position == 2


def test_file_that_shrinks_between_cutting_and_reading_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"ab\n" * 100)
    parts = list(cast("PartedSource", open_source(tmp_path / "a.txt")).parts(50))
    (tmp_path / "a.txt").write_bytes(b"ab\n" * 50)

    with pytest.raises(SourceError, match=r"ends .* bytes too early"):
        list(chain(*parts))
