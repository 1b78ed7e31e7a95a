"""`splitdata write module:function --from callable`: what is yielded is bytes, or an error that names the record.

Each kind of value through each way of writing: as it comes, shuffled, tried out, resumable.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from splitdata import SplitDataLoader
from splitdata_cli.main import cli

WAYS: dict[str, list[str]] = {
    "plain": [],
    "shuffled": ["--shuffle", "1"],
    "tried out": ["--dry-run"],
    "resumable": ["--resume"],
    "compressed": ["--compression", "zstd", "--dictionary"],
}
# What is yielded behind a record, and what the message says.
REFUSED: dict[str, tuple[str, str]] = {
    "text": ("'text'", "encode text first"),
    "numpy's text": ("np.str_('text')", "encode it first"),
    "array of text": ("np.array(['a', 'bc'])", "encode it first"),
    "array of objects": ("np.array([b'a', None], dtype=object)", "holds addresses"),
    "structure with objects": ("np.zeros(2, dtype=[('a', 'i4'), ('b', 'O')])", "holds addresses"),
    "pointer": ("ctypes.pointer(ctypes.c_int(7))", "holds addresses"),
    "array of pointers": ("(ctypes.c_char_p * 2)(b'a', b'b')", "holds addresses"),
    "dict": ("{'image': b'a'}", "write_sample"),
    "number": ("7", "not int"),
    "nothing": ("None", "not NoneType"),
    "path": ("pathlib.Path('a')", "open(path, 'rb')"),
    "file at its end": ("at_end()", "seek(0)"),
    "text file": ("io.StringIO('text')", "binary mode"),
}
TAKEN: dict[str, tuple[str, bytes]] = {
    "bytearray": ("bytearray(b'ab')", b"ab"),
    "view": ("memoryview(b'abcd')[::2]", b"ac"),
    "array of numbers": ("np.array([[1, 2], [3, 4]], dtype='<u2').T", b"\x01\0\x03\0\x02\0\x04\0"),
    "array of bytes": ("np.array([b'a', b'bc'])", b"a\0bc"),
    "ctypes": ("(ctypes.c_uint8 * 3)(1, 2, 3)", b"\x01\x02\x03"),
    "file": ("io.BytesIO(b'ab')", b"ab"),
    "empty file": ("io.BytesIO()", b""),
    "large file": ("io.BytesIO(b'0123456789' * 300_000)", b"0123456789" * 300_000),
}
_numbers = itertools.count()


def write_yielded(expression: str, folder: Path, *options: str) -> Result:
    """Run `splitdata write` on a function that yields b"first" and a value, in a module of its own."""
    name = f"module_that_yields_{next(_numbers)}"
    (folder / f"{name}.py").write_text(
        "import ctypes, io, pathlib\nimport numpy as np\n"
        "def at_end():\n    file = io.BytesIO()\n    file.write(b'an image')\n    return file\n"
        f"def records():\n    yield b'first'\n    yield {expression}\n"
    )
    arguments = ["write", f"{name}:records", str(folder / "data"), "--from", "callable", *options]
    return CliRunner().invoke(cli, arguments)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("value", REFUSED)
def test_value_that_is_no_bytes_is_refused_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, way: str
) -> None:
    monkeypatch.chdir(tmp_path)
    expression, reason = REFUSED[value]

    result = write_yielded(expression, tmp_path, *WAYS[way])

    assert result.exit_code == 2
    assert reason in result.stderr
    assert result.stderr.count("\n") == 1
    assert "record 1 of module_that_yields_" in result.stderr
    if way != "resumable":
        assert not list(tmp_path.glob("data/manifest*"))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("value", TAKEN)
def test_value_that_is_bytes_is_stored_as_its_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, way: str
) -> None:
    monkeypatch.chdir(tmp_path)
    expression, data = TAKEN[value]

    result = write_yielded(expression, tmp_path, *WAYS[way])

    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith(("wrote 2 records, ", "would write 2 records, "))
    if way != "tried out":
        with SplitDataLoader(tmp_path / "data") as loader:
            assert sorted(loader) == sorted([b"first", data])
