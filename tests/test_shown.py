"""What others have written, in messages: never long, whoever shows it."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from splitdata import SplitDataError, SplitWriter, open_source
from splitdata._shown import one_line, shown
from splitdata.samples.collate import collate
from tests.command import ROOT

LONG = "x" * 1_000_000


def nested(depth: int) -> list[Any]:
    """Return lists in each other, deeper than Python writes them out."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [LONG, LONG.encode(), [LONG], {LONG: 1}, 10**5000, nested(5000)],
    ids=["text", "bytes", "list", "dict", "number", "nested"],
)
def test_any_value_is_shown_in_some_hundred_characters(value: object) -> None:
    assert len(shown(value)) < 300


@pytest.mark.parametrize("value", ["a\n", b"\xff", 1.5, None, {"a": [1]}])
def test_short_value_is_shown_as_python_writes_it(value: object) -> None:
    assert shown(value) == repr(value)


@pytest.mark.parametrize(("text", "column"), [(f"{LONG}\n1\n", "b"), (f"{LONG},{LONG}\n1,2\n", None)], ids="12")
def test_columns_of_any_length_make_no_long_message(tmp_path: Path, text: str, column: str | None) -> None:
    (tmp_path / "a.csv").write_text(text)

    with pytest.raises(SplitDataError) as caught:
        list(open_source(tmp_path / "a.csv", column=column))
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("path", ["b/" * 1_000_000, f"s3://{LONG}", f"~{LONG}"], ids=["path", "URL", "home"])
@pytest.mark.parametrize("kind", ["files", "lines"])
def test_path_in_a_list_that_is_longer_than_any_makes_no_long_message(
    tmp_path: Path, path: str, kind: Any
) -> None:  # one of the kinds
    (tmp_path / "list").write_text(f"{path}\n")

    with pytest.raises((SplitDataError, OSError)) as caught:
        list(open_source(f"@{tmp_path / 'list'}", kind=kind))
    assert len(str(caught.value)) < 10_000


def test_keys_of_samples_make_no_long_message() -> None:
    with pytest.raises(ValueError, match="has the key") as caught:
        collate([{LONG: 1}, {}])
    assert len(str(caught.value)) < 1000
    with pytest.raises(TypeError, match="cannot be batched") as refused:
        collate([{LONG: {"a": object()}}])
    assert len(str(refused.value)) < 1000


def test_codec_that_metadata_name_makes_no_long_message(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="codec must be") as caught:
        SplitWriter(tmp_path / "data", metadata={"record_codec": LONG[:500_000]})
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain é 日", "plain é 日"),
        ("two\nlines", r"two\nlines"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\u202eright to left", r"\u202eright to left"),
        ("\udcff", r"\udcff"),
        (OSError(2, "no such file", "a\rb"), r"[Errno 2] no such file: 'a\rb'"),
    ],
)
def test_line_of_a_log_shows_what_does_not_print(text: object, line: str) -> None:
    assert one_line(text) == line


# What a line of a log shows beside numbers that is not foreign: our own words, stacks of threads, torch's version.
OURS = {"where", "worker.name", "worker.progress()", "world", "reason", "error.strerror", "torch.__version__"} | {
    "_name_of(stuck[0], threads[stuck[0]])",
    "_stack_of(threads[stuck[0]])",
    "self.timeout",
}


def test_every_line_of_a_log_escapes_what_is_foreign() -> None:
    found = []
    for path in sorted((ROOT / "splitdata").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id="_log" | "_logger"), attr=level), args=[text, *rest]
                ):
                    if level in ("isEnabledFor", "setLevel"):
                        continue
                    assert isinstance(text, ast.Constant), f"{path}:{node.lineno}: a text that is put together"
                    kinds = re.findall(r"%(?:\.\d+)?([a-z])", str(text.value))
                    shown_as = [ast.unparse(one) for kind, one in zip(kinds, rest, strict=True) if kind == "s"]
                    found += [(path, node.lineno, one) for one in shown_as if one not in OURS]

    assert len(found) > 10
    assert [one for one in found if not one[2].startswith(("one_line(", "shown("))] == []


def test_writer_that_is_dropped_is_named_on_one_line(tmp_path: Path) -> None:
    writers = [SplitWriter(tmp_path / "odd\nname")]
    writers[0].write(b"lost")
    with pytest.warns(ResourceWarning) as caught:
        writers.clear()

    (message,) = [str(one.message) for one in caught if "SplitWriter" in str(one.message)]
    assert r"odd\nname" in message
    assert message.isprintable()
