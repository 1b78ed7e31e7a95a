"""Keys and tokens of a store stand in no pickle, repr or message."""

from __future__ import annotations

import os
import pickle
from datetime import timedelta

import pytest

from splitdata.errors import StoreError
from splitdata.storage.remote import store_options
from splitdata.storage.remote.store_options import StoreOptions

SECRET = "wJalrXUtnFEMI-K7MDENG"
NAMES = [
    "aws_secret_access_key",
    "secret_access_key",
    "AWS_SESSION_TOKEN",
    "access_key_id",
    "azure_storage_sas_key",
    "account_key",
    "google_service_account_key",
    "bearer_token",
    "anything_new",
]


@pytest.fixture(autouse=True)
def clean_environment() -> object:
    """No variable of a test stays."""
    before = set(os.environ)
    yield
    for name in set(os.environ) - before:
        del os.environ[name]


@pytest.mark.parametrize("name", NAMES)
def test_secret_is_in_no_pickle_and_no_repr_and_arrives_all_the_same(name: str) -> None:
    options = StoreOptions({name: SECRET, "region": "eu-1"})
    data = pickle.dumps(options)
    assert SECRET.encode() not in data
    assert SECRET not in repr(options)
    assert "region='eu-1'" in repr(options)
    assert dict(pickle.loads(data)) == {name: SECRET, "region": "eu-1"}


@pytest.mark.parametrize("endpoint", [f"https://me:{SECRET}@host", f"https://host/?sig={SECRET}"])
def test_address_with_a_secret_in_it_is_one(endpoint: str) -> None:
    options = StoreOptions({"endpoint": endpoint})
    assert SECRET.encode() not in pickle.dumps(options)
    assert SECRET not in repr(options)


def test_headers_of_the_client_are_secret() -> None:
    options = StoreOptions({"client_options": {"default_headers": {"authorization": SECRET}}})
    assert SECRET.encode() not in pickle.dumps(options)
    assert options.hide(f"401: {SECRET}") == "401: ***"


def test_options_without_secrets_touch_no_environment() -> None:
    before = dict(os.environ)
    assert dict(pickle.loads(pickle.dumps(StoreOptions({"region": "eu-1"})))) == {"region": "eu-1"}
    assert dict(os.environ) == before


def test_pickle_on_another_machine_names_what_is_missing() -> None:
    data = pickle.dumps(StoreOptions({"secret_access_key": SECRET}))
    for name in [name for name in os.environ if name.startswith(store_options._VARIABLE)]:
        del os.environ[name]
    with pytest.raises(StoreError, match="secret_access_key do not travel to another machine"):
        pickle.loads(data)


def test_second_pickle_takes_no_second_variable() -> None:
    options = StoreOptions({"secret_access_key": SECRET})
    pickle.dumps(options)
    before = set(os.environ)
    pickle.dumps(pickle.loads(pickle.dumps(options)))
    assert set(os.environ) == before


def test_secret_that_cannot_travel_is_refused_by_its_name() -> None:
    with pytest.raises(TypeError, match="credential_provider cannot be given to a worker process"):
        pickle.dumps(StoreOptions({"credential_provider": timedelta(1)}))
