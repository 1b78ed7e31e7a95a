"""The numbers of FORMAT.md and docs/format, each with its section: all other modules of the format are built on them.

What is written with other numbers is another format.

    DIR/manifest.0000000042.json        FORMAT.md section 5
        segments/<32 hex>/index         FORMAT.md section 7
                          000000.bin    FORMAT.md section 8
"""

from __future__ import annotations

from typing import Final

# -- versions (section 15) ---------------------------------------------------------------------
MAJOR: Final = 1
MINOR: Final = 0
FORMAT_VERSION: Final = (MAJOR, MINOR)

# -- bins (section 8) --------------------------------------------------------------------------
# A byte above 127 and the three line endings show a file that a text-mode transfer has changed.
BIN_MAGIC: Final = b"\x89SDB\r\n\x1a\n"
BIN_HEADER_BYTES: Final = 64

FRAME_HEADER_BYTES: Final = 32
LARGE_FRAME_HEADER_BYTES: Final = 64
# Places are stored in units of 8 bytes, and the header words of a frame are read as aligned u64.
FRAME_UNIT: Final = 8
ALIGNMENTS: Final = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)

KIND_RECORD: Final = 0
KIND_DICTIONARY: Final = 1
KIND_METADATA: Final = 2
KIND_GROUP: Final = 3
KIND_LARGE: Final = 4

CODEC_NONE: Final = 0
CODEC_ZSTD: Final = 1
CODEC_ZSTD_DICTIONARY: Final = 2

# From this raw length on a record is hashed in blocks, so that a range of it can be verified alone.
LARGE_RECORD_BYTES: Final = 1 << 24
BLOCK_BYTES: Final = 1 << 20
# In the u32 length fields of frame and index: the length stands in the header of a large frame.
LENGTH_ESCAPE: Final = 0xFFFFFFFF
# The sequence number of a frame that is not a record (dictionary, metadata).
CONTROL_SEQUENCE: Final = 0xFFFFFFFF
MAX_KEY_BYTES: Final = 0xFFFF
# Behind a key its xxh3-64: the hash by which the table of keys knows it.
KEY_HASH_BYTES: Final = 8
# What stands in a header that names no other hash, and no key of an encryption.
HASH_XXH3: Final = 0
NO_KEY_ID: Final = bytes(16)
# Word 2 of a frame: sequence number, kind, codec, length of the key.
CODEC_SHIFT: Final = 40
KEY_SHIFT: Final = 48

# -- groups (section 11) -----------------------------------------------------------------------
# A power of two; a table of 256 KiB is enough for one hash.
MAX_GROUP: Final = 65536

# -- index (section 7) -------------------------------------------------------------------------
INDEX_MAGIC: Final = b"\x89SDI\r\n\x1a\n"
INDEX_HEADER_BYTES: Final = 128
INDEX_ENTRY_BYTES: Final = 16
# A `loc` of all ones: the record that stood here is lost, its position stays.
TOMBSTONE: Final = 0xFFFFFFFFFFFFFFFF
BIN_SHIFT: Final = 40
PLACE_MASK: Final = (1 << BIN_SHIFT) - 1
# Entries under one checksum of the block sums: what one disk read brings anyway.
SUM_BYTES: Final = 65536

# -- keys (section 12) -------------------------------------------------------------------------
KEYS_MAGIC: Final = b"\x89SDK\r\n\x1a\n"
KEYS_HEADER_BYTES: Final = 64
# Keys under one checksum: 12 KiB, which a search hashes in a microsecond to prove what it found, or did not find.
KEYS_PER_BLOCK: Final = 1024

# -- deleted records (section 13) ----------------------------------------------------------------
DELETED_MAGIC: Final = b"\x89SDX\r\n\x1a\n"
DELETED_HEADER_BYTES: Final = 64
# Of a segment, in the manifest: who does not know it must not read the segment.
DELETED_FEATURE: Final = "deleted"

# -- digest of all records (example.md section 3) ------------------------------------------------
DIGEST_LEAF_RECORDS: Final = 1024
# In the place of the length of a record that was deleted.
DIGEST_DELETED: Final = 0xFFFFFFFFFFFFFFFF
# Before the schemas.
DIGEST_SCHEMAS: Final = 0xFFFFFFFFFFFFFFFE

# -- schemas (docs/format/samples.md) ------------------------------------------------------------
SCHEMAS_MAGIC: Final = b"\x89SDT\r\n\x1a\n"
SCHEMAS_HEADER_BYTES: Final = 64

# -- limits (section 4) ------------------------------------------------------------------------
MAX_SEGMENT_RECORDS: Final = 0xFFFFFFFE
MAX_BINS: Final = 1 << 24
MAX_BIN_BYTES: Final = 1 << (BIN_SHIFT + 3)
MAX_SEGMENTS: Final = 10_000
MAX_MANIFEST_BYTES: Final = 16 << 20
# Ten digits, as many as the name of a manifest has.
MAX_GENERATION: Final = 9_999_999_999
MAX_METADATA_BYTES: Final = 1 << 20
MAX_METADATA_DEPTH: Final = 100
MAX_DICTIONARY_BYTES: Final = 16 << 20
# The largest zstd window a reader must grant; also what bounds its memory beside the output.
MAX_WINDOW_BYTES: Final = 128 << 20
# Larger records are never compressed, so that a reader's default limit admits all that is written.
MAX_COMPRESSED_RAW_BYTES: Final = 1 << 30

# Keys of one segment with one hash. By chance no two have; by intent any number, and each costs a read.
MAX_EQUAL_HASHES: Final = 1024
MAX_KEY_RUNS: Final = 65536

# Schemas of one segment, and of one manifest; what those of a manifest have together.
MAX_SEGMENT_SCHEMAS: Final = 1024
MAX_SCHEMAS: Final = 4096
MAX_SCHEMAS_BYTES: Final = 4 << 20

# -- manifest (section 5) and names (writing.md) -----------------------------------------------
FORMAT_NAME: Final = "splitdata"
SEGMENTS_FOLDER: Final = "segments"
INDEX_NAME: Final = "index"
KEYS_NAME: Final = "keys"
# Of a segment that is not sealed.
OPEN_KEYS_NAME: Final = "keys.open"
KEYS_SCRATCH_NAME: Final = "keys.tmp"
OPEN_KEYS_SCRATCH_NAME: Final = "keys.open.tmp"
INDEX_SCRATCH_NAME: Final = "index.tmp"
# The hash of the list follows, as 16 hex digits.
DELETED_PREFIX: Final = "deleted."
DELETED_SCRATCH_NAME: Final = "deleted.tmp"
SCHEMAS_NAME: Final = "schemas"
SCHEMAS_SCRATCH_NAME: Final = "schemas.tmp"
# Of a segment that waits for the commit of its part.
PART_NAME: Final = "part"
PART_SCRATCH_NAME: Final = "part.tmp"
