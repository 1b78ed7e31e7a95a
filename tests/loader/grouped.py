"""Options of a loader by their own names, wherever DistributedLoader takes them: so that tests can merge them."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from splitdata.loader.option_groups import OrderOptions, RecordOptions, WorkerOptions

__all__ = ["grouped"]


def grouped(**options: Any) -> dict[str, Any]:  # of any type
    """Return what DistributedLoader takes: options of workers, order and records become one each."""
    for name, group in (("workers", WorkerOptions), ("order", OrderOptions), ("records", RecordOptions)):
        inner = {field.name: options.pop(field.name) for field in fields(group) if field.name in options}
        if inner:
            options[name] = group(**inner)
    return options
