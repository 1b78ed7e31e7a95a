"""What metadata say of where records are from: true of the dataset that a conversion wrote, of no other with them."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["without_origin"]

# Kind and name of the source, and how far a conversion has come that can be resumed.
_OF_CONVERSION: Final = ("source", "conversion")


def without_origin(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return what is true of a dataset that is made of this one, too."""
    return {name: value for name, value in metadata.items() if name not in _OF_CONVERSION}
