"""Checks what names a dataset: a path on this machine, or the URL of a place in an object store.

A URL never becomes a folder called "s3:". What reads or writes datasets asks here; what needs a file of this machine
asks `local_path`.

    "data/train"             -> "/home/me/data/train"        a path
    "s3://bucket/train/"     -> "s3://bucket/train"          a URL: kept as text, without a slash at its end
    "file:///data/train"     -> "/data/train"                a path
    Path("s3://bucket/x")    -> ValueError                   pathlib has taken a slash away
    "s3://key:secret@b/x"    -> ValueError                   keys have no place in a name, which is shown and stored
"""

from __future__ import annotations

import os
import re
from typing import Final

from splitdata._local_path import local_path

__all__ = ["REMOTE_SCHEMES", "dataset_place", "is_url", "split_url"]

REMOTE_SCHEMES: Final = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "http", "https", "store")
_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://([^/]*)(/.*)?", re.DOTALL)


def is_url(place: str) -> bool:
    """Say whether the name of a dataset, as `dataset_place` returns it, is a URL."""
    match = _URL.match(place)
    return match is not None and match[1].lower() in REMOTE_SCHEMES


def split_url(url: str) -> tuple[str, str]:
    """Return the store of a URL, "s3://bucket", and the key in it, "data/train", which may be empty."""
    match = _URL.match(url)
    if match is None:
        raise ValueError(f"{url!r} is no URL")
    return f"{match[1]}://{match[2]}", (match[3] or "").strip("/")


def dataset_place(path: str | os.PathLike[str], what: str = "path") -> str:
    """Return the name of a dataset: an absolute path, or a URL; looks at nothing.

    Args:
        path: A path, or as text a URL.
        what: How messages call the argument.

    Raises:
        TypeError, ValueError, FileNotFoundError: As `local_path` does, and for a URL of an unknown scheme, or one with
            keys, a query or dots in it.
    """
    match = _URL.fullmatch(path) if isinstance(path, str) else None
    if match is None:
        return local_path(path, what)
    scheme, host, key = match[1].lower(), match[2], match[3] or ""
    if scheme == "file":
        return _of_file_url(host, key, what)
    if scheme not in REMOTE_SCHEMES:
        return local_path(path, what)
    name, at, _ = host.rpartition("@")
    # abfss://container@account is how Azure writes it.
    if at and (":" in name or not scheme.startswith("abfs")):
        # The text itself is not shown.
        raise ValueError(
            f"{what} is a {scheme}:// URL with a name or a password in it: give these in storage_options, or in the "
            "environment"
        )
    if not host or "\0" in key or any(mark in host + key for mark in "?#"):
        raise ValueError(
            f"{what} must be {scheme}://, a bucket or host, and the path of a dataset, without '?' and '#'"
        )
    parts = [part for part in key.split("/") if part]
    if "." in parts or ".." in parts:
        raise ValueError(f"{what} {path!r} holds '.' or '..', which a store takes for names")
    return "/".join((f"{scheme}://{host}", *parts))


def _of_file_url(host: str, key: str, what: str) -> str:
    if host not in ("", "localhost") or not key:
        raise ValueError(f"{what} must be file:///, and an absolute path behind it, got a host {host!r}")
    from urllib.parse import unquote

    return local_path(unquote(key), what)
