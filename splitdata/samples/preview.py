"""A sample as a line of text: {'image': uint8[32, 32, 3] 0 0 5 13 ..., 'label': 7, 'png': <png 32x32, 811 bytes>}.

It costs as much as it shows, however large the sample is.

    sample ──pieces, as many as are wanted──> text ... cut
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from splitdata.samples.media import media_of
from splitdata.samples.restore import fields_of, kind_of
from splitdata.samples.tensors import is_tensor_type

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["hint", "preview"]

# Of a text so much is shown.
_LONG_TEXT: Final = 60
_LONG_INT_BITS: Final = 256
# Of an array so many numbers are.
_SHOWN_NUMBERS: Final = 4


def preview(sample: object, max_chars: int) -> str:
    """Return a sample as text; what would be more than `max_chars` is not even looked at."""
    shown, size = [], 0
    for piece in _pieces(sample):
        shown.append(piece)
        size += len(piece)
        if size > max_chars:
            return "".join(shown)[: max(0, max_chars - 3)] + "..."
    return "".join(shown)


def _pieces(value: Any) -> Iterator[str]:  # any sample
    cls = type(value)
    if cls is dict:
        yield from _between("{", ((f"{_text(key)}: ", child) for key, child in value.items()), "}")
    elif kind_of(cls) is not None:
        parts = ((f"{field}=", getattr(value, field)) for field in fields_of(cls))
        yield from _between(f"{cls.__name__}(", parts, ")")
    elif cls is list or cls is tuple:
        begin, end = "[]" if cls is list else "()"
        yield from _between(begin, (("", child) for child in value), end)
    elif cls is np.ndarray or is_tensor_type(cls):
        yield f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}{_numbers(value)}"
    else:
        yield _text(value)


def _between(begin: str, parts: Iterable[tuple[str, Any]], end: str) -> Iterator[str]:
    yield begin
    for number, (name, child) in enumerate(parts):
        yield ", " * (number > 0) + name
        yield from _pieces(child)
    yield end


def _numbers(array: Any) -> str:  # of numpy or torch
    """Return the first numbers of an array, nothing where it holds none."""
    if type(array) is np.ndarray:
        if array.dtype.kind not in "biufcMm" or not array.size:
            return ""
        first = [array.flat[place] for place in range(min(_SHOWN_NUMBERS, array.size))]
        shown = [f"{one:.4g}" if array.dtype.kind == "f" else str(one) for one in first]
    else:
        first = array.reshape(-1)[:_SHOWN_NUMBERS].tolist()
        shown = [f"{one:.4g}" if isinstance(one, float) else str(one) for one in first]
    rest = " ..." if math.prod(array.shape) > len(shown) else ""
    return "".join(f" {one}" for one in shown) + rest


def hint(data: bytes, num_bytes: int | None = None) -> str | None:
    """Return what bytes are where they begin as a picture, a sound or an archive does: <png 32x32, 811 bytes>.

    Args:
        data: Their beginning, or all of them.
        num_bytes: Of all of them, None for those of `data`.
    """
    media = media_of(data)
    if not media.is_known:
        return None
    size = "" if media.size is None else f" {media.size[0]}x{media.size[1]}"
    return f"<{media.suffix}{size}, {len(data) if num_bytes is None else num_bytes:,} bytes>"


def _text(value: object) -> str:
    if type(value) is bytes and (found := hint(value)):
        return found
    if isinstance(value, int) and value.bit_length() > _LONG_INT_BITS:
        # Python refuses to write out long ones, and nobody reads them.
        return f"int of {value.bit_length()} bits"
    if isinstance(value, (str, bytes)) and len(value) > _LONG_TEXT:
        return repr(value[:_LONG_TEXT]) + f"... {len(value)} in all"
    return repr(value)
