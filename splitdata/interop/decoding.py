"""Transforms for the commonest jobs: the fields of a sample, pictures and sound; nothing is decoded unasked.

    DistributedLoader("data/photos", transform=decode_image(size=224))        {"image": uint8[224, 224, 3], "label": 3}
    DistributedLoader("data/photos", transform=Fields("image", "label", transform=decode_image(size=224)))
                                                                              (uint8[224, 224, 3], 3)

All pickle, and a cache tells them by their arguments. Pillow and soundfile are loaded when a sample is decoded.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from splitdata._extras import load_extra
from splitdata.order.counts import checked_count

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from splitdata._types import BytesLike

__all__ = ["AudioDecoder", "Fields", "ImageDecoder", "decode_audio", "decode_image"]


class Fields:
    """A transform that picks fields of samples that are dicts: a tuple of their values, one field's value alone.

    Attributes:
        names: The fields, in the order in which they come.
        transform: What is done with the sample before; None: nothing.
    """

    def __init__(self, *names: str, transform: Callable[[Any], Any] | None = None) -> None:
        if not names:
            raise ValueError('Fields needs the names of some fields, as in Fields("image", "label")')
        self.names = names
        self.transform = transform

    @property
    def user_code(self) -> Callable[[Any], Any] | None:
        """What this calls, and what alone may draw random numbers."""
        return self.transform

    @property
    def on_columns(self) -> Callable[[Any], Any] | None:
        """What makes of a batch of samples the batch of their values; None where each sample is transformed."""
        return self if self.transform is None else None

    def __call__(self, sample: Any) -> Any:
        """Return the values of one sample.

        Raises:
            KeyError: A field is missing; the message has those that are there.
        """
        sample = sample if self.transform is None else self.transform(sample)
        values = tuple(_field(sample, name) for name in self.names)
        return values if len(values) > 1 else values[0]

    def __repr__(self) -> str:
        """Show it as it was made."""
        more = "" if self.transform is None else f", transform={self.transform!r}"
        return f"Fields({', '.join(map(repr, self.names))}{more})"


def decode_image(*, size: int | tuple[int, int] | None = None, mode: str = "RGB", field: str = "image") -> ImageDecoder:
    """Return a transform that decodes pictures with Pillow: `pip install 'splitdata[image]'`.

    A record of bytes becomes an array uint8[height, width, channels], which can be written to; of a sample that is a
    dict the field becomes one, and the other fields stay.

    Args:
        size: Height and width, one number for both: the picture is scaled until the shorter side fits, and the rest
            is cut off equally at both ends. JPEGs are decoded at a smaller scale where that is enough. None: as it is.
        mode: As Pillow names it: "RGB"; "L" is grey, an array [height, width].
        field: Which field of a sample that is a dict holds the bytes.

    Raises:
        TypeError, ValueError: An argument of a wrong type or out of range.
    """
    if size is not None:
        height, width = size if isinstance(size, tuple) else (size, size)
        size = (checked_count("size", height, 1), checked_count("size", width, 1))
    return ImageDecoder(size, mode, field)


def decode_audio(
    *, sample_rate: int | None = None, frames: int | None = None, mono: bool = True, field: str = "audio"
) -> AudioDecoder:
    """Return a transform that decodes sound with soundfile (WAV, FLAC, Ogg, MP3): `pip install 'splitdata[audio]'`.

    A record of bytes becomes an array float32[frames] from -1 to 1; of a sample that is a dict the field becomes one,
    and the other fields stay.

    Args:
        sample_rate: What all must have, in Hz; nothing is resampled. None: whatever they have.
        frames: As many are taken, and zeros put behind those of shorter sounds, so that all fit into a batch. None:
            all that there are.
        mono: The mean of all channels. False: float32[frames, channels].
        field: Which field of a sample that is a dict holds the bytes.

    Raises:
        TypeError, ValueError: An argument of a wrong type or out of range.
    """
    if sample_rate is not None:
        sample_rate = checked_count("sample_rate", sample_rate, 1)
    return AudioDecoder(sample_rate, None if frames is None else checked_count("frames", frames, 1), mono, field)


@dataclass(frozen=True, slots=True)
class ImageDecoder:
    """What `decode_image` returns."""

    # Nothing of the user's is called, and no random number drawn.
    user_code: ClassVar[None] = None
    size: tuple[int, int] | None
    mode: str
    field: str

    def __call__(self, sample: Any) -> Any:
        """Return the sample with its picture as an array.

        Raises:
            OSError: Pillow does not know what these bytes are, or they are damaged.
            KeyError, TypeError: There is no such field, or it holds no bytes.
        """
        return _decoded(sample, self.field, self._decode)

    def _decode(self, content: BytesLike) -> NDArray[np.uint8]:
        image_of, fit = _pillow()
        with image_of.open(io.BytesIO(content)) as image:
            if self.size is None:
                return np.array(image.convert(self.mode))
            height, width = self.size
            image.draft(self.mode, (width, height))
            return np.array(fit(image.convert(self.mode), (width, height), image_of.Resampling.BILINEAR))


@dataclass(frozen=True, slots=True)
class AudioDecoder:
    """What `decode_audio` returns."""

    # Nothing of the user's is called, and no random number drawn.
    user_code: ClassVar[None] = None
    sample_rate: int | None
    frames: int | None
    mono: bool
    field: str

    def __call__(self, sample: Any) -> Any:
        """Return the sample with its sound as an array.

        Raises:
            RuntimeError: soundfile does not know what these bytes are, or they are damaged.
            ValueError: It has another sample rate than the one that is asked for.
            KeyError, TypeError: There is no such field, or it holds no bytes.
        """
        return _decoded(sample, self.field, self._decode)

    def _decode(self, content: BytesLike) -> NDArray[np.float32]:
        with load_extra("soundfile", "audio", "decode_audio").SoundFile(io.BytesIO(content)) as file:
            if self.sample_rate not in (None, file.samplerate):
                raise ValueError(
                    f"this sound has {file.samplerate} frames a second, and sample_rate={self.sample_rate} is asked "
                    "for: resample it before it is written, or in a transform of your own"
                )
            sound: NDArray[np.float32] = file.read(-1 if self.frames is None else self.frames, "float32", True)
        if self.frames is not None and len(sound) < self.frames:
            sound = np.pad(sound, ((0, self.frames - len(sound)), (0, 0)))
        return sound.mean(axis=1) if self.mono else sound


def _pillow() -> tuple[Any, Any]:
    wanted_by = "decode_image"
    return load_extra("PIL.Image", "image", wanted_by), load_extra("PIL.ImageOps", "image", wanted_by).fit


def _field(sample: Any, name: str) -> Any:
    if not isinstance(sample, Mapping):
        raise TypeError(f"the field {name!r} is asked of a sample that is no dict but {type(sample).__name__}")
    if name not in sample:
        raise KeyError(f"the sample has no field {name!r}: it has {', '.join(map(repr, sample))}")
    return sample[name]


def _decoded(sample: Any, field: str, decode: Callable[[BytesLike], Any]) -> Any:
    """Decode a record that is bytes, or that field of a sample which holds them."""
    if isinstance(sample, (bytes, bytearray, memoryview)):
        return decode(sample)
    content = _field(sample, field)
    if isinstance(content, Mapping):
        # As tables of Hugging Face's hold pictures and sounds.
        content = _field(content, "bytes")
    if isinstance(content, np.ndarray) and content.dtype == np.uint8 and content.ndim == 1:
        content = content.data
    if not isinstance(content, (bytes, bytearray, memoryview)):
        raise TypeError(f"the field {field!r} holds {type(content).__name__}, and no bytes that could be decoded")
    return {**sample, field: decode(content)}
