"""Time zones of samples: a key names a file of this machine's database, and never what is imported.

ZoneInfo itself looks for a zone without a file in the package tzdata, by the name of a module that the key makes up.
"""

from __future__ import annotations

import struct
import sys
import zoneinfo
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from splitdata import FormatError, decode_sample, encode_sample
from splitdata.samples import sample_spec

BERLIN = datetime(2026, 7, 1, 12, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"))


def sample_in(key: str) -> bytes:
    """Return a sample that is a datetime in a zone, two hours east of UTC."""
    head = (
        sample_spec.SAMPLE_MAGIC
        + bytes([sample_spec.SAMPLE_VERSION])
        + struct.pack("<IB", 1, sample_spec.KIND_DATETIME_ZONE)
    )
    wall = (datetime(2026, 7, 1, 12) - datetime.min) // timedelta(microseconds=1)
    data = key.encode()
    return head.ljust(16, b"\0") + struct.pack("<QqQq", len(data), wall, 0, 7_200_000_000) + data


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package tzdata first on the path, which says so when it is imported; it has Europe/Berlin alone."""
    for folder in ("tzdata", "tzdata/zoneinfo", "tzdata/zoneinfo/Europe", "tzdata/zoneinfo/Planted"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'a').close()\n")
    for root in map(Path, zoneinfo.TZPATH):
        if (root / "Europe/Berlin").is_file():
            (tmp_path / "tzdata/zoneinfo/Europe/Berlin").write_bytes((root / "Europe/Berlin").read_bytes())
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "tzdata"]:
        monkeypatch.delitem(sys.modules, name)
    return tmp_path


@pytest.fixture
def without_database(planted: Path) -> Iterator[None]:
    """A system that has no files of zones, as Windows; but for those in the package."""
    before = zoneinfo.TZPATH
    zoneinfo.reset_tzpath(to=())
    zoneinfo.ZoneInfo.clear_cache()
    yield
    zoneinfo.reset_tzpath(to=before)
    zoneinfo.ZoneInfo.clear_cache()


@pytest.mark.parametrize(
    "key", ["Moon/Basin", "Planted/Zone", "Europe", "Europe/Nowhere", "zone1970", "tzdata", "a/b/c/d"]
)
def test_zone_that_is_not_known_keeps_its_offset_and_imports_nothing(planted: Path, key: str) -> None:
    found = decode_sample(sample_in(key))

    assert (found.utcoffset(), found.tzname()) == (timedelta(hours=2), key)
    assert not (planted / "imported").exists()


@pytest.mark.parametrize("key", ["../etc", "/etc/passwd", "a//b", "a/", "", ".", "a.b", "Europe/../x", "é", "a" * 256])
def test_key_that_is_none_is_refused_and_imports_nothing(planted: Path, key: str) -> None:
    with pytest.raises(FormatError, match="time zone whose key is invalid"):
        decode_sample(sample_in(key))
    assert not (planted / "imported").exists()


def test_known_zone_is_that_of_the_machine(planted: Path) -> None:
    assert decode_sample(encode_sample(BERLIN)).tzinfo is zoneinfo.ZoneInfo("Europe/Berlin")
    assert not (planted / "imported").exists()


@pytest.mark.usefixtures("without_database")
def test_package_of_zones_is_used_where_the_program_has_imported_it_and_only_there(planted: Path) -> None:
    assert decode_sample(sample_in("Europe/Berlin")).tzinfo == timezone(timedelta(hours=2), "Europe/Berlin")
    assert not (planted / "imported").exists()

    import tzdata  # type: ignore[import-not-found, import-untyped, unused-ignore]  # the planted one

    assert tzdata.__file__ == str(planted / "tzdata/__init__.py")
    found = decode_sample(sample_in("Europe/Berlin"))
    assert isinstance(found.tzinfo, zoneinfo.ZoneInfo)
    assert found == BERLIN
    (planted / "imported").unlink()
    for key in ("Planted/Zone", "Planted"):
        assert decode_sample(sample_in(key)).tzname() == key
    assert not (planted / "imported").exists()
