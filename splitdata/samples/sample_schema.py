"""SampleSchema: the schema that a dataset declares, to be shown, compared, and given to another writer.

It is made by who reads a dataset; a person who declares one writes types, or gives an example.

    SampleDataset(a).schema ──> SampleSchema ──> SplitWriter(b, schema=...)
                                    `- as text {'image': uint8[224,224,3], 'label': int}
"""

from __future__ import annotations

from dataclasses import dataclass

from splitdata.errors import FormatError
from splitdata.samples.schema_text import shown_schema

__all__ = ["SampleSchema"]


@dataclass(frozen=True, slots=True)
class SampleSchema:
    """What each sample of a dataset is: equal to another if both say the same; pickles.

    Attributes:
        data: As it is stored: docs/format/samples.md has the bytes.
    """

    data: bytes

    def __str__(self) -> str:
        """Show the types; takes time where there are very many."""
        try:
            return shown_schema(self.data)
        except FormatError as error:
            return f"of no use here: {error}"

    def __repr__(self) -> str:
        """Show the types."""
        return f"SampleSchema({self})"
