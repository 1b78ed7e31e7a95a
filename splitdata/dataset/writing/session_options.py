"""The options of a write session: what a user gave to `SplitWriter`, checked and put together.

What a session needs to know is decided here, before any file is touched.

    arguments of SplitWriter ── checked ──> SessionOptions ──> WriteSession
    codec                    ─> in the metadata, as "record_codec"
    reproducible             ─> identity: all that decides the bytes, as one text
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from splitdata.dataset.manifests.declared_codec import RECORD_CODEC, chosen_codec, default_alignment
from splitdata.format import spec
from splitdata.format.compression import Compressor
from splitdata.format.manifest import encode_metadata
from splitdata.samples.declared_schema import declared_schema

__all__ = ["SessionOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """How a session writes; see `SplitWriter`.

    Attributes:
        bins: None where the first records decide.
        alignment: None for what suits the codec.
        metadata: What the first commit adds to the dataset's; they name the codec of the records, if they have one.
        schema: What the dataset declares of its samples; None for what it declares already, if anything.
        identity: From what ids are derived, None for random ones.
        compressor: None where records are stored as they are.
        has_dictionary: Compress with a dictionary, if one pays.
        group: Records of a frame; None where the first records decide.
        keep_seconds: As `remove_superseded` takes it.
    """

    mode: str
    bins: int | None
    alignment: int | None
    is_durable: bool
    metadata: dict[str, Any]
    schema: bytes | None
    identity: str | None
    compressor: Compressor | None
    has_dictionary: bool
    group: int | None
    keep_seconds: float

    @classmethod
    def checked(
        cls,
        *,
        mode: str,
        bins: int | None,
        compression: str | None,
        compression_level: int,
        compression_threads: int,
        dictionary: bool,
        durability: str,
        metadata: dict[str, Any] | None,
        reproducible: bool | str,
        alignment: int | None,
        codec: str | None,
        group: int | None,
        keep_seconds: float,
        schema: object,
    ) -> Self:
        """Take the arguments of `SplitWriter`.

        Raises:
            ValueError, TypeError: If one of them is invalid, or two do not go together.
        """
        _check_choice("mode", mode, ("create", "append", "overwrite", "resume"))
        _check_choice("compression", compression, (None, "zstd"))
        _check_choice("durability", durability, ("commit", "none"))
        _check_choice("alignment", alignment, (None, *spec.ALIGNMENTS))
        _check_bins(bins)
        _check_group(group)
        if not keep_seconds >= 0:
            raise ValueError(f"keep_seconds must be 0 or more, got {keep_seconds!r}")
        if isinstance(compression_threads, bool) or not isinstance(compression_threads, int):
            raise TypeError(f"compression_threads must be an int, got {compression_threads!r}")
        if compression_threads < 1:
            raise ValueError(f"compression_threads must be 1 or more, got {compression_threads}")
        if dictionary and compression is None:
            raise ValueError("a dictionary is for compression='zstd'")
        if schema is not None and codec is None:
            codec = "sample"
        metadata = _with_codec(metadata, codec)
        if schema is not None and metadata[RECORD_CODEC] != "sample":
            raise ValueError(f"a schema is for samples, and the codec is {metadata[RECORD_CODEC]!r}")
        declared = None if schema is None else declared_schema(schema)
        identity = None
        if reproducible:
            source = reproducible if isinstance(reproducible, str) else ""
            aligned = alignment or default_alignment(metadata.get(RECORD_CODEC))
            metadata_bytes = encode_metadata(metadata) if metadata else b""
            made_by = (bins, compression, compression_level, aligned, metadata_bytes, source)
            parts = (*made_by, *(("dictionary",) if dictionary else ()), *((f"group {group}",) if group else ()))
            identity = repr(parts if declared is None else (*parts, declared))
        return cls(
            mode=mode,
            bins=bins,
            alignment=alignment,
            is_durable=durability == "commit",
            metadata=metadata,
            schema=declared,
            identity=identity,
            compressor=Compressor(compression_level, num_threads=compression_threads) if compression else None,
            has_dictionary=dictionary,
            group=group,
            keep_seconds=keep_seconds,
        )


def _with_codec(metadata: dict[str, Any] | None, codec: str | None) -> dict[str, Any]:
    """Return metadata that name the codec which was asked for, by itself or in them; raises where they cannot be."""
    encode_metadata({} if metadata is None else metadata)
    result = dict(metadata or {})
    chosen = chosen_codec(codec, result)
    if chosen is not None:
        result[RECORD_CODEC] = chosen
        encode_metadata(result)
    return result


def _check_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    # By type too: 8.0 equals 8, and would fail much later.
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")


def _check_group(group: int | None) -> None:
    if group is not None and (isinstance(group, bool) or not isinstance(group, int)):
        raise TypeError(f"group must be an int or None, got {group!r}")
    if group is not None and (not 1 <= group <= spec.MAX_GROUP or group & (group - 1)):
        raise ValueError(f"group must be a power of two from 1 to {spec.MAX_GROUP}, got {group}")


def _check_bins(bins: int | None) -> None:
    if bins is not None and (isinstance(bins, bool) or not isinstance(bins, int)):
        raise TypeError(f"bins must be an int or None, got {bins!r}")
    if bins is not None and not 1 <= bins <= spec.MAX_BINS:
        raise ValueError(f"bins must be from 1 to {spec.MAX_BINS}, got {bins}")
