"""Options of all stores that a program reaches, for those that were given none: where they are, never what is secret.

    with default_storage_options({"endpoint": "http://node7:9000", "timeout": 120}):
        describe("s3://bucket/train")

They are in a variable of the environment, so that worker processes have them too. Keys stay where they are looked for
anyway: in the variables that the tools of each provider read.
"""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from splitdata.storage.remote.store_options import StoreOptions, plain_names, unprefixed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["default_storage_options", "with_defaults"]

_VARIABLE: Final = "SPLITDATA_STORAGE_OPTIONS"


@contextmanager
def default_storage_options(options: Mapping[str, Any]) -> Iterator[None]:
    """Have every store that is opened while the block runs take these options, where it is given no others of the name.

    For the whole process and those that it starts meanwhile; blocks of several threads are not to overlap.

    Args:
        options: As `storage_options` of `SplitDataLoader`, but nothing that is secret: endpoint, region, timeout, ...

    Raises:
        TypeError: If they are no mapping of names.
        ValueError: If one is a secret, or of an unknown name; its value is not shown.
    """
    taken = StoreOptions(options)
    if secret := sorted(taken.secret_names()):
        raise ValueError(
            f"the option {', '.join(secret)} of stores is secret, or there is none of this name: keys and tokens are "
            "taken from the environment, as the tools of the provider do it, or given in storage_options; others are "
            f"{', '.join(plain_names())}"
        )
    before = os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = json.dumps(_stored() | dict(taken))
    try:
        yield
    finally:
        if before is None:
            del os.environ[_VARIABLE]
        else:
            os.environ[_VARIABLE] = before


def with_defaults(given: Mapping[str, Any] | None) -> StoreOptions:
    """Return the options of a store: those that were given, and of the defaults the others.

    Raises:
        ValueError: If the variable holds something else.
    """
    own = given or {}
    names = {unprefixed(name) for name in own}
    defaults = {name: value for name, value in _stored().items() if unprefixed(name) not in names}
    return StoreOptions(defaults | dict(own))


def _stored() -> dict[str, Any]:
    text = os.environ.get(_VARIABLE, "{}")
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        # The text itself is not shown.
        raise ValueError(f'the variable {_VARIABLE} must be JSON, {{"endpoint": "http://host:9000"}}; it is not')
    return found
