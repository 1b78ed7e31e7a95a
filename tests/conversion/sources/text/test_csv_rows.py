"""CSV and TSV: every row one record, wherever it breaks off; what is not by the rules is named by its line."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitdata.conversion.sources.text import csv_rows
from splitdata.conversion.sources.text.csv_rows import CsvFormat, CsvSource
from splitdata.errors import SourceError
from tests.command import ROOT

FIELDS = st.lists(st.sampled_from(["a", '"', ",", "\n", "\r\n", "\t", " ", "é", "\u2028", "\x00", ""]), max_size=4).map(
    "".join
)
WIDTH = 3


def write(path: Path, data: str, encoding: str = "utf-8") -> str:
    path.write_bytes(data.encode(encoding))
    return str(path)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the examples of a property."""
    return tmp_path_factory.mktemp("shared")


@given(
    rows=st.lists(st.lists(FIELDS, min_size=WIDTH, max_size=WIDTH), max_size=6),
    delimiter=st.sampled_from([",", ";", "\t"]),
    ending=st.sampled_from(["\n", "\r\n"]),
)
def test_rows_that_any_program_wrote_by_the_rfc_come_back(
    shared: Path, rows: list[list[str]], delimiter: str, ending: str
) -> None:
    text = io.StringIO(newline="")
    written = csv.writer(text, delimiter=delimiter, lineterminator=ending, quoting=csv.QUOTE_ALL)
    written.writerows([["x", "y", "z"], *rows])
    path = write(shared / "a.csv", text.getvalue())

    objects = list(CsvSource(path, CsvFormat(delimiter=delimiter)))
    column = list(CsvSource(path, CsvFormat(delimiter=delimiter, column="y")))
    arrays = list(CsvSource(path, CsvFormat(delimiter=delimiter, header=False)))

    assert [json.loads(record) for record in objects] == [dict(zip("xyz", row, strict=True)) for row in rows]
    assert column == [row[1].encode() for row in rows]
    assert [json.loads(record) for record in arrays] == [["x", "y", "z"], *rows]


def test_row_is_one_json_object_in_the_order_of_the_header(tmp_path: Path) -> None:
    source = CsvSource(write(tmp_path / "a.csv", '\ufeffid,text\n1,"two\nlines, ""quoted"""\n\n2,é\n'))

    assert list(source) == [b'{"id":"1","text":"two\\nlines, \\"quoted\\""}', '{"id":"2","text":"é"}'.encode()]
    assert source.skipped == {"blank line": 1}
    assert source.bytes_read == source.num_bytes
    assert len(list(source)) == 2
    assert source.skipped == {"blank line": 1}


def test_delimiter_is_that_of_the_kind_unless_given(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "a\tb,c\n1\t2,3\n")

    assert list(CsvSource(path, kind="tsv")) == [b'{"a":"1","b,c":"2,3"}']
    assert list(CsvSource(path)) == [b'{"a\\tb":"1\\t2","c":"3"}']


def test_column_without_a_header_is_a_number(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "a,b\nc,d\n")

    assert list(CsvSource(path, CsvFormat(header=False, column="1"))) == [b"b", b"d"]
    with pytest.raises(SourceError, match="no column '2'; its columns are '0', '1'"):
        list(CsvSource(path, CsvFormat(header=False, column="2")))


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress])
@pytest.mark.parametrize("encoding", ["utf-16", "latin-1", "utf-8-sig", "cp1252"])
def test_any_encoding_gives_records_in_utf8_from_compressed_files_too(
    tmp_path: Path, encoding: str, compress: type[bytes]
) -> None:
    suffix = ".gz" if compress is gzip.compress else ".bz2"
    text = "a\r\n" + "café\r\n" * 50_000
    (tmp_path / f"a.csv{suffix}").write_bytes(compress(text.encode(encoding)))

    source = CsvSource(str(tmp_path / f"a.csv{suffix}"), CsvFormat(encoding=encoding, column="a"))

    assert list(source) == ["café".encode()] * 50_000


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not even a header"),
        ("a,a\n1,2\n", "names the column 'a' more than once"),
        ("a,b\n1,2\n3\n", r"the row in line 3 has 1 fields, those before it have 2"),
        ("a,b\n1,2\n3,4,5\n", r"line 3 has 3 fields"),
        ('a,b\n1,"x\ny\n"\n\n3\n', r"line 6 has 1 fields"),
        ('a,b\n1,"never closed\n2,3\n', r"the row in line 2 cannot be read: unexpected end of data"),
        ('a,b\n1,"x"y\n', r"the row in line 2 cannot be read: .* quotes=False"),
    ],
)
def test_file_against_the_rules_is_refused_by_its_line(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(SourceError, match=reason):
        list(CsvSource(write(tmp_path / "a.csv", text)))


def test_error_names_the_record_and_what_is_before_it_was_given(tmp_path: Path) -> None:
    source = CsvSource(write(tmp_path / "a.csv", "a,b\n" + "1,2\n" * 200 + "3\n"))
    given: list[bytes] = []
    with pytest.raises(SourceError) as caught:
        given.extend(source)

    assert caught.value.position == 200
    assert caught.value.path == str(tmp_path / "a.csv")
    records = iter(source)
    assert [next(records) for _ in range(200)] == [b'{"a":"1","b":"2"}'] * 200


def test_column_named_twice_is_of_no_matter_to_another_column(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "a,a,b\n1,2,3\n")

    assert list(CsvSource(path, CsvFormat(column="b"))) == [b"3"]
    with pytest.raises(SourceError, match="more than once"):
        list(CsvSource(path, CsvFormat(column="a")))


def test_quotes_mean_nothing_where_so_asked(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", 'a\tb\n"Hello" he said\t"\n')

    assert list(CsvSource(path, CsvFormat(quotes=False), kind="tsv")) == [b'{"a":"\\"Hello\\" he said","b":"\\""}']


def test_bytes_of_another_encoding_are_an_error_behind_the_line_before(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"a\n" + b"x\n" * 10 + b"caf\xe9\n")

    with pytest.raises(SourceError, match="is no text in utf-8"):
        list(CsvSource(str(tmp_path / "a.csv")))


@pytest.mark.parametrize("form", [CsvFormat(encoding="utf-7"), CsvFormat(encoding="utf-7", column="a")])
def test_halves_of_pairs_that_an_encoding_gives_are_refused_by_their_row(tmp_path: Path, form: CsvFormat) -> None:
    (tmp_path / "a.csv").write_bytes(b"a,b\n1,2\n+2AA-,x\n")
    given: list[bytes] = []

    with pytest.raises(SourceError, match=r"a\.csv: the row in line 3, .* UTF-8 .*surrogates not allowed") as caught:
        given.extend(CsvSource(str(tmp_path / "a.csv"), form))
    assert (len(given), caught.value.position) == (1, 1)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"delimiter": ""}, "one character"),
        ({"delimiter": "::"}, "one character"),
        ({"delimiter": '"'}, "no quote"),
        ({"delimiter": "\n"}, "line ending"),
        ({"encoding": "no-such"}, "unknown encoding"),
        ({"encoding": "base64"}, "not a text encoding"),
        ({"header": False, "column": "name"}, "a number from 0"),
    ],
)
def test_format_that_cannot_be_is_refused(options: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        CsvFormat(**options)  # type: ignore[arg-type]  # of the right types


def test_long_fields_are_read_up_to_the_limit_and_python_keeps_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = csv.field_size_limit()
    path = write(tmp_path / "a.csv", "a\n" + "x" * 1_000_000 + "\n")

    assert len(next(iter(CsvSource(path, CsvFormat(column="a"))))) == 1_000_000
    assert csv.field_size_limit() == before
    monkeypatch.setattr(csv_rows, "MAX_ROW_CHARACTERS", before)
    with pytest.raises(SourceError, match=f"the row in line 2 is longer than {before} characters"):
        list(CsvSource(path))
    assert csv.field_size_limit() == before


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the resident memory")
def test_quote_that_is_never_closed_takes_bounded_memory(tmp_path: Path) -> None:
    with (tmp_path / "a.csv").open("wb") as file:
        file.write(b'a\n"')
        for _ in range(100):
            file.write((b"y" * 99 + b"\n") * 10_000)
    code = (
        "import re, sys\nfrom splitdata import open_source, SourceError\n"
        "try:\n    list(open_source(sys.argv[1]))\n"
        "except SourceError as error:\n    assert 'the row in line 2 is longer than' in str(error), error\n"
        "else:\n    raise SystemExit('not refused')\n"
        "print(re.search(r'VmHWM:\\s+(\\d+) kB', open('/proc/self/status').read())[1])"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.csv")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)

    # The file has 100 MB, and the parser would take 4 bytes for each of them.
    assert int(ended.stdout) < 300_000


@pytest.mark.parametrize("end", ["x," * 2000, '"x\n",' * 2000, '"' + "\n" * 2000])
def test_row_without_end_is_refused_wherever_its_lines_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setattr(csv_rows, "MAX_ROW_CHARACTERS", 1000)
    path = write(tmp_path / "a.csv", "a,b\n1,2\n" + end)

    with pytest.raises(SourceError, match="the row in line 3 is longer than 1000 characters, which is the limit"):
        list(CsvSource(path))


def test_rows_up_to_the_limit_are_read_however_many_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_rows, "MAX_ROW_CHARACTERS", 100)
    path = write(tmp_path / "a.csv", "a\n" + ("x" * 99 + "\n") * 300)

    assert len(list(CsvSource(path))) == 300


ROWS_OF_FIELDS = {
    "empty": ",".join([""] * 7),
    "plain": "a,bc,d,e,f,g,h",
    "quoted": '"a","b,b","c""c","",e,"f\n,,,,\n""f","g"',
    "quotes within": 'a"b,c,"d""",e,"""f,f""",g""g,h',
}


@pytest.mark.parametrize("row", ROWS_OF_FIELDS.values(), ids=ROWS_OF_FIELDS.keys())
@pytest.mark.parametrize("header", [True, False])
def test_rows_are_refused_from_the_first_field_beyond_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row: str, header: bool
) -> None:
    path = write(tmp_path / "a.csv", f"{row}\n{row}\n")
    monkeypatch.setattr(csv_rows, "MAX_COLUMNS", 7)
    form = CsvFormat(header=header, column=next(csv.reader([row.split("\n")[0]]))[0] or None if header else "1")

    if row != ROWS_OF_FIELDS["empty"] or not header:
        assert len(list(CsvSource(path, form))) == 2 - header
    monkeypatch.setattr(csv_rows, "MAX_COLUMNS", 6)
    with pytest.raises(SourceError, match="the row in line 1 has more than 6 fields, which is the limit"):
        list(CsvSource(path, form))


@pytest.mark.parametrize("quotes", [True, False])
def test_delimiters_within_quotes_are_no_fields_beyond_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quotes: bool
) -> None:
    monkeypatch.setattr(csv_rows, "MAX_COLUMNS", 5)
    lists = '"' + "1,2,3," * 10 + '"'
    path = write(tmp_path / "a.csv", f"a,b\n{lists},2\n" + f"{lists[:-1]}\n,,,\n{lists[1:]},2\n" * 3)

    if quotes:
        assert len(list(CsvSource(path))) == 4
        return
    with pytest.raises(SourceError, match="the row in line 2 has more than 5 fields"):
        list(CsvSource(path, CsvFormat(quotes=False)))


def test_threads_that_read_at_the_same_time_all_get_long_fields(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    path = write(tmp_path / "a.csv", "a\n" + ("x" * 200_000 + "\n") * 200)
    counts: list[int] = []
    threads = [threading.Thread(target=lambda: counts.append(len(list(CsvSource(path))))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert counts == [200] * 4
    assert csv.field_size_limit() == before
