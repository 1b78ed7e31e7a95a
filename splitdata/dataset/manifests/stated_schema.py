"""The schema that a dataset declares, and what encodes the samples of a writer: by schemas of its own, or found there.

A dataset whose samples were of two declared schemas would have declared nothing.

    SplitWriter(schema=...) ──> the dataset has another, or records and none? ──> SchemaError
    the last segment's schemas ──> SchemaTable of the new one: equal numbers, so that both can be folded, and read alike
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from splitdata.errors import SchemaError
from splitdata.format import spec
from splitdata.samples.declared_schema import DeclaredSchema
from splitdata.samples.schema_table import SchemaTable
from splitdata.samples.schema_text import shown_schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from splitdata.format.manifest import Manifest

__all__ = ["SampleEncoder", "check_schema", "chosen_schema", "encoder_for"]

SampleEncoder: TypeAlias = SchemaTable | DeclaredSchema

# A longer list is not begun with: each segment would list all of it again.
_MOST_INHERITED: Final = 64


def chosen_schema(found: Manifest, schema: bytes | None) -> bytes | None:
    """Return the schema of a writer that adds to a dataset: what that declares, or what it was given.

    Raises:
        SchemaError: If both differ.
    """
    if schema is None:
        return found.schema
    check_schema(found, schema)
    return schema


def check_schema(manifest: Manifest, schema: bytes | None) -> None:
    """Raise if samples of one declared schema, or of none, are to join others.

    Raises:
        SchemaError: If they are.
    """
    if manifest.schema == schema or (manifest.schema is None and not manifest.num_records):
        return
    has = "declares no schema" if manifest.schema is None else f"declares the schema {shown_schema(manifest.schema)}"
    wanted = "none is declared" if schema is None else f"this writer has {shown_schema(schema)}"
    raise SchemaError(f"the dataset has {manifest.num_records} records and {has}, and {wanted}: they must be the same")


def encoder_for(found: Manifest | None, schema: bytes | None, resumed: Sequence[bytes] | None) -> SampleEncoder:
    """Return what makes records of a new session's samples.

    Args:
        found: The dataset that it adds to, None for a new one.
        schema: That is declared.
        resumed: Schemas of the segment that it goes on with, None if it begins one.
    """
    if schema is not None:
        return DeclaredSchema(schema)
    known: Sequence[bytes] = resumed or ()
    if found is not None and resumed is None and found.segments:
        known = found.segments[-1].schemas
        known = known if len(known) <= _MOST_INHERITED else ()
    others = set(found.schemas) - set(known) if found else set[bytes]()
    return SchemaTable(
        known,
        most=min(spec.MAX_SEGMENT_SCHEMAS, spec.MAX_SCHEMAS - len(others)),
        most_bytes=spec.MAX_SCHEMAS_BYTES - sum(map(len, others)),
    )
