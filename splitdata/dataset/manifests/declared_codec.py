"""The codec that a dataset declares for its records: stored once, in its metadata. docs/format/samples.md.

A dataset with records of two codecs could not be decoded, so a writer with another codec is refused.

    SplitWriter(codec="sample") ──┐
    metadata {"record_codec": ..} ┼─> one name ─ the dataset has records of another? ──> ValueError
    the dataset that is added to ─┘
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from splitdata._shown import shown
from splitdata.format import spec
from splitdata.samples.record_codecs import CODEC_NAMES, record_codec

if TYPE_CHECKING:
    from splitdata.format.manifest import Manifest

__all__ = ["RECORD_CODEC", "check_codec", "chosen_codec", "default_alignment", "stated_codec"]

RECORD_CODEC: Final = "record_codec"


def stated_codec(metadata: dict[str, Any]) -> str | None:
    """Return the codec that a dataset's metadata name, None if they name none; it may be unknown here."""
    stated = metadata.get(RECORD_CODEC)
    return None if stated is None else str(stated)


def chosen_codec(codec: str | None, metadata: dict[str, Any]) -> str | None:
    """Return the codec that a writer was asked for, by itself or in its metadata.

    Raises:
        ValueError: If no codec has this name, or two names are given.
    """
    stated = metadata.get(RECORD_CODEC)
    if codec is None:
        codec = stated
    if codec is not None and codec not in CODEC_NAMES:
        raise ValueError(f"codec must be one of {', '.join(CODEC_NAMES)}, got {shown(codec)}")
    if stated is not None and stated != codec:
        raise ValueError(f"codec is {codec!r}, and the metadata say that {RECORD_CODEC} is {shown(stated)}")
    return codec


def default_alignment(codec: str | None) -> int:
    """Return the default payload alignment."""
    # A name that is unknown here was found in a dataset that a newer splitdata wrote.
    wanted = record_codec(codec).alignment if codec in CODEC_NAMES else spec.FRAME_UNIT
    return max(wanted, spec.FRAME_UNIT)


def check_codec(manifest: Manifest, codec: str | None) -> None:
    """Raise if records of a codec are to join records of another, or of none.

    Raises:
        ValueError: If they are.
    """
    if codec is None or not manifest.num_records:
        return
    stated = stated_codec(manifest.metadata)
    if stated != codec:
        has = "without a codec" if stated is None else f"of the codec {stated}"
        raise ValueError(f"the dataset has {manifest.num_records} records {has}, and these are of the codec {codec}")
