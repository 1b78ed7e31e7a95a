"""What a store is made with: addresses travel to other processes, keys and tokens never do so in a pickle.

A worker that this process starts gets them with its environment, which is where such keys usually are; on another
machine they are missing, and the error names them.

    StoreOptions({"region": "x", "secret_access_key": "..."})
      repr      StoreOptions(region='x', secret_access_key=***)
      pickle    {"region": "x"}, the name of a variable
      environ   SPLITDATA_STORE_<32 hex> = {"secret_access_key": "..."}      set when it is pickled first
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Mapping
from typing import Any, Final

from splitdata.errors import StoreError

__all__ = ["StoreOptions", "plain_names", "unprefixed"]

_VARIABLE: Final = "SPLITDATA_STORE_"
# Whatever else is given is a secret until the contrary is known. With and without the prefixes that obstore takes.
_PLAIN: Final = frozenset(
    (
        "account_name",
        "allow_http",
        "bucket",
        "bucket_name",
        "container_name",
        "default_region",
        "endpoint",
        "endpoint_url",
        "imdsv1_fallback",
        "region",
        "request_payer",
        "skip_signature",
        "timeout",
        "unsigned_payload",
        "use_emulator",
        "virtual_hosted_style_request",
    )
)
_PREFIXES: Final = ("aws_", "azure_storage_", "azure_", "google_")
_HIDDEN: Final = "***"
# Shorter ones would be found in words.
_LEAST_SECRET: Final = 6


class StoreOptions(Mapping[str, Any]):
    """Options of a store, of which those that are secret are shown, and stored, nowhere."""

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        """Take the options; the caller's mapping may change later.

        Raises:
            TypeError: If they are no mapping of names.
        """
        if options is not None and not isinstance(options, Mapping):
            raise TypeError(f"storage_options must be a mapping of names to values, got {type(options).__name__}")
        if any(not isinstance(name, str) for name in options or ()):
            raise TypeError("the names in storage_options must be text")
        self._options = dict(options or {})
        self._variable = ""

    def __getitem__(self, name: str) -> Any:
        return self._options[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._options)

    def __len__(self) -> int:
        return len(self._options)

    def __repr__(self) -> str:
        """Show the names, and the values of what is no secret."""
        shown = (f"{name}={_HIDDEN if _is_secret(name, self[name]) else repr(self[name])}" for name in self)
        return f"StoreOptions({', '.join(shown)})"

    def hide(self, text: str) -> str:
        """Return a text of others, an error, without what is secret in it."""
        for secret in sorted(_texts_of(self._secrets()), key=len, reverse=True):
            if len(secret) >= _LEAST_SECRET:
                text = text.replace(secret, _HIDDEN)
        return text

    def secret_names(self) -> list[str]:
        """Return the names of the options whose values are shown nowhere."""
        return list(self._secrets())

    def _secrets(self) -> dict[str, Any]:
        return {name: value for name, value in self._options.items() if _is_secret(name, value)}

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what is no secret, and where the rest is to be found.

        Raises:
            TypeError: If a secret is no text or number, so that it cannot travel.
        """
        hidden = self._secrets()
        if hidden and not self._variable:
            try:
                text = json.dumps(hidden)
            except TypeError:
                raise TypeError(
                    f"storage_options {', '.join(sorted(hidden))} cannot be given to a worker process: only text and "
                    "numbers can; set the variables of the environment that the store reads, or pass a `store` that "
                    "pickles"
                ) from None
            self._variable = f"{_VARIABLE}{secrets.token_hex(16)}"
            os.environ[self._variable] = text
        plain = {name: value for name, value in self._options.items() if name not in hidden}
        return _restored, (plain, sorted(hidden), self._variable)


def _restored(plain: dict[str, Any], names: list[str], variable: str) -> StoreOptions:
    """Make options again in another process, which was started by the one that had them."""
    text = os.environ.get(variable) if names else "{}"
    if text is None:
        raise StoreError(
            f"storage_options {', '.join(names)} do not travel to another machine or to a process that was started "
            "earlier; set the variables of the environment that the store reads there, and leave them out of "
            "storage_options"
        )
    options = StoreOptions(plain | json.loads(text))
    options._variable = variable
    return options


def plain_names() -> list[str]:
    """Return the names of the options that are no secrets, sorted."""
    return sorted(_PLAIN)


def unprefixed(name: str) -> str:
    """Return the name of an option without what says whose it is: "region" of "aws_region"."""
    plain = name.lower()
    for prefix in _PREFIXES:
        plain = plain.removeprefix(prefix)
    return plain


def _is_secret(name: str, value: object) -> bool:
    # An address may have a password in it, or a signature behind it.
    is_address = isinstance(value, (str, bool, int, float)) and not set("@?") & set(str(value))
    return unprefixed(name) not in _PLAIN or not is_address


def _texts_of(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts_of(inner)
