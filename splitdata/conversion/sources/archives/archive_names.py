"""Which members of an archive are records, and which keys they have: their paths, as those of files in a folder.

Names are those that the archive has, with "/" between their parts.

    a/1.jpg, ./a/1.jpg  ──> a/1.jpg        .hidden, a/.git/x, __MACOSX/x ──> left out        ../x, /x ──> an error
"""

from __future__ import annotations

from splitdata.errors import SourceError

__all__ = ["is_hidden", "member_key"]


def member_key(name: str, *, archive: str) -> str:
    """Return the key of a member.

    Raises:
        SourceError: If its name would lead out of a folder that the archive is unpacked in.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or not parts or "\0" in name:
        raise SourceError(
            f"{archive} has a member of the name {name!r}, which leads out of the folder that it would be unpacked in: "
            "it was damaged, or made to do harm; nothing of it is taken",
            path=archive,
        )
    return "/".join(parts)


def is_hidden(key: str) -> bool:
    """Say whether a member is left out, as in a folder: it, or a folder that it lies in, is hidden."""
    return any(part.startswith(".") or part == "__MACOSX" for part in key.split("/"))
