"""Records of a killed conversion that a repair adopted: going on with it would double them, so it is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from splitdata import SplitDataLoader, SplitWriter, StateMismatchError, convert, repair
from splitdata.conversion import conversion_log
from splitdata.conversion.sources.text.lines import LineSource
from tests.dataset.record_kinds import kill, tree_of

LINES = [b"line %d of a text" % number for number in range(60)]


@pytest.mark.parametrize("commit_bytes", [100, 1 << 20], ids=["behind some commits", "before any"])
def test_conversion_behind_adopted_records_is_refused_and_nothing_doubled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commit_bytes: int
) -> None:
    source, dest = tmp_path / "a.txt", tmp_path / "data"
    source.write_bytes(b"\n".join(LINES) + b"\n")
    real = LineSource._lines_from

    def failing(lines: LineSource, *arguments: object) -> Iterator[bytes]:
        for number, line in enumerate(real(lines, *arguments)):  # type: ignore[arg-type]
            if number == 40:
                raise KeyboardInterrupt
            yield line

    with monkeypatch.context() as patch:
        patch.setattr(conversion_log, "_COMMIT_BYTES", commit_bytes)
        patch.setattr(LineSource, "_lines_from", failing)
        patch.setattr(SplitWriter, "abort", kill)
        with pytest.raises(KeyboardInterrupt):
            convert(source, dest, resume=True)
    before = tree_of(dest)
    assert repair(dest).num_adoptable > 0
    assert tree_of(dest) == before
    assert repair(dest, adopt=True).num_records == 40
    adopted = tree_of(dest)

    with pytest.raises(StateMismatchError, match="would be written twice"):
        convert(source, dest, resume=True)

    assert tree_of(dest) == adopted
    with SplitDataLoader(dest) as loader:
        assert list(loader) == LINES[:40]
    convert(source, dest, mode="overwrite")
    with SplitDataLoader(dest) as loader:
        assert list(loader) == LINES
