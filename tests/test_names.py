"""Every module is found under its own name: nothing public is called as a package or module beside it.

import splitdata.a.b       then splitdata.a.b is that module, and not a function of the same name
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from functools import reduce

import splitdata

MODULES = sorted(found.name for found in pkgutil.walk_packages(splitdata.__path__, "splitdata."))


def test_every_module_is_reached_from_the_package_by_its_own_name() -> None:
    assert "splitdata.conversion.convert" in MODULES
    for name in MODULES:
        importlib.import_module(name)

    hidden = [name for name in MODULES if reduce(getattr, name.split(".")[1:], splitdata) is not sys.modules[name]]

    assert hidden == []


def test_room_of_conversions_is_imported_whole_and_under_another_name() -> None:
    import splitdata.conversion.sources.choose as chosen

    assert chosen.open_source is splitdata.open_source
    assert splitdata.convert.__module__ == "splitdata.conversion.convert"
