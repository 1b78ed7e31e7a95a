"""Values of samples as verdicts show them: README.md has the table."""

from __future__ import annotations

import datetime
from struct import pack
from typing import Any, Final

import numpy as np

__all__ = ["shown_sample"]

_NO_FIELDS: Final[dict[str, Any]] = {}
_MICROSECOND: Final = datetime.timedelta(microseconds=1)


def shown_sample(value: Any) -> Any:
    """Return a decoded sample in the form of a verdict; of a class without `types=` it is a tuple or a dictionary."""
    # Before texts and numbers: some of these are such, too.
    if isinstance(value, np.generic):
        return {"scalar": value.tobytes().hex(), "type": _type_of(value.dtype)}
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, dict):
        return {
            "dict": [
                [key if isinstance(key, str) else {"int": str(key)}, shown_sample(one)] for key, one in value.items()
            ]
        }
    if isinstance(value, (list, tuple)):
        return {"list" if isinstance(value, list) else "tuple": [shown_sample(one) for one in value]}
    if isinstance(value, (datetime.date, datetime.timedelta)):
        return _moment(value)
    return _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, int):
        return {"int": str(value)}
    if isinstance(value, float):
        return {"float": pack(">d", value).hex()}
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    # A tensor is shown as the array that it is.
    array = value if isinstance(value, np.ndarray) else value.numpy()
    return {"array": array.tobytes().hex(), "type": _type_of(array.dtype), "shape": list(array.shape)}


def _type_of(dtype: np.dtype[Any]) -> Any:
    if dtype.names is None:
        return dtype.str
    fields = []
    for name in dtype.names:
        kind, offset = (dtype.fields or _NO_FIELDS)[name][:2]
        fields.append([offset, name, list(kind.shape), _type_of(kind.base)])
    return {"size": dtype.itemsize, "fields": fields}


def _moment(value: datetime.date | datetime.timedelta) -> Any:
    if isinstance(value, datetime.timedelta):
        return {"timedelta": [value.days, value.seconds * 1_000_000 + value.microseconds]}
    if not isinstance(value, datetime.datetime):
        return {"date": value.toordinal()}
    wall = (value.replace(tzinfo=None, fold=0) - datetime.datetime.min) // _MICROSECOND
    shown: dict[str, Any] = {"datetime": str(wall), "fold": value.fold}
    zone, offset = value.tzinfo, value.utcoffset()
    if zone is None or offset is None:
        return shown
    shown["offset"] = offset // _MICROSECOND
    if isinstance(zone, datetime.timezone):
        # What else it was made of: a name, if it was given one.
        _, *names = zone.__getinitargs__()  # type: ignore[attr-defined]  # which pickle calls
        return shown | {"name": names[0] if names else ""}
    return shown | {"zone": zone.key}  # type: ignore[attr-defined]  # ZoneInfo has one
