"""The numbers of docs/format/samples.md, on which all other modules of the codec are built.

What is written with other numbers is another format.

    header 8 | schema | zeros | table, 8 bytes a slot | payloads
     `- magic, version, bytes of the schema
"""

from __future__ import annotations

from typing import Final

# A byte that no UTF-8 text begins with.
SAMPLE_MAGIC: Final = b"\x8dSM"
SAMPLE_VERSION: Final = 1
SAMPLE_HEADER_BYTES: Final = 8
SLOT_BYTES: Final = 8
# What arrays of this size and more begin at multiples of: a cache line, and what other libraries ask of a view.
ARRAY_ALIGNMENT: Final = 64
# Smaller ones begin at multiples of this, which is all that numpy needs.
SMALL_ARRAY_ALIGNMENT: Final = 8

# -- limits ------------------------------------------------------------------------------------
MAX_DEPTH: Final = 64
MAX_SCHEMA_BYTES: Final = 1 << 20
MAX_NDIM: Final = 64
# What an array may take as numpy counts it, its empty dimensions taken for 1.
MAX_ARRAY_BYTES: Final = (1 << 63) - 1
# Values of the arrays of a sample beyond those that their bytes pay for: rows of no elements, fields that overlap.
MAX_EMPTY_ELEMENTS: Final = 1 << 20
# Of a schema that samples are bound to: some nodes take no byte of them.
MAX_BOUND_NODES: Final = 1 << 16

# -- samples that are bound to a schema of their segment ---------------------------------------
EXTENT_BYTES: Final = 4
NUMBER_BYTES: Final = 4
# In the place of a dimension in a schema: each sample says it.
FREE_DIMENSION: Final = (1 << 64) - 1

# -- kinds of nodes ----------------------------------------------------------------------------
KIND_NONE: Final = 0
KIND_BOOL: Final = 1
KIND_INT: Final = 2
KIND_BIG_INT: Final = 3
KIND_FLOAT: Final = 4
KIND_TEXT: Final = 5
KIND_BYTES: Final = 6
KIND_DATE: Final = 7
KIND_TIMEDELTA: Final = 8
KIND_DATETIME: Final = 9
KIND_DATETIME_OFFSET: Final = 10
KIND_DATETIME_ZONE: Final = 11
KIND_LIST: Final = 16
KIND_TUPLE: Final = 17
KIND_DICT: Final = 18
KIND_NAMEDTUPLE: Final = 19
KIND_DATACLASS: Final = 20
KIND_INT_LIST: Final = 21
KIND_FLOAT_LIST: Final = 22
KIND_ARRAY: Final = 32
KIND_SCALAR: Final = 33
KIND_TENSOR: Final = 34
KIND_SHAPED_ARRAY: Final = 35
KIND_SHAPED_TENSOR: Final = 36
KIND_OPTIONAL: Final = 48

# -- kinds of keys in a dict -------------------------------------------------------------------
KEY_TEXT: Final = 0
KEY_INT: Final = 1

# -- data types --------------------------------------------------------------------------------
# In the place of a name's length: what follows is a structure of fields.
DTYPE_STRUCT: Final = 0
# Types of tensors: those that numpy has, and of the others the name and the type of the bits.
TENSOR_DTYPES: Final = (
    *("|b1", "|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8"),
    *("<f2", "<f4", "<f8", "<c8", "<c16"),
)
TENSOR_BITS: Final = {"bfloat16": "<u2", "float8_e4m3fn": "|u1", "float8_e5m2": "|u1"}
