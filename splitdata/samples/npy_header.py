r"""The beginning of an npy file: what it holds, and where its values begin. Nothing in it is evaluated.

Who reads on checks that the values are there.

    | \x93NUMPY | version | length | {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4)} | values
                                                                             start: here -^
"""

from __future__ import annotations

import io
from typing import Any, Final

import numpy as np

from splitdata.errors import FormatError, UnsupportedVersionError
from splitdata.samples.extents import check_array

__all__ = ["MAX_NPY_HEADER_BYTES", "npy_header"]

# A header that numpy writes of an ordinary array has 128 bytes; it is parsed, so a long one costs time.
_MAX_NPY_HEADER: Final = 10_000
MAX_NPY_HEADER_BYTES: Final = _MAX_NPY_HEADER + 16
_HEADERS: Final = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def npy_header(view: memoryview) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Return shape, whether it is in the order of Fortran, data type, and where the values begin.

    Raises:
        FormatError: If these bytes are no npy file, or one of Python objects.
    """
    file = io.BytesIO(view[:MAX_NPY_HEADER_BYTES])
    try:
        version = np.lib.format.read_magic(file)
        read = _HEADERS.get(version)
        if read is None:
            raise UnsupportedVersionError(f"an npy file of version {version}")
        shape, is_fortran, dtype = read(file, max_header_size=_MAX_NPY_HEADER)
    except UnsupportedVersionError:
        raise
    # numpy hands the text of a header to parsers of Python, which raise whatever they do: TokenError, for one.
    except Exception as error:
        raise FormatError(f"these {len(view)} bytes are no npy file: {error}") from None
    if any(extent < 0 for extent in shape):
        raise FormatError(f"an npy file of the shape {shape}")
    if dtype.hasobject:
        raise FormatError("an npy file of Python objects, which are not read")
    check_array(shape, dtype)
    return shape, is_fortran, dtype, file.tell()
