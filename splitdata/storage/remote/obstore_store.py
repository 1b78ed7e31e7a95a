"""A store reached by obstore: S3, Google Cloud Storage, Azure, and web servers; the extra splitdata[remote].

obstore is loaded when the first store is opened. Its own repetitions are off: patience.py has them for every store.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final, TypeVar

from splitdata._extras import load_extra
from splitdata.errors import StoreError
from splitdata.storage.remote.patience import plain_error
from splitdata.storage.remote.store_options import StoreOptions

__all__ = ["ObstoreStore"]

_Answer = TypeVar("_Answer")
_PART_BYTES: Final = 8 << 20
_NUM_PARTS: Final = 4
_ALLOW_HTTP: Final = ("AWS_ALLOW_HTTP", "AZURE_ALLOW_HTTP", "GOOGLE_ALLOW_HTTP")


class ObstoreStore:
    """One bucket, container or web server.

    Attributes:
        url: "s3://bucket".
    """

    def __init__(self, url: str, options: StoreOptions, call_seconds: float) -> None:
        """Make the client; nothing is sent yet.

        Args:
            url: Of the store, without a key.
            options: As `obstore.store.from_url` takes them; `client_options` are those of its HTTP client.
            call_seconds: The most that one request may take.

        Raises:
            ModuleNotFoundError: If obstore is not installed; the message has the command.
            ValueError: If the options are not those of such a store.
        """
        self.url = url
        self._options = options
        self._obstore = _loaded(url)
        given = dict(options)
        limit = f"{max(1, round(call_seconds))}s"
        client = {"timeout": limit, "connect_timeout": limit, "allow_http": _allows_http(url, given)}
        client |= dict(given.pop("client_options", None) or {})
        try:
            self._store = self._obstore.store.from_url(
                url, client_options=client, retry_config={"max_retries": 0}, **given
            )
        except Exception as error:  # whatever its text has in it is cleaned
            raise ValueError(
                f"{url}: the options of this store are invalid: {options.hide(plain_error(error))}"
            ) from None

    def size(self, key: str, /) -> int:
        """Return the bytes of an object."""
        return int(self._asked(lambda: self._obstore.head(self._store, key))["size"])

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]], /) -> list[memoryview]:
        """Return ranges of an object, one request each."""
        get = self._obstore.get_range
        return [
            memoryview(self._asked(lambda: get(self._store, key, start=start, end=stop)))  # noqa: B023
            for start, stop in ranges
        ]

    def list(self, prefix: str, /) -> Iterator[tuple[str, int]]:
        """Yield key and size of the objects below a prefix."""

        def listed() -> list[tuple[str, int]]:
            chunks = self._obstore.list(self._store, prefix=prefix.rstrip("/") or None)
            return [(str(one["path"]), int(one["size"])) for chunk in chunks for one in chunk]

        if self.url.startswith("http") and type(self._store).__name__ == "HTTPStore":
            raise NotImplementedError(f"{self.url} is a web server, which does not list what it has")
        yield from self._asked(listed)

    def put_new(self, key: str, data: bytes | Iterable[bytes], /) -> None:
        """Make an object: bytes only if nothing has its name, pieces in parts."""
        put = self._obstore.put
        if isinstance(data, bytes):
            self._asked(lambda: put(self._store, key, data, mode="create", use_multipart=False))
            return
        sent = iter(data)
        head = b"".join(_first(sent, _PART_BYTES))
        if len(head) <= _PART_BYTES:
            # As one request, where parts would be three.
            self._asked(lambda: put(self._store, key, head, use_multipart=False))
            return
        parts = chain([head], sent)
        self._asked(lambda: put(self._store, key, parts, chunk_size=_PART_BYTES, max_concurrency=_NUM_PARTS))

    def delete(self, key: str, /) -> None:
        """Remove an object."""
        try:
            self._asked(lambda: self._obstore.delete(self._store, key))
        except FileNotFoundError:
            return

    def _asked(self, request: Callable[[], _Answer]) -> _Answer:
        """Return what a request returns; its errors as those that a store has, without secrets."""
        kinds = self._obstore.exceptions
        try:
            return request()
        except (kinds.NotFoundError, FileNotFoundError) as error:
            problem: Exception = FileNotFoundError(self._text(error))
        except (kinds.AlreadyExistsError, kinds.PreconditionError, FileExistsError) as error:
            problem = FileExistsError(self._text(error))
        except (kinds.PermissionDeniedError, kinds.UnauthenticatedError, PermissionError) as error:
            problem = PermissionError(
                f"{self._text(error)}; give the keys in storage_options, or in the environment as the tools of the "
                "provider do"
            )
        except (kinds.NotSupportedError, NotImplementedError) as error:
            problem = NotImplementedError(self._text(error))
        except Exception as error:  # of its base class, or of the runtime below
            problem = StoreError(self._text(error))
        except BaseException as error:
            # What a defect in the library below raises is no Exception.
            if type(error).__name__ != "PanicException":
                raise
            problem = ValueError(self._text(error))
        try:
            raise problem
        finally:
            del problem

    def _text(self, error: BaseException) -> str:
        return f"{self.url}: {self._options.hide(plain_error(error))}"


def _first(pieces: Iterator[bytes], num_bytes: int) -> Iterator[bytes]:
    """Yield pieces until they have more than so many bytes, or are at their end."""
    for piece in pieces:
        yield piece
        num_bytes -= len(piece)
        if num_bytes < 0:
            return


def _allows_http(url: str, options: Mapping[str, Any]) -> bool:
    """Say whether the caller has asked for HTTP without TLS: by an address, or in the environment.

    Other options of the client would hide what the environment says of it.
    """
    addresses = [url, *(str(value) for name, value in options.items() if "endpoint" in name.lower())]
    asked = [str(options.get("allow_http", "")), *(os.environ.get(name, "") for name in _ALLOW_HTTP)]
    is_said = any(one.lower() in ("1", "true") for one in asked)
    return is_said or any(address.startswith("http://") for address in addresses)


def _loaded(url: str) -> Any:
    wanted_by = f"{url}: a dataset in an object store"
    obstore = load_extra("obstore", "remote", wanted_by)
    for part in ("obstore.store", "obstore.exceptions"):
        load_extra(part, "remote", wanted_by)
    return obstore
