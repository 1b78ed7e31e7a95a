"""The schemas of a segment as far as they are known, with which other processes bind samples for its writer.

A table only grows, and a sample that the schemas of now can bind is bound in the same way by all later ones. So what
a worker binds is what the writer would have made; all else stays as it is, and the writer binds it in its turn.

    writer   SchemaTable, DeclaredSchema ── KnownSchemas.of ──> worker: bind ──> a bound sample, or the same one
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from splitdata.errors import SchemaError
from splitdata.samples.declared_schema import DeclaredSchema
from splitdata.samples.schema_table import SchemaTable

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["KnownSchemas"]


@dataclass(frozen=True, slots=True)
class KnownSchemas:
    """The schemas of a segment up to now; may be sent to another process.

    Attributes:
        schemas: In the order of their numbers.
        is_declared: The dataset declares the only one.
    """

    schemas: tuple[bytes, ...]
    is_declared: bool

    @classmethod
    def of(cls, encoder: SchemaTable | DeclaredSchema) -> KnownSchemas:
        """Return those of what encodes the samples of a writer."""
        return cls(tuple(encoder.schemas), isinstance(encoder, DeclaredSchema))

    def encoder(self) -> SchemaTable | DeclaredSchema:
        """Return what encodes samples by these schemas; one that takes another stands alone, or is a `SchemaError`."""
        if self.is_declared:
            return DeclaredSchema(self.schemas[0])
        return SchemaTable(self.schemas, most=len(self.schemas))

    def binder(self) -> Callable[[bytes], bytes]:
        """Return what binds a sample that stands alone, and returns it as it is where it takes another schema.

        It raises `FormatError` for what is no sample.
        """
        encoder = self.encoder()

        def bind(record: bytes) -> bytes:
            try:
                return encoder.bind(record)
            except SchemaError:
                # The writer knows its number, and says it.
                return record

        return bind
