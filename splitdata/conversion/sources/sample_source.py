"""What sources of samples have in common: their records stand alone, or are bound to the schemas of a writer.

Bound at once, a sample is neither laid out alone nor taken apart again for the writer.

    sample ──bind_with(None)─────> what `encode_sample` makes of it
           `─bind_with(encoder)──> what `SplitWriter.bind` makes of that; alone still where it does not fit
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from splitdata._shown import shown
from splitdata.errors import FormatError, SchemaError, SourceError
from splitdata.samples.encode import encode_sample

if TYPE_CHECKING:
    from splitdata.dataset.manifests.stated_schema import SampleEncoder

__all__ = ["BindingSource", "SampleSource", "bind_source"]


@runtime_checkable
class BindingSource(Protocol):
    """A source that can bind its samples by itself."""

    def bind_with(self, encoder: SampleEncoder | None) -> bool:
        """Give samples that are bound, or stand alone, from now on; None: that stand alone. Returns whether it does.

        Who has bound a source lets go of it with None, as its next reader knows nothing of these schemas.
        """


def bind_source(source: object, encoder: SampleEncoder | None) -> bool:
    """Let a source bind its samples, if it can; returns whether it does."""
    return isinstance(source, BindingSource) and source.bind_with(encoder)


class SampleSource:
    """A base of sources whose records are samples; can be pickled while it is not bound."""

    _encoder: SampleEncoder | None = None

    def bind_with(self, encoder: SampleEncoder | None) -> bool:
        """Do what `BindingSource` says."""
        self._encoder = encoder
        return True

    def _encoded(self, sample: object) -> bytes:
        """Return the record of a sample; raises as `encode_sample`."""
        if self._encoder is None:
            return encode_sample(sample)
        try:
            return self._encoder.encode(sample)
        except (SchemaError, FormatError):
            # The writer knows which number it would have there, and refuses it.
            return encode_sample(sample)

    def _record_of(self, sample: object, where: str, number: int) -> bytes:
        """Return the record of a sample.

        Raises:
            SourceError: If it is of a type that samples do not have, naming `where` it comes from and its number.
        """
        try:
            return self._encoded(sample)
        except (TypeError, ValueError, OverflowError) as error:
            raise SourceError(
                f"record {number} of {shown(where)[1:-1]} cannot be stored as a sample: {error}", position=number
            ) from None
