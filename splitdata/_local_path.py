"""Checks paths: a path is text that names a place on this machine, made absolute once, at construction.

A later `os.chdir` then changes nothing, and a URL never becomes a folder called "s3:".

    "data/train"   -> "/home/me/data/train"
    "~/train"      -> "/home/me/train"
    "s3://b/x"     -> ValueError
    b"data"        -> TypeError
"""

from __future__ import annotations

import os
import re
from typing import Final

__all__ = ["local_path"]

# One slash too: that is what is left of "s3://b/x" in a pathlib.Path. One letter is a drive.
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")


def local_path(path: str | os.PathLike[str], what: str = "path") -> str:
    """Return a path as absolute text, with `~` expanded; looks at no file.

    Args:
        path: Relative to the working folder of this moment, or absolute.
        what: How messages call the argument.

    Raises:
        TypeError: If it is not text: bytes, a number, an open file.
        ValueError: If it is empty, a URL, holds a null character, or names the home of an unknown user.
        FileNotFoundError: If it is relative, and the working folder was deleted.
    """
    text: object = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(text, str):
        hint = "; os.fsdecode() makes text of it" if isinstance(text, bytes) else ""
        raise TypeError(f"{what} must be text or an os.PathLike that gives text, got {type(text).__name__}{hint}")
    if not text or "\0" in text:
        raise ValueError(f"{what} must name a file or folder, got {text!r}")
    if (match := _SCHEME.match(text)) is not None:
        raise ValueError(_is_url(text, match[1], what))
    expanded = os.path.expanduser(text) if text.startswith("~") else text  # noqa: PTH111  # paths are text here
    if expanded.startswith("~"):
        user = re.split(r"[/\\]", expanded)[0]
        raise ValueError(f"{what} {text!r}: there is no home folder of {user!r}; './{text}' is a folder of that name")
    if os.path.isabs(expanded):  # noqa: PTH117  # as above
        return _plain(expanded)
    try:
        return _plain(os.path.join(os.getcwd(), expanded))  # noqa: PTH109, PTH118  # as above
    except FileNotFoundError as error:
        raise FileNotFoundError(
            error.errno, f"{what} is relative, and the working folder does not exist any more", text
        ) from None


def _is_url(text: str, scheme: str, what: str) -> str:
    if scheme.lower() == "file":
        return f"{what} {text!r} is a URL: write the path by itself, without 'file://'"
    return (
        f"{what} {text!r} is a URL: {scheme}:// is not supported here, only what this machine has or mounts "
        "(`splitdata copy` brings datasets here from object stores, and back); "
        f"'./{text}' is a local folder of that name"
    )


def _plain(path: str) -> str:
    # "link/.." is not the folder that holds the link: only the system can follow it.
    return path.rstrip("/") or "/" if ".." in path.split("/") else os.path.abspath(path)  # noqa: PTH100  # as above
