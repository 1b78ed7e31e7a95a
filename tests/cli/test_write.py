"""`splitdata write`: every kind of source, every mode, and nothing left behind where it fails."""

from __future__ import annotations

import gzip
import json
import os
import sys
from pathlib import Path

import pytest
import zstandard
from click.testing import CliRunner, Result

from splitdata import SplitDataLoader
from splitdata_cli.main import cli
from tests.cli.processes import command_line, environment, run_bytes


def write(*arguments: str | os.PathLike[str], stdin: bytes = b"") -> Result:
    return CliRunner().invoke(cli, ["write", *[os.fspath(argument) for argument in arguments]], input=stdin)


def records_of(path: Path) -> list[bytes]:
    with SplitDataLoader(path) as loader:
        return list(loader)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """A file of three lines."""
    path = tmp_path / "a.txt"
    path.write_bytes(b"one\ntwo\nthree\n")
    return path


def test_folder_is_written_and_summed_up_in_one_line(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "b").write_bytes(b"2")
    (root / "a").write_bytes(b"1")
    (root / ".hidden").write_bytes(b"3")

    result = write(root, tmp_path / "data", "--bins", "2")

    assert result.exit_code == 0
    assert result.stderr == ""
    assert result.stdout.startswith(f"wrote 2 records, 2 bytes, to {tmp_path / 'data'} as positions 0 to 1 in ")
    assert result.stdout.endswith(" s; left out: 1 hidden name\n")
    assert records_of(tmp_path / "data") == [b"1", b"2"]


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_lines_and_jsonl_are_told_apart_by_the_name(tmp_path: Path, suffix: str) -> None:
    data = b'{"a": 1}\n\n{"b": 2}'
    stored = {"": data, ".gz": gzip.compress(data), ".zst": zstandard.compress(data)}[suffix]
    for name in ("a.txt", "a.jsonl"):
        (tmp_path / (name + suffix)).write_bytes(stored)
        assert write(tmp_path / (name + suffix), tmp_path / f"{name} data").exit_code == 0

    assert records_of(tmp_path / "a.txt data") == [b'{"a": 1}', b"", b'{"b": 2}']
    assert records_of(tmp_path / "a.jsonl data") == [b'{"a": 1}', b'{"b": 2}']


def test_standard_input_is_lines_unless_told_otherwise(tmp_path: Path) -> None:
    records = [b"a\n", b"", bytes(range(256)) * 10_000]
    prefixed = b"".join(len(record).to_bytes(4, "little") + record for record in records)

    assert write("-", tmp_path / "lines", stdin=b"a\r\nb").exit_code == 0
    assert write("-", tmp_path / "prefixed", "--from", "prefixed", stdin=prefixed).exit_code == 0

    assert records_of(tmp_path / "lines") == [b"a", b"b"]
    assert records_of(tmp_path / "prefixed") == records


def test_standard_input_of_a_real_pipe_arrives_whole(tmp_path: Path) -> None:
    lines = [b"line %d" % number for number in range(200_000)]

    ended = run_bytes("write", "-", tmp_path / "data", stdin=b"\n".join(lines))

    assert (ended.returncode, ended.stderr) == (0, b"")
    assert records_of(tmp_path / "data") == lines


@pytest.mark.parametrize(
    ("stdin", "reason"),
    [
        (b"\x05\x00\x00\x00abc", b"record 0, after 3 of the 5 bytes"),
        (b"\x00\x00\x00\x00\x01\x00", b"record 1, within its"),
    ],
)
def test_truncated_prefixed_input_commits_nothing(tmp_path: Path, stdin: bytes, reason: bytes) -> None:
    ended = run_bytes("write", "-", tmp_path / "data", "--from", "prefixed", stdin=stdin)

    assert ended.returncode == 2
    assert reason in ended.stderr
    assert ended.stderr.count(b"\n") == 1
    assert not (tmp_path / "data").exists()


def test_function_of_a_module_in_the_working_folder_is_called(tmp_path: Path) -> None:
    (tmp_path / "made.py").write_text("def records():\n    for number in range(3):\n        yield b'%d' % number\n")

    # -P: as for the installed program, Python itself does not look into the working folder.
    ended = run_bytes("write", "made:records", "data", "--from", "callable", cwd=tmp_path, flags=["-P"])

    assert (ended.returncode, ended.stderr) == (0, b"")
    assert records_of(tmp_path / "data") == [b"0", b"1", b"2"]


def test_exception_of_the_function_is_one_line_that_says_where(tmp_path: Path) -> None:
    code = "def records():\n    yield b'a'\n    raise LookupError('no such\\nthing \\x1b[2J')\n"
    (tmp_path / "made.py").write_text(code)

    ended = run_bytes("write", "made:records", "data", "--from", "callable", cwd=tmp_path)

    assert ended.returncode == 2
    assert ended.stderr.startswith(b"splitdata: error: LookupError: no such thing \\x1b[2J (")
    assert b"made.py, line 3;" in ended.stderr
    assert ended.stderr.count(b"\n") == 1
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("code", ["def records(:", "import not_installed_anywhere", "raise RuntimeError('at import')"])
def test_module_that_cannot_be_imported_is_one_line(tmp_path: Path, code: str) -> None:
    (tmp_path / "made.py").write_text(code)

    ended = run_bytes("write", "made:records", "data", "--from", "callable", cwd=tmp_path)

    assert ended.returncode == 2
    assert ended.stderr.startswith(b"splitdata: error: ")
    assert ended.stderr.count(b"\n") == 1


def test_append_and_overwrite_do_what_they_say_and_neither_refuses(tmp_path: Path, text: Path) -> None:
    data = tmp_path / "data"
    assert write(text, data).exit_code == 0
    again = write(text, data)
    assert again.exit_code == 2
    assert "is not empty" in again.stderr
    assert len(records_of(data)) == 3

    assert " as positions 3 to 5 in " in write(text, data, "--append").stdout
    assert len(records_of(data)) == 6

    assert write(text, data, "--overwrite", "--limit", "1").exit_code == 0
    assert records_of(data) == [b"one"]


@pytest.mark.parametrize("option", ["--append", "--overwrite"])
def test_folder_that_is_no_dataset_is_never_written_to(tmp_path: Path, text: Path, option: str) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_bytes(b"keep")

    result = write(text, tmp_path / "mine", option)

    assert result.exit_code == 2
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes"]
    assert (tmp_path / "mine" / "notes").read_bytes() == b"keep"


def test_report_as_json_has_the_figures(tmp_path: Path, text: Path) -> None:
    result = write(text, tmp_path / "data", "--json")
    report = json.loads(result.stdout)

    assert report.pop("seconds") >= 0
    assert report == {
        "path": str(tmp_path / "data"),
        "kind": "lines",
        "num_records": 3,
        "num_bytes": 11,
        "num_bins": 1,
        "first_position": 0,
        "skipped": {},
        "is_dry_run": False,
        "first_records": [],
        "num_resumed": 0,
        "was_finished": False,
    }


def test_compression_level_and_durability_reach_the_dataset(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"abc" * 10_000)
    options = ["--compression", "zstd", "--level", "9", "--durability", "none"]
    assert write(tmp_path / "a.txt", tmp_path / "data", *options).exit_code == 0
    described = json.loads(CliRunner().invoke(cli, ["info", str(tmp_path / "data"), "--json"]).stdout)

    assert described["raw_bytes"] == 30_000
    assert described["stored_bytes"] < 1000


def test_reproducible_writes_give_equal_files(tmp_path: Path, text: Path) -> None:
    for name in ("one", "two"):
        assert write(text, tmp_path / name, "--reproducible").exit_code == 0
    files = [
        {
            path.relative_to(tmp_path / name): path.read_bytes()
            for path in (tmp_path / name).rglob("*")
            if path.is_file()
        }
        for name in ("one", "two")
    ]

    assert files[0] == files[1]
    assert files[0]


def test_line_that_is_not_json_is_named_where_asked(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"1\n{\n")

    assert write(tmp_path / "a.jsonl", tmp_path / "one").exit_code == 0
    result = write(tmp_path / "a.jsonl", tmp_path / "two", "--validate")

    assert result.exit_code == 2
    assert "line 2 of" in result.stderr
    assert not (tmp_path / "two").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="sets a limit that only POSIX has")
def test_disk_that_refuses_more_is_one_line_and_commits_nothing(tmp_path: Path) -> None:
    import resource
    import subprocess

    # Files may not grow beyond 64 KiB: writing fails as on a full disk, for root too.
    ended = subprocess.run(
        command_line("write", "-", tmp_path / "data"),
        env=environment(),
        input=b"x" * 1000 + b"\n" + b"y" * 1_000_000,
        capture_output=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, 65_536)),
    )

    assert ended.returncode == 2
    assert ended.stderr.startswith(b"splitdata: error: " + bytes(tmp_path / "data"))
    assert b"File too large: cannot write; " in ended.stderr
    assert ended.stderr.endswith(b": use more bins\n")
    assert ended.stderr.count(b"\n") == 1
    assert not (tmp_path / "data").exists()


def test_rows_of_csv_are_written_whole_or_by_column(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes('id;text\n1;"a\nb"\n2;é\n'.encode("latin-1"))
    options = ["--delimiter", ";", "--encoding", "latin-1"]

    assert write(tmp_path / "a.csv", tmp_path / "rows", *options).exit_code == 0
    assert write(tmp_path / "a.csv", tmp_path / "texts", *options, "--column", "text").exit_code == 0
    assert (
        write("-", tmp_path / "piped", "--from", "csv", "--no-header", "--column", "1", stdin=b"a,b\nc,d").exit_code
        == 0
    )
    assert (
        write("-", tmp_path / "tabs", "--from", "csv", "--delimiter", r"\t", "--no-quotes", stdin=b'a\n"').exit_code
        == 0
    )

    assert records_of(tmp_path / "rows") == [b'{"id":"1","text":"a\\nb"}', '{"id":"2","text":"é"}'.encode()]
    assert records_of(tmp_path / "texts") == [b"a\nb", "é".encode()]
    assert records_of(tmp_path / "piped") == [b"b", b"d"]
    assert records_of(tmp_path / "tabs") == [b'{"a":"\\""}']


def test_ragged_row_is_one_line_that_names_it_and_commits_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"a,b\n1,2\n3\n")

    result = write(tmp_path / "a.csv", tmp_path / "data")

    assert result.exit_code == 2
    assert "line 3 has 1 fields" in result.stderr
    assert not (tmp_path / "data").exists()


def test_several_sources_a_pattern_and_a_list_of_standard_input_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        Path(f"{name}.jsonl").write_bytes(b'"%s"\n' % name.encode())

    assert write("b.jsonl", "a.jsonl", "one").exit_code == 0
    assert write("*.jsonl", "two").exit_code == 0
    assert write("@-", "three", stdin=b"b.jsonl\na.jsonl\n").exit_code == 0

    assert records_of(tmp_path / "one") == [b'"b"', b'"a"']
    assert records_of(tmp_path / "two") == [b'"a"', b'"b"']
    assert records_of(tmp_path / "three") == [b'"b"\n', b'"a"\n']


def test_dry_run_tells_what_would_be_written_and_writes_nothing(tmp_path: Path, text: Path) -> None:
    result = write(text, tmp_path / "data", "--dry-run")

    assert result.exit_code == 0
    assert result.stdout.startswith(
        f"would write 3 records, 11 bytes, to {tmp_path / 'data'} as positions 0 to 2 in 1 bin"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert json.loads(write(text, tmp_path / "data", "--dry-run", "--json").stdout)["is_dry_run"] is True
    assert write(text, tmp_path / "data", "--dry-run", "--verify").exit_code == 2


def test_shuffled_writing_is_repeatable_and_other_seeds_give_other_orders(tmp_path: Path) -> None:
    lines = [b"line %d" % number for number in range(1000)]
    (tmp_path / "a.txt").write_bytes(b"\n".join(lines))
    for name, seed in (("one", "7"), ("two", "7"), ("three", "8")):
        assert write(tmp_path / "a.txt", tmp_path / name, "--shuffle", seed).exit_code == 0

    assert sorted(records_of(tmp_path / "one")) == sorted(lines)
    assert records_of(tmp_path / "one") == records_of(tmp_path / "two") != records_of(tmp_path / "three")
    assert records_of(tmp_path / "one") != lines
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "one", "three", "two"]


def test_verified_writing_says_that_it_is_intact(tmp_path: Path, text: Path) -> None:
    result = write(text, tmp_path / "data", "--verify")
    as_json = json.loads(write(text, tmp_path / "data", "--append", "--verify", "--json").stdout)

    assert result.exit_code == 0
    assert f"{tmp_path / 'data'} is intact: 3 records" in result.stdout.splitlines()[1]
    assert as_json["verified"]["is_intact"] is True
    assert as_json["verified"]["num_records"] == 6


@pytest.mark.parametrize("as_json", [False, True])
def test_verified_writing_into_a_damaged_dataset_ends_with_1(tmp_path: Path, text: Path, as_json: bool) -> None:
    data = tmp_path / "data"
    assert write(text, data).exit_code == 0
    damaged = next(data.rglob("*.bin"))
    content = bytearray(damaged.read_bytes())
    content[-10] ^= 1
    damaged.write_bytes(content)

    result = write(text, data, "--append", "--verify", *(["--json"] if as_json else []))

    assert result.exit_code == 1
    assert ('"is_intact": false' if as_json else f"{data} is damaged") in result.stdout


def test_small_records_are_grouped_as_asked_and_info_says_so(text: Path, tmp_path: Path) -> None:
    for arguments in ((), ("--resume",)):
        data = tmp_path / f"data{len(arguments)}"
        assert write(text, data, "--group", "2", *arguments).exit_code == 0
        shown = CliRunner().invoke(cli, ["info", str(data)]).stdout
        assert "groups       3 records in groups of 2" in shown
        assert records_of(data) == [b"one", b"two", b"three"]
    refused = write(text, tmp_path / "other", "--group", "3")
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    assert "group must be a power of two" in refused.stderr
