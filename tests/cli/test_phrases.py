"""Messages on the command line name its own options, never Python's, and no advice that only Python can follow.

Two ways to make sure: every advice in the source of the library is translated, and commands that fail are read.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from splitdata import SplitDataLoader, SplitWriter
from splitdata_cli._phrases import in_options
from splitdata_cli.main import cli
from tests.command import ROOT

# mode='append', follow_links=True, kind=, repair(...)
PYTHON = re.compile(r"(?<![\w/])[a-z_]+=(?:'[^']*'|True|False|None|[\s,);.]|$)|(?<![\w/])[a-z_]+\([^)]*=")
# What no command calls, or calls with what is right.
NOT_REACHED = frozenset({"interop", "compat"})
NOT_REACHED_MODULES = frozenset(
    {
        "cache_options.py",
        "device.py",
        "distributed_loader.py",
        "epoch_order.py",
        "launch.py",
        "loader_options.py",
        "option_groups.py",
        "pool.py",
        "resolved_options.py",
        "rotation_options.py",
        "runtime.py",
        "skips.py",
        "split_data.py",
        "stats.py",
        # Advice to one who writes the loop, which `bench` reports and does not fail with.
        "verdict.py",
        "world.py",
    }
)


def messages_of(path: Path) -> Iterator[str]:
    """Yield the texts in a module that are no docstrings; what is put in is shown as "7"."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            values = (part.value if isinstance(part, ast.Constant) else "7" for part in node.values)
            yield "".join(map(str, values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts | documentation:
            yield node.value


def test_every_advice_of_the_library_is_said_in_options() -> None:
    left = []
    num_found = 0
    for path in sorted((ROOT / "splitdata").rglob("*.py")):
        if path.name in NOT_REACHED_MODULES or NOT_REACHED & set(path.parts):
            continue
        for message in messages_of(path):
            if " " in message and PYTHON.search(message):
                num_found += 1
                if PYTHON.search(said := in_options(f"x is wrong; {message}")):
                    left.append(f"{path.relative_to(ROOT)}: {said}")

    assert num_found > 10
    assert left == []


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("mode='append' adds to it, mode='overwrite' replaces it", "--append adds to it, --overwrite replaces it"),
        ("say which: kind='lines', 'jsonl', or 'files' for one", "say which: --from lines, jsonl, or files for one"),
        ("kind='splitdataloader' with from_bins=True takes it", "--from splitdataloader with --from-bins takes it"),
        ("where it cannot, durability='none' is a way", "where it cannot, --durability none is a way"),
        ("delimiter=';' divides it", "--delimiter ';' divides it"),
        ("(quotes=False)", "(--no-quotes)"),
        ("repair(path, adopt=True) takes it in", "`splitdata repair --adopt` takes it in"),
        ("record 7 is damaged; RecordOptions(on_error='skip') would replace bad records", "record 7 is damaged"),
        (
            "cannot be pickled, or use start_method='fork'. Nothing was started.",
            "cannot be pickled. Nothing was started.",
        ),
        # Paths that look alike.
        ("/data/year=2020/limit=7/a.csv is damaged", "/data/year=2020/limit=7/a.csv is damaged"),
        ("mode=7/a.csv is damaged", "mode=7/a.csv is damaged"),
        ("bins=7/a.csv is damaged", "bins=7/a.csv is damaged"),
    ],
)
def test_advice_is_said_in_options_and_paths_stay(message: str, said: str) -> None:
    assert in_options(message) == said


# -- commands that fail --------------------------------------------------------------------------


def dataset(name: str = "data") -> Path:
    with SplitWriter(name, bins=2) as writer:
        writer.write_many([b"%d" % number * 9 for number in range(20)])
    return Path(name)


def typed() -> None:
    with SplitWriter("data") as writer:
        writer.write_sample({"a": 1})


def damaged_record() -> None:
    path = next(dataset().rglob("000001.bin"))
    data = path.read_bytes()
    path.write_bytes(data.replace(b"3" * 9, b"x" * 9))


def without_manifest() -> None:
    for path in dataset().glob("manifest*"):
        path.unlink()


def with_damaged_manifest() -> None:
    max(dataset().glob("manifest*")).write_bytes(b"{}")


def foreign_folder() -> None:
    Path("data").mkdir()
    Path("data/mine.txt").write_bytes(b"mine")


def bad_transform() -> None:
    dataset()
    Path("bad_transform_of_phrases.py").write_text("def bad(record):\n    raise RuntimeError('bad')\n")


FAILURES: dict[str, tuple[Callable[[], object] | None, str]] = {
    "write onto a dataset": (dataset, "write a.txt data"),
    "write onto a dataset, tried out": (dataset, "write a.txt data --dry-run"),
    "write onto a foreign folder": (foreign_folder, "write a.txt data"),
    "overwrite a foreign folder": (foreign_folder, "write a.txt data --overwrite"),
    "append to a foreign folder": (foreign_folder, "write a.txt data --append"),
    "write where a writer has begun": (without_manifest, "write a.txt data"),
    "append where a manifest is lost": (without_manifest, "write a.txt data --append"),
    "append bytes to samples": (typed, "write a.txt data --append"),
    "append behind a damaged manifest": (with_damaged_manifest, "write a.txt data --append"),
    "resume what did not begin so": (dataset, "write a.txt data --resume"),
    "resume standard input": (None, "write - data --resume"),
    "resume and append": (None, "write a.txt data --resume --append"),
    "unknown kind": (None, "write a.unknown data"),
    "several kinds": (None, "write a.txt a.csv data"),
    "dictionary without compression": (None, "write a.txt data --dictionary"),
    "validation of text": (None, "write a.txt data --validate"),
    "columns of text": (None, "write a.txt data --column a"),
    "bins of text": (None, "write a.txt data --from-bins"),
    "keys of text": (None, "write a.txt data --prefix-keys"),
    "links of text": (None, "write a.txt data --follow-links"),
    "bad delimiter": (None, "write a.csv data --delimiter ;;"),
    "bad encoding": (None, "write a.csv data --encoding nothing"),
    "another delimiter": (None, "write a.csv data"),
    "into itself": (None, "write folder folder/data"),
    "the same key twice": (None, "write folder folder data"),
    "a file as destination": (None, "write a.txt a.csv/data"),
    "a URL": (None, "write a.txt hdfs://bucket/data"),
    "resuming at a URL": (None, "write a.txt s3://bucket/data --resume"),
    "a missing module": (None, "write nothing_of_that_name:records data"),
    "info of nothing": (None, "info data"),
    "info of a damaged manifest": (with_damaged_manifest, "info data"),
    "info without a manifest": (without_manifest, "info data"),
    "info of another generation": (dataset, "info data --generation 99"),
    "head of a foreign folder": (foreign_folder, "head data"),
    "cat of a damaged record": (damaged_record, "cat data 0 1 2 3 4 5 6 7"),
    "cat out of range": (dataset, "cat data 99"),
    "cat of a key that is not there": (dataset, "cat data --key nothing"),
    "verify without a manifest": (without_manifest, "verify data"),
    "repair of nothing": (None, "repair data"),
    "repair of a foreign folder": (foreign_folder, "repair data"),
    "bench of nothing": (None, "bench data"),
    "bench of an unknown order": (dataset, "bench data --shuffle nothing"),
    "bench of a bad transform": (bad_transform, "bench data --transform bad_transform_of_phrases:bad --workers 0"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_command_that_fails_names_no_option_of_python(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, data in {"a.txt": b"a\n", "a.csv": b"a;b\n", "a.unknown": b"", "folder/1": b"1"}.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(data)
    prepare, line = FAILURES[case]
    if prepare:
        prepare()

    result = CliRunner().invoke(cli, line.split())

    assert result.exit_code in (1, 2)
    assert result.stderr.startswith("splitdata: error: ")
    assert result.stderr.count("\n") == 1
    assert PYTHON.search(result.stderr) is None, result.stderr


def test_way_out_of_an_existing_dataset_is_named_and_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_bytes(b"a\n")
    dataset()

    message = CliRunner().invoke(cli, ["write", "a.txt", "data"]).stderr

    assert message.endswith("--append adds to it, --overwrite replaces it\n")
    assert CliRunner().invoke(cli, ["write", "a.txt", "data", "--append"]).exit_code == 0
    assert len(SplitDataLoader("data")) == 21
    assert CliRunner().invoke(cli, ["write", "a.txt", "data", "--overwrite"]).exit_code == 0
    assert len(SplitDataLoader("data")) == 1
