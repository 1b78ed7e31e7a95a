"""Changes one thing in a copy of a dataset and makes all hashes around it right again, without asking the library.

files of a dataset -> DatasetEditor -> changed files -> edits: what a runner of any language applies to a copy
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from struct import Struct, pack
from typing import Any, Final, NamedTuple

from xxhash import xxh3_64_intdigest as hash64

__all__ = [
    "DIGEST_BASE",
    "DIGEST_PRIME",
    "DatasetEditor",
    "Frame",
    "SegmentEditor",
    "align_up",
    "digest_of",
    "manifest_of",
    "packed_lists",
    "text_of",
]

_FRAME: Final = Struct("<IIQIBBHII")
_MULTIPLIERS: Final = (0x9E3779B97F4A7C15, 0xC90FDAA22168C235, 0xA4093822299F31D1, 0x452821E638D01377)
_WORD: Final = (1 << 64) - 1
DIGEST_PRIME: Final = (1 << 61) - 1
DIGEST_BASE: Final = 0x0F1E2D3C4B5A6979
_ESCAPE: Final = 0xFFFFFFFF
_LARGE: Final = 4


def align_up(value: int, alignment: int) -> int:
    """Return the least multiple of the alignment that is not below the value."""
    return value + -value % alignment


def manifest_of(line: bytes) -> bytes:
    """Return the file of a manifest with this first line."""
    return line + b'\n{"xxh3":"%016x"}\n' % hash64(line)


def digest_of(records: Iterable[bytes]) -> int:
    """Return the digest of records."""
    digest = 0
    for record in records:
        digest = (digest * DIGEST_BASE + hash64(record) + 1) % DIGEST_PRIME
    return digest


def packed_lists(lists: Iterable[Sequence[bytes]]) -> bytes:
    """Return lists of schemas as fingerprint and digest have them."""
    return b"".join(
        pack("<I", len(schemas)) + b"".join(pack("<I", len(one)) + one for one in schemas) for schemas in lists
    )


class Frame(NamedTuple):
    """The fields of a frame header that an oddity may be in; lengths of None are those of the payload."""

    sequence: int
    kind: int = 0
    codec: int = 0
    key_length: int = 0
    stored: int = 0
    raw: int = 0
    payload_hash: int = 0
    # Of a large frame, behind the words that every header has.
    words: tuple[int, int, int, int] = (0, 0, 0, 0)

    def pack(self, segment: str, number: int, offset: int) -> bytes:
        """Return the header with the sync word and the check of this place."""
        salt = hash64(bytes.fromhex(segment) + number.to_bytes(4, "little"), 0x5D)
        short = min(self.stored, _ESCAPE), min(self.raw, _ESCAPE)
        fields = (self.payload_hash, self.sequence, self.kind, self.codec, self.key_length, *short)
        body = _FRAME.pack(0, 0, *fields)[8:]
        if self.kind == _LARGE:
            body += pack("<4Q", *self.words)
        mixed = salt ^ offset * _MULTIPLIERS[0] & _WORD
        for n in range(len(body) // 8):
            word = int.from_bytes(body[8 * n : 8 * n + 8], "little")
            mixed = (mixed ^ mixed >> 32 ^ word) * _MULTIPLIERS[1 + n % 3] & _WORD
        return pack("<II", salt & _ESCAPE | 1, mixed >> 32) + body


class DatasetEditor:
    """A dataset in memory.

    Attributes:
        files: Content of each file, by its path from the dataset, with slashes.
        others: Edits that are no content: links, folders, FIFOs.
    """

    def __init__(self, folder: Path) -> None:
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        self._before = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
        self.files = {name: bytearray(data) for name, data in self._before.items()}
        self.others: list[dict[str, Any]] = []

    @property
    def manifest_name(self) -> str:
        """The newest manifest."""
        return max(name for name in self.files if name.startswith("manifest."))

    @property
    def manifest(self) -> dict[str, Any]:
        """What the newest manifest says."""
        parsed: dict[str, Any] = json.loads(self.files[self.manifest_name].partition(b"\n")[0])
        return parsed

    def set_line(self, line: bytes | str) -> None:
        """Give the newest manifest another first line."""
        data = line if isinstance(line, bytes) else line.encode()
        self.files[self.manifest_name][:] = manifest_of(data)

    def replace_in_line(self, old: str, new: str) -> None:
        """Replace the first place where a text stands in the manifest."""
        line = self.files[self.manifest_name].partition(b"\n")[0].decode()
        if old not in line:
            raise ValueError(f"{old} is not in the manifest")
        self.set_line(line.replace(old, new, 1))

    def change_manifest(self, change: Callable[[dict[str, Any]], object]) -> None:
        """Change the object of the newest manifest."""
        manifest = self.manifest
        change(manifest)
        self.set_line(json.dumps(manifest, separators=(",", ":"), ensure_ascii=True))

    def segment(self, number: int = 0) -> SegmentEditor:
        """Return the editor of a segment."""
        return SegmentEditor(self, self.manifest["segments"][number])

    def edits(self) -> list[dict[str, Any]]:
        """Return what makes the dataset as it was to what it is now."""
        edits: list[dict[str, Any]] = [
            {"file": name, "remove": True} for name in self._before if name not in self.files
        ]
        for name, data in self.files.items():
            edits += _edits_of(name, self._before.get(name), bytes(data))
        return edits + self.others


def _edits_of(name: str, before: bytes | None, after: bytes) -> list[dict[str, Any]]:
    if before == after:
        return []
    if name.startswith("manifest.") and after.isascii():
        return [{"file": name, "text": _pieces_of(after.decode())}]
    edits: list[dict[str, Any]] = []
    if before is None or len(before) != len(after):
        edits.append({"file": name, "size": len(after)})
    old = (before or b"")[: len(after)].ljust(len(after), b"\0")
    start = 0
    while start < len(after):
        # Pieces of eight bytes, as what is written has them.
        stop = start
        while stop < len(after) and old[stop : stop + 8] != after[stop : stop + 8]:
            stop += 8
        if stop > start:
            edits.append({"file": name, "offset": start, "hex": after[start:stop].hex()})
        start = stop + 8
    return edits


def _pieces_of(text: str) -> list[Any]:
    """Return a text by pieces, as an edit says it: a thousand times one character is one piece."""
    pieces: list[Any] = []
    start = 0
    for run in re.finditer(r"(.)\1{999,}", text):
        pieces += [text[start : run.start()], [run[1], len(run[0])]]
        start = run.end()
    return [*pieces, text[start:]]


class SegmentEditor:
    """The files of one segment."""

    def __init__(self, dataset: DatasetEditor, info: dict[str, Any]) -> None:
        self._dataset = dataset
        self._files = dataset.files
        self.info = info
        self.id: str = info["id"]
        self.bins: int = info["bins"]
        self.group: int = info.get("group", 1)
        self.frames = -(-info["records"] // self.group)
        self.stride = 16 + (4 * self.group if self.group > 1 else 0)

    def path(self, name: str) -> str:
        """Return the path of a file from the dataset."""
        return f"segments/{self.id}/{name}"

    def file(self, name: str) -> bytearray:
        """Return a file."""
        return self._files[self.path(name)]

    @property
    def index(self) -> bytearray:
        """The index."""
        return self.file("index")

    def remove(self, name: str) -> None:
        """Remove a file."""
        del self._files[self.path(name)]

    def add(self, name: str, data: bytes | bytearray = b"") -> None:
        """Make a file anew."""
        self._files[self.path(name)] = bytearray(data)

    def bin_of(self, frame: int) -> bytearray:
        """Return the bin that a frame is in."""
        return self.file(f"{frame % self.bins:06}.bin")

    def set_header(self, name: str, offset: int, data: bytes, *, intact: bool = True) -> None:
        """Change the header of a file, and its hash."""
        file = self.file(name)
        file[offset : offset + len(data)] = data
        end = 120 if name == "index" else 56
        if intact:
            file[end : end + 8] = hash64(bytes(file[:end])).to_bytes(8, "little")

    def entry(self, frame: int) -> tuple[int, int, int]:
        """Return the offset of a frame, and its lengths."""
        start = 128 + self.stride * frame
        loc, stored, raw = Struct("<QII").unpack_from(self.index, start)
        return loc % 2**40 * 8, stored, raw

    def set_entry(
        self, frame: int, *, loc: int | None = None, stored: int | None = None, raw: int | None = None
    ) -> None:
        """Change an entry, and the hashes of the index."""
        start = 128 + self.stride * frame
        old = Struct("<QII").unpack_from(self.index, start)
        new = (
            old[n] if value is None else min(value, _ESCAPE if n else _WORD)
            for n, value in enumerate((loc, stored, raw))
        )
        self.index[start : start + 16] = pack("<QII", *new)
        self.rehash()

    def rehash(self) -> None:
        """Make the tables of the index right: block sums, lengths of bins and their hashes."""
        if not self.info["sealed"]:
            return
        index, end = self.index, 128 + self.stride * self.frames
        each = max(1, 65536 // self.stride) * self.stride
        sums = b"".join(
            hash64(bytes(index[start : min(start + each, end)])).to_bytes(8, "little")
            for start in range(128, end, each)
        )
        lengths = b"".join(
            len(self.file(f"{number:06}.bin") if number < self.frames else b"").to_bytes(8, "little")
            for number in range(self.bins)
        )
        dictionary = bytes(index[end + len(sums) + len(lengths) : -24])
        footer = b"".join(hash64(part).to_bytes(8, "little") for part in (sums, lengths, dictionary))
        index[end:] = sums + lengths + dictionary + footer

    def frame(self, frame: int) -> Frame:
        """Return the header of a frame."""
        begin, *_ = self.entry(frame)
        file = self.bin_of(frame)
        _, _, payload_hash, sequence, kind, codec, key_length, stored, raw = _FRAME.unpack_from(file, begin)
        words = Struct("<4Q").unpack_from(file, begin + 32) if kind == _LARGE else (0, 0, 0, 0)
        return Frame(sequence, kind, codec, key_length, stored, raw, payload_hash, words)

    def set_frame(self, frame: int, header: Frame) -> None:
        """Write a header over that of a frame; the entry says the same lengths."""
        begin, *_ = self.entry(frame)
        data = header.pack(self.id, frame % self.bins, begin)
        self.bin_of(frame)[begin : begin + len(data)] = data
        self.set_entry(frame, stored=header.stored, raw=header.raw)

    def replace_last(self, payload: bytes, *, behind: bytes = b"", frame: int | None = None, **fields: Any) -> None:
        """Replace the last frame of its bin: payload and what stands behind it, fields of the header."""
        number = self.frames - 1 if frame is None else frame
        if number + self.bins < self.frames:
            raise ValueError(f"frame {number} is not the last of its bin")
        begin, *_ = self.entry(number)
        header = self.frame(number)._replace(stored=len(payload), payload_hash=hash64(payload), **fields)
        file = self.bin_of(number)
        del file[begin:]
        file += bytes(32) + payload + behind
        # As a sealed bin ends.
        file += bytes(-(len(file) + 32) % (1 << self.index[60]))
        self.set_frame(number, header)

    def payload(self, frame: int) -> bytes:
        """Return the stored payload of a frame that is not large."""
        begin, stored, _ = self.entry(frame)
        return bytes(self.bin_of(frame)[begin + 32 : begin + 32 + stored])

    def flip(self, name: str, offset: int) -> None:
        """Flip a bit of a file; all hashes stay as they are."""
        self.file(name)[offset] ^= 0x10

    def frame_of_large(self, raw: int, stored: int, codec: int) -> Frame:
        """Return the header of the second record, as a large one of these lengths."""
        words = (stored, raw, 0, 0)
        return self.frame(1)._replace(raw=raw, stored=stored, codec=codec, words=words)

    def set_frame_at(self, frame: int, offset: int, header: Frame) -> None:
        """Write the header of a frame at a place, and let its entry lead there."""
        self.set_entry(frame, loc=frame % self.bins << 40 | offset // 8)
        self.set_frame(frame, header)

    def set_control_frame(self, payload: bytes, *, kind: int) -> None:
        """Write a control frame over the first frame of bin 0."""
        header = Frame(_ESCAPE, kind, stored=len(payload), raw=len(payload), payload_hash=hash64(payload))
        data = header.pack(self.id, 0, 64) + payload
        self.file("000000.bin")[64 : 64 + len(data)] = data

    def add_dictionary(self, content: bytes) -> None:
        """Put a dictionary before all frames of bin 0, and into the index; the frames are gone."""
        file = self.file("000000.bin")
        del file[64:]
        file += bytes(32) + content + bytes(-len(content) % 8)
        self.set_control_frame(content, kind=1)
        self.set_header("index", 96, pack("<I", len(content)))
        self.index[-24:-24] = content + bytes(-len(content) % 8)

    def add_schema(self, schema: bytes) -> None:
        """Add a schema of samples: to the manifest, to this segment and to the second copy."""
        encoded = base64.b64encode(schema).decode()

        def change(manifest: dict[str, Any]) -> None:
            manifest["schemas"].append(encoded)
            manifest["segments"][0]["schemas"].append(len(manifest["schemas"]) - 1)

        self._dataset.change_manifest(change)
        item = pack("<IIQ", len(schema), 0, hash64(schema)) + schema
        self.file("schemas").extend(item + bytes(-len(item) % 8))

    def set_last_record(self, record: bytes) -> None:
        """Replace the last record, which is not compressed, and all sums of the segment: nothing else is odd."""
        old = self.payload(self.frames - 1)
        self.replace_last(record, raw=len(record))
        digest = digest_of(map(self.payload, range(self.frames)))
        length = self.info["raw_bytes"] + len(record) - len(old)
        sums = {"digest": f"{digest:016x}", "raw_bytes": length, "stored_bytes": length}
        self._dataset.change_manifest(lambda manifest: manifest["segments"][0].update(sums))
        longest = max(len(self.payload(number)) for number in range(self.frames))
        self.set_header("index", 64, pack("<4Q", digest, length, length, longest))

    def append_frames(self, frames: list[tuple[Frame, bytes]]) -> None:
        """Write frames into bin 0, one behind the other; all entries lead there."""
        file = self.file("000000.bin")
        for number, (header, payload) in enumerate(frames):
            offset = len(file)
            file += bytes(32) + payload + bytes(-len(payload) % 8)
            self.set_frame_at(number, offset, header)


def text_of(pieces: list[Any]) -> str:
    """Return the text that an edit says by pieces: a text, or a text and how often it stands there."""
    parts = []
    for piece in pieces:
        text, times = (piece, 1) if isinstance(piece, str) else piece
        if "%ID%" in text:
            parts += [text.replace("%ID%", f"{number:032x}") for number in range(times)]
        else:
            parts.append(text * times)
    return "".join(parts)
