"""Every command with a URL: it reads or writes what lies there, or refuses it in one line; no folder `s3:` is made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from splitdata import SplitDataLoader, SplitWriter, merge
from splitdata_cli.main import cli
from tests.stores import BUCKET_OPTIONS, bucket

URL = "s3://commands/sets/a"
SECRET = "wJalrXUtnFEMI-K7MDENG"
RECORDS = [b"%d" % number * 20 for number in range(50)]

# What each command does with a URL: its arguments, and what it then says.
TAKEN = {
    "info": (f"info {URL}", "50"),
    "schema": (f"schema {URL}", "no schemas"),
    "head": (f"head {URL} -n 2", "1111"),
    "cat": (f"cat {URL} 7 --key k8", "7777"),
    "export": (f"export {URL} out.jsonl --to files", "wrote 50 records"),
    "extract": (f"extract {URL} 3 out", "wrote 1 record"),
    "verify": (f"verify {URL}", "is intact"),
    "diff": (f"diff {URL} {URL}", "50 records the same"),
    "digest": (f"digest {URL}", ""),
    "copy": (f"copy {URL} out", "verified"),
    "copy to": ("copy local s3://commands/new", "verified"),
    "plan": (f"plan {URL} --world 2 --batch 2", "13 on each of 2 ranks"),
    "bench": (f"bench {URL} --workers 0 --seconds 0.01", "50 records"),
    "mix": (f"mix {URL}:1 --steps 3", URL),
    "filter": (f"filter {URL} out --where tests.cli.test_store_commands:is_short", "10 records"),
    "filter to": (f"filter {URL} s3://commands/new --where tests.cli.test_store_commands:is_short", "10 records"),
    "sample": (f"sample {URL} out -n 4", "4 records"),
    "sample to": ("sample local s3://commands/new -n 4", "4 records"),
    "rebin": (f"rebin {URL} out --bins 2", "50 records"),
    "rebin to": (f"rebin {URL} s3://commands/new --bins 2", "50 records"),
    "split": (f"split {URL} out --train 0.5 --val 0.5", "out/train"),
    "write": ("write a.txt s3://commands/new --verify", "is intact"),
    "write of many": ("write a.txt s3://commands/new --bins 3 --shuffle 1 --compression zstd", "wrote 3 records"),
    "dry write": ("write a.txt s3://commands/new --dry-run", "would write 3 records"),
    "dry append": (f"write a.txt {URL} --dry-run --append", "as positions 50 to 52"),
    "merge": ("merge local s3://commands/new", "50 records added"),
    "dry merge": ("merge local s3://commands/new --dry-run", "50 records would be added"),
}
REFUSED = {
    "repair": f"repair {URL}",
    "delete": f"delete {URL} 0",
    "compact": f"compact {URL}",
    "append": f"append local {URL}",
    "append of": f"append {URL} local",
    "merge of": f"merge {URL} out",
    "commit": f"commit {URL}",
    "write of": f"write {URL} out",
    "shard": f"write a.txt {URL} --shard 0/2",
    "resume": "write a.txt s3://commands/new --resume",
    "create": f"write a.txt {URL}",
    "dry create": f"write a.txt {URL} --dry-run",
    "split to": f"split local {URL} --train 0.5",
    "views": f"split {URL} out --train 0.5 --views",
    "export to": f"export local {URL} --to jsonl",
    "extract to": f"extract local 3 {URL}",
    "quarantine": f"write a.txt out --where tests.cli.test_store_commands:is_short --quarantine {URL}",
}


def is_short(record: bytes) -> bool:
    return len(record) < 40


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A bucket with a dataset, and its address."""
    pytest.importorskip("obstore")
    pytest.importorskip("localbucket")
    folder = tmp_path_factory.mktemp("buckets")
    with SplitWriter(folder / "commands" / "sets" / "a", bins=3, durability="none") as writer:
        writer.write_many(RECORDS, keys=[f"k{number}" for number in range(50)])
    with bucket(folder) as address:
        yield address, folder / "commands"


@pytest.fixture(autouse=True)
def here(served: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder with a source and a dataset; the keys are in the environment, where the store is not."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", BUCKET_OPTIONS["aws_access_key_id"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.delenv("AWS_ENDPOINT", raising=False)
    (tmp_path / "a.txt").write_bytes(b"a\nb\nc\n")
    with SplitWriter("local", bins=3, durability="none") as writer:
        writer.write_many(RECORDS)
    before = {path: path.stat().st_mtime_ns for path in (served[1] / "sets").rglob("*.json")}
    yield tmp_path
    assert {path: path.stat().st_mtime_ns for path in (served[1] / "sets").rglob("*.json")} == before
    for path in sorted((served[1] / "new").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


def run(line: str, address: str, timeout: str = "5") -> Result:
    options = [f"endpoint={address}", "region=us-east-1", f"timeout={timeout}"]
    return CliRunner().invoke(cli, [*line.split(), *(f"--store-option={option}" for option in options)])


def test_every_command_is_in_the_matrix() -> None:
    lines = [*(line for line, _ in TAKEN.values()), *REFUSED.values()]
    assert {line.split()[0] for line in lines} == set(cli.commands)


@pytest.mark.parametrize("case", TAKEN)
def test_url_is_read_or_written_with_the_options_of_the_store(case: str, served: tuple[str, Path]) -> None:
    line, said = TAKEN[case]
    result = run(line, served[0])
    assert result.exit_code == 0, result.output
    assert said in result.stdout
    assert SECRET not in result.output
    assert not Path("s3:").exists()
    if "s3://commands/new" in line and "--dry-run" not in line:
        assert list((served[1] / "new").glob("manifest.*.json"))


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_done_in_a_store_is_refused_in_a_line(case: str, served: tuple[str, Path]) -> None:
    line = REFUSED[case]
    before = sorted(Path().iterdir())
    has_option = line.split()[0] not in ("repair", "delete", "compact", "append", "commit")
    result = run(line, served[0]) if has_option else CliRunner().invoke(cli, line.split())
    assert result.exit_code == 2
    assert "s3://commands/" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert sorted(Path().iterdir()) == before


def test_records_that_are_written_are_read_back_and_added_to_and_replaced(served: tuple[str, Path]) -> None:
    def records() -> list[bytes]:
        with SplitDataLoader(served[1] / "new") as loader:
            return loader[:]

    assert run("write a.txt s3://commands/new", served[0]).exit_code == 0
    assert records() == [b"a", b"b", b"c"]
    assert run("write a.txt s3://commands/new", served[0]).exit_code == 2
    appended = run("write a.txt s3://commands/new --append", served[0])
    assert "as positions 3 to 5" in appended.stdout
    assert records() == [b"a", b"b", b"c"] * 2
    Path("b.txt").write_bytes(b"d\n")
    assert run("write b.txt s3://commands/new --overwrite", served[0]).exit_code == 0
    assert records() == [b"d"]


def test_samples_are_not_mixed_with_records_in_a_store(served: tuple[str, Path]) -> None:
    Path("a.jsonl").write_text('{"x": 1}\n')
    assert run("write a.jsonl s3://commands/new --typed", served[0]).exit_code == 0
    result = run("write a.txt s3://commands/new --append", served[0])
    assert result.exit_code == 2
    assert "s3://commands/new holds samples" in result.stderr


def test_source_that_fails_leaves_nothing_in_the_store(served: tuple[str, Path]) -> None:
    Path("bad.jsonl").write_text('{"x": 1}\n{')
    result = run("write bad.jsonl s3://commands/new --typed", served[0])
    assert result.exit_code == 2
    assert not list((served[1] / "new").rglob("*.*"))


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (f"secret_access_key={SECRET}", "secret_access_key of stores is secret"),
        (f"endpoint=http://me:{SECRET}@host", "endpoint of stores is secret"),
        (f"regoin={SECRET}", "regoin of stores is secret, or there is none of this name"),
        (SECRET, "NAME=VALUE"),
        (f"timeout={SECRET}", "number of seconds"),
        ("timeout=0", "more than 0"),
    ],
)
def test_bad_option_of_a_store_is_refused_and_its_value_not_shown(option: str, said: str) -> None:
    result = CliRunner().invoke(cli, ["info", URL, "--store-option", option])
    assert result.exit_code == 2
    assert said in result.stderr
    assert SECRET not in result.output


def test_store_that_is_gone_is_an_error_after_the_timeout() -> None:
    result = run("write a.txt s3://commands/new", "http://127.0.0.1:9", timeout="0.05")
    assert result.exit_code == 2
    assert "s3://commands/new" in result.stderr
    assert "failed" in result.stderr
    assert SECRET not in result.output


def test_web_server_is_not_written_to(served: tuple[str, Path]) -> None:
    for line in (f"write a.txt {served[0]}/commands/new", f"copy local {served[0]}/commands/new"):
        result = CliRunner().invoke(cli, line.split())
        assert result.exit_code == 2
        assert "is only read" in result.stderr


def test_merge_is_of_a_url_that_a_function_takes_too(served: tuple[str, Path]) -> None:
    options = BUCKET_OPTIONS | {"endpoint": served[0]}
    report = merge(["local", "local"], "s3://commands/new", storage_options=options)
    assert report.num_records == 100
    assert SplitDataLoader("s3://commands/new", storage_options=options)[:] == RECORDS * 2
