"""`splitdata write --resume`: begins, goes on after a kill, says when there is nothing to do, refuses changes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from splitdata import SplitDataLoader
from splitdata_cli.main import cli
from tests.cli.processes import command_line, environment, run_bytes
from tests.dataset.disk import files_of


def write(*arguments: str | os.PathLike[str]) -> Result:
    return CliRunner().invoke(cli, ["write", *[os.fspath(argument) for argument in arguments], "--resume"])


def records_of(path: Path) -> list[bytes]:
    with SplitDataLoader(path) as loader:
        return list(loader)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """A file of three lines."""
    path = tmp_path / "a.txt"
    path.write_bytes(b"one\ntwo\nthree\n")
    return path


def test_first_call_writes_all_and_the_second_says_that_there_is_nothing_to_do(tmp_path: Path, text: Path) -> None:
    first, second = write(text, tmp_path / "data"), write(text, tmp_path / "data")

    assert (first.exit_code, second.exit_code) == (0, 0)
    assert first.stdout.startswith(f"wrote 3 records, 11 bytes, to {tmp_path / 'data'} as positions 0 to 2 in ")
    assert second.stdout == f"{tmp_path / 'data'} was finished before, with 3 records; nothing was done\n"
    assert records_of(tmp_path / "data") == [b"one", b"two", b"three"]


def test_report_as_json_tells_of_earlier_calls(tmp_path: Path, text: Path) -> None:
    first, second = (json.loads(write(text, tmp_path / "data", "--json").stdout) for _ in range(2))

    assert (first["num_records"], first["num_resumed"], first["was_finished"]) == (3, 0, False)
    assert (second["num_records"], second["num_resumed"], second["was_finished"]) == (0, 3, True)


def test_change_is_refused_in_one_line_that_says_both_sides(tmp_path: Path, text: Path) -> None:
    write(text, tmp_path / "data")
    before = files_of(tmp_path / "data")

    ended = run_bytes("write", text, tmp_path / "data", "--resume", "--limit", "2")

    assert ended.returncode == 2
    assert b"limit was not set, is 2" in ended.stderr
    assert ended.stderr.count(b"\n") == 1
    assert files_of(tmp_path / "data") == before


def test_standard_input_is_refused(tmp_path: Path) -> None:
    ended = run_bytes("write", "-", tmp_path / "data", "--resume", stdin=b"a\n")

    assert ended.returncode == 2
    assert b"standard input cannot be resumed, as it cannot be read again" in ended.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("option", [["--append"], ["--overwrite"], ["--shuffle", "1"], ["--dry-run"]], ids=str)
def test_resume_goes_with_no_other_mode(tmp_path: Path, text: Path, option: list[str]) -> None:
    result = write(text, tmp_path / "data", *option)

    assert result.exit_code == 2
    assert "--resume goes with neither" in result.stderr


def test_killed_function_that_takes_a_start_goes_on_behind_its_last_commit(tmp_path: Path) -> None:
    code = (
        "import sys, time\n"
        "def records(start=0):\n"
        "    print('from', start, file=sys.stderr, flush=True)\n"
        "    for number in range(start, 2000):\n"
        "        time.sleep(0.002)\n"
        "        yield b'%d' % number\n"
    )
    (tmp_path / "made.py").write_text(code)
    command = command_line("write", "made:records", "data", "--from", "callable", "--resume")
    process = subprocess.Popen(command, cwd=tmp_path, env=environment(), stderr=subprocess.DEVNULL)
    while not list((tmp_path / "data").glob("manifest.*3.json")):
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    done = len(records_of(tmp_path / "data"))

    ended = run_bytes("write", "made:records", "data", "--from", "callable", "--resume", cwd=tmp_path)

    assert ended.returncode == 0
    # Its last commit was made again, which proves where it stands.
    assert 0 < int(ended.stderr.removeprefix(b"from ")) < done
    assert f" behind the {done:,} records of earlier calls in ".encode() in ended.stdout
    assert records_of(tmp_path / "data") == [b"%d" % number for number in range(2000)]
