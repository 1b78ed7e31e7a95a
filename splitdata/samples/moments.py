"""Dates and times from their numbers in a table.

A key comes from data, so it never decides what is imported, as it would within ZoneInfo: a zone that the machine has
no file of is looked up in the package tzdata, by the name of a module, wherever a package of that name lies.

    wall clock    microseconds since 0001-01-01 00:00 of the clock on the wall, and fold
    offset        microseconds east of UTC
    zone          key in the IANA database of the machine; where it does not know it, the stored offset under its name
"""

from __future__ import annotations

import functools
import re
import sys
from datetime import datetime, timedelta, timezone, tzinfo
from pathlib import Path
from typing import Final

from splitdata.errors import FormatError

__all__ = ["moment", "offset_zone", "zone"]

_MICROSECOND: Final = timedelta(microseconds=1)
_MICROSECONDS_OF_DAY: Final = 86_400_000_000
# What the database's own names are made of: the key becomes a part of a path there.
_ZONE_KEY: Final = re.compile(r"[A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+)*")
_MAX_ZONE_KEY: Final = 255


def moment(wall: int, fold: int, zone: tzinfo | None) -> datetime:
    """Return a date and time.

    Raises:
        OverflowError, ValueError: If it is beyond the years that Python has.
        FormatError: If `fold` is neither 0 nor 1.
    """
    if fold > 1:
        raise FormatError(f"a sample has a datetime with fold {fold}")
    return (datetime.min + wall * _MICROSECOND).replace(fold=fold, tzinfo=zone)


def offset_zone(offset: int, name: str) -> timezone:
    """Return a fixed distance from UTC, with a name unless that is empty."""
    distance = offset * _MICROSECOND
    return timezone(distance, name) if name else timezone(distance)


def zone(offset: int, key: str) -> tzinfo:
    """Return the time zone with a key, or where it is unknown the offset that it had."""
    if len(key) > _MAX_ZONE_KEY or not _ZONE_KEY.fullmatch(key):
        raise FormatError("a sample has a datetime in a time zone whose key is invalid")
    if abs(offset) >= _MICROSECONDS_OF_DAY:
        raise FormatError(f"a sample has a datetime {offset} microseconds east of UTC")
    import zoneinfo

    folders = zoneinfo.TZPATH
    package = sys.modules.get("tzdata")
    if package is not None and package.__file__:
        # A program that has imported it, as is needed on Windows, means it.
        folders += (str(Path(package.__file__).with_name("zoneinfo")),)
    try:
        return zoneinfo.ZoneInfo(key) if _has_zone(folders, key) else offset_zone(offset, key)
    except (KeyError, ValueError, OSError):
        return offset_zone(offset, key)


@functools.lru_cache(maxsize=1024)
def _has_zone(folders: tuple[str, ...], key: str) -> bool:
    """Say whether one of some folders has a file for a zone: then that is what is opened."""
    return any(Path(folder, key).is_file() for folder in folders)
