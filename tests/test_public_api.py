"""The public door: what `import splitdata` promises, and that every error survives a pickle."""

from __future__ import annotations

import ast
import copy
import inspect
import pickle
import types
from collections.abc import Callable
from typing import Any

import pytest

import splitdata
from splitdata import errors

FIELD_VALUES: dict[str, Any] = {
    "path": "data/train",
    "offset": 4096,
    "position": 7,
    "bin_index": 3,
    "key": "a/b.jpg",
    "field": 'sample["image"]',
    "record": 7,
    "numbers": (3, 7),
    "worker_id": 2,
    "pid": 12345,
    "num_skipped": 12,
    "exit_code": -9,
    "items_received": 41,
    "stack": 'File "transform.py", line 3, in load',
}

COPIES: dict[str, Callable[[errors.SplitDataError], errors.SplitDataError]] = {
    "oldest protocol": lambda error: pickle.loads(pickle.dumps(error, 0)),
    "newest protocol": lambda error: pickle.loads(pickle.dumps(error, pickle.HIGHEST_PROTOCOL)),
    "copy": copy.copy,
}


def fields_taken_by(error_class: type[errors.SplitDataError]) -> list[inspect.Parameter]:
    """Return the keyword-only parameters with which an error is made."""
    # The constructor of a class without one of its own is builtin: it can be asked, the class cannot.
    parameters = inspect.signature(error_class.__init__).parameters.values()
    return [parameter for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]


def make_error(name: str, *, with_options: bool) -> errors.SplitDataError:
    """Make an error by its class's name; its optional fields are given or left out."""
    error_class = getattr(errors, name)
    wanted = [field for field in fields_taken_by(error_class) if with_options or field.default is field.empty]
    fields = {field.name: FIELD_VALUES[field.name] for field in wanted}
    error: errors.SplitDataError = error_class("record 7 is damaged", **fields)
    return error


def fields_of(error: errors.SplitDataError) -> dict[str, Any]:
    """Return everything that a caller can read from an error."""
    system = {name: getattr(error, name, None) for name in ("errno", "strerror", "filename", "filename2")}
    return vars(error) | system | {"args": error.args, "str": str(error), "repr": repr(error)}


def test_public_names_are_sorted_and_unique() -> None:
    assert splitdata.__all__ == sorted(set(splitdata.__all__))


@pytest.mark.parametrize("name", splitdata.__all__)
def test_every_name_in_all_can_be_imported_and_is_kept(name: str) -> None:
    found = getattr(splitdata, name)

    assert vars(splitdata)[name] is found


def test_star_import_gives_every_public_name() -> None:
    names: dict[str, Any] = {}
    exec("from splitdata import *", names)

    assert names.keys() >= set(splitdata.__all__)


def test_type_checkers_see_every_name_where_it_is_loaded_from() -> None:
    imports = [node for node in ast.walk(ast.parse(inspect.getsource(splitdata))) if isinstance(node, ast.ImportFrom)]
    seen = {alias.name: node.module for node in imports for alias in node.names}

    assert seen.keys() - {"TYPE_CHECKING"} == set(splitdata.__all__)
    assert splitdata._HOMES.items() <= seen.items()


def test_wrong_name_is_an_attribute_error_as_of_every_module() -> None:
    with pytest.raises(AttributeError, match=r"^module 'splitdata' has no attribute 'SplitReader'$"):
        getattr(splitdata, "SplitReader")  # noqa: B009  # no type checker lets it pass otherwise
    with pytest.raises(ImportError, match="cannot import name 'SplitReader' from 'splitdata'"):
        exec("from splitdata import SplitReader")


@pytest.mark.parametrize("name", [name for name in splitdata.__all__ if callable(getattr(splitdata, name))])
def test_public_class_or_function_pickles_by_where_it_is_defined(name: str) -> None:
    public = getattr(splitdata, name)

    assert pickle.loads(pickle.dumps(public)) is public


def test_every_public_attribute_is_in_all() -> None:
    attributes = {name for name in dir(splitdata) if not name.startswith("_")} | {"__version__"}
    modules = {name for name in attributes if isinstance(getattr(splitdata, name), types.ModuleType)}

    assert attributes - modules - {"annotations"} == set(splitdata.__all__)


@pytest.mark.parametrize("name", splitdata.__all__)
def test_every_public_object_has_a_docstring_of_its_own(name: str) -> None:
    public = getattr(splitdata, name)
    if not isinstance(public, type) and not callable(public):
        # A constant: its documentation is where it is written.
        return
    text = public.__doc__ or ""

    assert text.strip()
    # What dataclass writes into a class without a docstring.
    assert not text.startswith(f"{name}(")


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_is_exported(name: str) -> None:
    assert name in splitdata.__all__
    assert getattr(splitdata, name) is getattr(errors, name)


def test_every_error_class_is_listed() -> None:
    defined = [
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.SplitDataError)
    ]

    assert sorted(defined) == errors.__all__


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("with_options", [False, True], ids=["required fields", "all fields"])
@pytest.mark.parametrize("name", errors.__all__)
def test_error_keeps_class_fields_and_message_through_a_pickle(name: str, with_options: bool, how: str) -> None:
    error = make_error(name, with_options=with_options)

    received = COPIES[how](error)

    assert type(received) is type(error)
    assert fields_of(received) == fields_of(error)
    assert str(received) == "record 7 is damaged"


@pytest.mark.parametrize("name", errors.__all__)
def test_error_carries_every_field_that_it_was_given(name: str) -> None:
    error = make_error(name, with_options=True)
    names = [field.name for field in fields_taken_by(type(error))]
    # An OSError calls its path by another name.
    system_names = {"path": "filename"} if isinstance(error, OSError) else {}

    assert {name: getattr(error, system_names.get(name, name)) for name in names} == {
        name: FIELD_VALUES[name] for name in names
    }
