"""The program as a whole: help and version at once, errors in one line, exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import splitdata
from splitdata_cli.main import cli
from tests.cli.processes import command_line, environment, run_bytes
from tests.command import ROOT
from tests.paths import PATHS, take_path

COMMANDS = ["cat", "head", "info", "verify", "write"]


def invoke(*arguments: str | os.PathLike[str]) -> Result:
    return CliRunner().invoke(cli, [os.fspath(argument) for argument in arguments])


def assert_one_line(result: Result) -> str:
    """Check that a command ended with one line on stderr and code 2; returns that line."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("splitdata: error: ")
    assert result.stderr.count("\n") == 1
    assert result.stderr.endswith("\n")
    return result.stderr


def test_version_is_that_of_the_library() -> None:
    assert invoke("--version").stdout == f"splitdata {splitdata.__version__}\n"


@pytest.mark.parametrize("name", PATHS)
def test_info_shows_the_versions_and_whether_the_compiled_path_is_in_use(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_path(monkeypatch, name)
    path = splitdata.compiled_path()

    result = invoke("info", "--version")

    assert result.stdout.splitlines() == [
        f"splitdata {splitdata.__version__}, format {splitdata.FORMAT_VERSION[0]}.{splitdata.FORMAT_VERSION[1]}",
        f"compiled path: {path or 'not in use, Python does all'}",
    ]


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_help_and_version_load_nothing_of_the_library(option: str) -> None:
    code = (
        "import json, sys\n"
        "from splitdata_cli.main import cli\n"
        "try:\n"
        f"    cli([{option!r}])\n"
        "except SystemExit:\n"
        "    pass\n"
        "print(json.dumps([name for name in sys.modules if name.split('.')[0] in ('splitdata', 'numpy', 'tqdm')]))\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, check=True)

    assert json.loads(ended.stdout.splitlines()[-1]) == []


def test_program_without_arguments_shows_its_commands() -> None:
    result = invoke()

    assert result.exit_code == 0
    assert all(f"\n  {command} " in result.stdout for command in COMMANDS)
    assert result.stdout == invoke("--help").stdout == invoke("-h").stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    result = invoke(command, "--help")

    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: cli {command} ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such-command"],
        ["--no-such-option"],
        ["write"],
        ["write", "a"],
        ["write", "a", "b", "--from", "nothing"],
        ["write", "a", "b", "--bins", "0"],
        ["write", "a", "b", "--bins", "many"],
        ["write", "a", "b", "--limit", "0"],
        ["write", "a", "b", "--level", "3"],
        ["write", "a", "b", "--compression", "zstd", "--level", "23"],
        ["write", "a", "b", "--append", "--overwrite"],
        ["info"],
        ["info", "a", "--generation", "-1"],
        ["cat"],
        ["cat", "a"],
        ["cat", "a", "x"],
        ["cat", "a", "1.5"],
        ["cat", "a", "--jsn"],
        ["head", "a", "-n", "-1"],
        ["verify", "a", "--workers", "0"],
    ],
)
def test_arguments_that_make_no_sense_are_one_line(arguments: list[str]) -> None:
    assert "--help` tells more" in assert_one_line(invoke(*arguments))


@pytest.mark.parametrize("command", ["info", "verify", "head", "cat"])
@pytest.mark.parametrize("what", ["missing", "file", "empty folder", "foreign folder", "damaged manifest"])
def test_place_without_a_readable_dataset_is_one_line(tmp_path: Path, command: str, what: str) -> None:
    path = tmp_path / "x"
    if what == "file":
        path.write_bytes(b"not a dataset")
    elif what != "missing":
        path.mkdir()
    if what == "foreign folder":
        (path / "notes.txt").write_bytes(b"mine")
    if what == "damaged manifest":
        (path / "segments").mkdir()
        (path / "manifest.0000000001.json").write_bytes(b'{"format": "splitdata", ')

    assert str(path) in assert_one_line(invoke(command, path, *(["0"] if command == "cat" else [])))


def test_message_with_line_ends_and_escapes_is_one_harmless_line() -> None:
    line = assert_one_line(invoke("info", "a\nb\x1b[2J\u202ec"))

    assert r"a\nb\x1b[2J\u202ec" in line


def test_error_of_the_system_shows_what_it_is_about(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "a.txt").touch()

    line = assert_one_line(invoke("write", tmp_path / "a.txt", tmp_path / "file" / "below"))

    assert "Errno" not in line
    assert str(tmp_path / "file") in line


def test_traceback_is_shown_where_it_is_asked_for(tmp_path: Path) -> None:
    ended = run_bytes("--traceback", "info", tmp_path / "missing")

    assert ended.returncode != 0
    assert b"Traceback (most recent call last)" in ended.stderr
    assert b"Traceback" not in run_bytes("info", tmp_path / "missing").stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals of a terminal are another thing there")
def test_interrupted_write_ends_with_130_and_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    with subprocess.Popen(
        command_line("write", "-", tmp_path / "data"),
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        # More than a pipe holds: once it is taken, the program is reading.
        process.stdin.write(b"line\n" * 200_000)
        process.stdin.flush()
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate()

    assert process.returncode == 130
    assert stderr == b"splitdata: interrupted\n"
    assert not (tmp_path / "data").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="a closed pipe is another error there")
@pytest.mark.parametrize("command", ["cat", "head", "info"])
def test_reader_that_leaves_ends_the_program_quietly(tmp_path: Path, command: str) -> None:
    source = tmp_path / "a.txt"
    source.write_bytes(b"".join(b"%0200d\n" % number for number in range(20_000)))
    assert run_bytes("write", source, tmp_path / "data").returncode == 0
    more = {"cat": [str(number) for number in range(5000)], "head": ["-n", "20000"], "info": []}[command]
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ended = subprocess.run(
            command_line(command, tmp_path / "data", *more),
            env=environment(),
            stdout=writer,
            stderr=subprocess.PIPE,
            check=False,
        )
    finally:
        os.close(writer)

    assert ended.stderr == b""
    assert ended.returncode == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
@pytest.mark.parametrize("command", ["cat", "head", "info"])
def test_full_disk_behind_the_output_is_one_line(tmp_path: Path, command: str) -> None:
    (tmp_path / "a.txt").write_bytes(b"a\n")
    assert run_bytes("write", tmp_path / "a.txt", tmp_path / "data").returncode == 0
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            command_line(command, tmp_path / "data", *(["0"] if command == "cat" else [])),
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )

    assert ended.stderr == b"splitdata: error: No space left on device\n"
    assert ended.returncode == 2


@pytest.mark.parametrize("digits", [25, 4000, 5000])
@pytest.mark.parametrize(
    "arguments",
    [
        ("write", "a.txt", "new", "--limit", "N"),
        ("write", "a.txt", "new", "--bins", "N"),
        ("write", "a.txt", "new", "--shuffle", "N"),
        ("write", "a.txt", "new", "--resume", "--limit", "N"),
        ("head", "data", "-n", "N"),
        ("cat", "data", "N"),
        ("info", "data", "--generation", "N"),
        ("verify", "data", "--generation", "N"),
        ("bench", "data", "--workers", "0", "--seconds", "0.01", "--shuffle", "window:N"),
        ("bench", "data", "--workers", "0", "--seconds", "0.01", "--batch-size", "N"),
    ],
    ids=" ".join,
)
def test_number_of_any_length_is_taken_or_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], digits: int
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_bytes(b"a\nb\n")
    with splitdata.SplitWriter("data") as writer:
        writer.write(b"a")

    result = invoke(*("9" * digits if one == "N" else one.replace("N", "9" * digits) for one in arguments))

    assert result.exit_code in (0, 2)
    if result.exit_code:
        assert_one_line(result)
    assert "Traceback" not in result.output


def test_what_is_loaded_later_is_loaded_before_the_working_folder_is_looked_at() -> None:
    from splitdata_cli import _import
    from tests.test_layering import imports_of, modules_of

    modules = [module for module in modules_of(ROOT) if not module.name.startswith("splitdata.interop")]
    later = {one.target for module in modules for one in imports_of(module) if one.is_deferred}
    # torch and pyarrow take long to load; while that folder is on the path no table is read, and no picture drawn.
    # `write` loads ray itself where it is asked for.
    optional = {"torch", "pyarrow", "PIL", "ray"}
    tops = {name.partition(".")[0] for name in later} - {"splitdata", "splitdata_cli"} - optional
    # Loaded with the library, or never outside of type checkers.
    loaded = set(sys.builtin_module_names) | {name.partition(".")[0] for name in sys.modules}
    known = {name.partition(".")[0] for name in _import._LOADED_LATER}

    assert tops - loaded - known - {"typing_extensions", "_typeshed", "_winapi"} == set()
    assert {"tqdm", "cloudpickle", "fcntl", "resource", "zoneinfo"} <= known
