"""Options of stores for a whole program: taken where none are given, gone afterwards, and never secret."""

from __future__ import annotations

import os

import pytest

from splitdata import default_storage_options
from splitdata.storage.remote.default_options import with_defaults
from splitdata.storage.remote.store_access import StoreAccess
from tests.stores import MemoryStore

SECRET = "wJalrXUtnFEMI-K7MDENG"
VARIABLE = "SPLITDATA_STORAGE_OPTIONS"


def test_defaults_hold_while_the_block_runs_and_what_is_given_comes_before_them() -> None:
    with default_storage_options({"region": "a", "endpoint": "http://host"}):
        assert dict(with_defaults(None)) == {"region": "a", "endpoint": "http://host"}
        assert dict(with_defaults({"AWS_REGION": "b"})) == {"AWS_REGION": "b", "endpoint": "http://host"}
        with default_storage_options({"region": "c"}):
            assert with_defaults(None)["region"] == "c"
            assert with_defaults(None)["endpoint"] == "http://host"
        assert with_defaults(None)["region"] == "a"
    assert not with_defaults(None)
    assert VARIABLE not in os.environ


def test_defaults_are_gone_behind_an_error() -> None:
    with pytest.raises(KeyError), default_storage_options({"region": "a"}):
        raise KeyError
    assert VARIABLE not in os.environ


@pytest.mark.parametrize(
    "options", [{"secret_access_key": SECRET}, {"nothing": SECRET}, {"endpoint": f"http://me:{SECRET}@host"}]
)
def test_secret_is_refused_by_its_name_and_shown_nowhere(options: dict[str, str]) -> None:
    with (
        pytest.raises(ValueError, match=rf"{next(iter(options))} of stores is secret, .* region") as caught,
        default_storage_options(options),
    ):
        pass
    assert SECRET not in str(caught.value)
    assert VARIABLE not in os.environ


@pytest.mark.parametrize("text", ["no", "[1]", '"text"'])
def test_variable_that_holds_something_else_is_named(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(ValueError, match=f"{VARIABLE} must be JSON"):
        with_defaults(None)


def test_timeout_is_that_of_the_defaults_where_none_is_given() -> None:
    access, own = StoreAccess.of(None, MemoryStore()), StoreAccess.of({"timeout": 2})
    with default_storage_options({"timeout": 7}):
        assert access.open("store://data").patience.seconds == 7
        assert own.given is not None
        assert dict(with_defaults(own.given)) == {"timeout": 2}
    assert access.open("store://data").patience.seconds == 60
