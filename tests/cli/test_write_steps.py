"""`splitdata write --where --transform --on-error`: functions of the user's, imported only because they are named."""

from __future__ import annotations

from pathlib import Path

from tests.command import run_cli
from tests.dataset.disk import read

MODULE = """
def is_long(record):
    return len(record) > 1

def number(record):
    return b"%d" % int(record)
"""


def test_functions_of_the_working_folder_choose_and_change_records(tmp_path: Path) -> None:
    (tmp_path / "steps_of_a_user.py").write_text(MODULE)
    (tmp_path / "a.txt").write_bytes(b"1\n02\n003\nxy\n")
    (tmp_path / "b.txt").write_bytes(b"04\n")
    command = ["write", "a.txt", "data", "--where", "steps_of_a_user:is_long", "--transform", "steps_of_a_user:number"]

    failed = run_cli(*command, cwd=tmp_path)
    left_out = run_cli(*command[:2], "b.txt", "--workers", "2", *command[2:], "--quarantine", "aside", cwd=tmp_path)

    assert failed.returncode == 2
    assert "ValueError: invalid literal" in failed.stderr
    assert "in record 3 of the source" in failed.stderr
    assert (left_out.returncode, left_out.stderr) == (0, "")
    assert "left out: 1 filtered record, 1 failed record" in left_out.stdout
    assert read(tmp_path / "data") == [b"2", b"3", b"4"]
    assert (tmp_path / "aside" / "000000000003.record").read_bytes() == b"xy"


def test_options_that_need_a_function_are_refused_without_one(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"1\n")

    done = run_cli("write", "a.txt", "data", "--on-error", "skip", cwd=tmp_path)
    unknown = run_cli("write", "a.txt", "data", "--transform", "json:nothing", cwd=tmp_path)

    assert (done.returncode, unknown.returncode) == (2, 2)
    assert "give one" in done.stderr
    assert "there is no nothing in json" in unknown.stderr
    assert not (tmp_path / "data").exists()


def test_schema_is_enforced_and_stands_in_the_dataset(tmp_path: Path) -> None:
    (tmp_path / "steps_of_a_user.py").write_text(
        "def sample(record):\n    return {'n': int(record) if record != b'x' else 'x'}\n"
    )
    (tmp_path / "a.txt").write_bytes(b"1\n2\n")
    (tmp_path / "b.txt").write_bytes(b"1\nx\n")
    (tmp_path / "schema.json").write_text('{"n": "int"}')
    options = ["--transform", "steps_of_a_user:sample", "--schema"]

    done = run_cli("write", "a.txt", "data", *options, "schema.json", cwd=tmp_path)
    refused = run_cli("write", "b.txt", "other", *options, '{"n": "int"}', cwd=tmp_path)
    wrong = run_cli("write", "b.txt", "other", *options, '{"n": ', cwd=tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    assert run_cli("schema", "data", cwd=tmp_path).stdout == "{'n': int}\n"
    assert refused.returncode == 2
    assert "record 1" in refused.stderr
    assert '["n"]' in refused.stderr
    assert "no JSON" in wrong.stderr
    assert not (tmp_path / "other").exists()
