"""The versions of the format that are read here: one rule for manifest, index and bins. FORMAT.md section 12."""

from __future__ import annotations

import reprlib

from splitdata.errors import UnsupportedVersionError
from splitdata.format import spec

__all__ = ["check_version"]


def check_version(major: int, minor: int, must_understand: object) -> None:
    """Raise unless a file of this version, with these required features, can be read here.

    Version 0 is not frozen: each minor of it is a format of its own. From version 1 on a greater
    minor adds only what may be ignored.

    Args:
        major: Of the file.
        minor: Of the file.
        must_understand: Its required features, flags or names; this version knows none.
    """
    is_readable = major == spec.MAJOR and (major > 0 or minor == spec.MINOR)
    if not is_readable or must_understand:
        features = f"{must_understand:#x}" if isinstance(must_understand, int) else reprlib.repr(must_understand)
        raise UnsupportedVersionError(
            f"format {major}.{minor} with required features {features}; this splitdata reads "
            f"{spec.MAJOR}.{spec.MINOR}: install the splitdata that wrote it, or a newer one"
        )
