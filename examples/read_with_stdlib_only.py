"""Read a dataset with the standard library alone: manifest -> segment -> index entry -> frame -> record, proven.

    python read_with_stdlib_only.py DATASET [KEY ...]

This and its parts in stdlib_reader/ were written from FORMAT.md, and give the verdicts of tests/conformance. Before
Python 3.14 there is no zstd: then what is compressed is not read.
"""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from struct import pack, unpack_from
from typing import Any

from stdlib_reader.files import Refusal, check_header, demand, open_file, refuse
from stdlib_reader.manifest import read_manifest
from stdlib_reader.xxh3 import xxh3

zstd: Any = importlib.import_module("compression.zstd") if importlib.util.find_spec("_zstd") else None
WORD, HALF, LARGE = (1 << 64) - 1, (1 << 32) - 1, 1 << 24
PRIMES = 0x9E3779B97F4A7C15, 0xC90FDAA22168C235, 0xA4093822299F31D1, 0x452821E638D01377


def align_up(value: int, alignment: int) -> int:
    return value + -value % alignment


class Segment:
    """The files of one segment."""

    def __init__(self, dataset: Path, fields: dict[str, Any]) -> None:
        self.fields, self.folder = fields, dataset / "segments" / fields["id"]
        self.records, self.bins, self.group = fields["records"], fields["bins"], fields.get("group", 1)
        self.id = bytes.fromhex(fields["id"])

    def deleted(self) -> tuple[int, ...]:
        """Return the sequence numbers in the list of deleted records, of which the file has two copies."""
        if "deleted" not in self.fields:
            return ()
        name, count = self.fields["deleted_hash"], self.fields["deleted"]
        data = open_file(self.folder / f"deleted.{name}")
        size = 64 + 4 * count
        for half in data[:size], data[size : 2 * size]:
            if xxh3(half) == int(name, 16) and check_header(half, b"X", self.id):
                found = unpack_from(f"<{(len(half) - 64) // 4}I", half, 64)
                right = unpack_from("<Q", half, 40)[0] == count == len(found) and [*found] == sorted({*found})
                demand(right, "FormatError", "the list of deleted records is wrong")
                return found
        refuse("FormatError", "the list of deleted records is damaged")

    def check_features(self) -> None:
        """Refuse a segment with unknown features."""
        features = {*self.fields.get("must_understand", ())} - {"groups", "deleted"}
        demand(not features, "UnsupportedVersionError", f"{features} is not known")

    def check(self, sequence: int) -> None:
        """Refuse a record that was deleted, and all of a segment with unknown features."""
        self.check_features()
        demand(sequence not in self.deleted(), "RecordDeletedError", "the record was deleted")

    def frame(self, frame: int) -> tuple[Any, int, int, int, int, int]:
        """Follow an entry of the index; return the bin, where the frame begins, kind, codec and both lengths."""
        stride, number = 16 + 4 * self.group * (self.group > 1), frame % self.bins
        index = open_file(self.folder / "index", "TruncatedFileError")
        check_header(index[:128], b"I", self.id, 128)
        demand(128 + stride * frame + 16 <= len(index), "TruncatedFileError", "the index ends before the entry")
        loc, *entry = unpack_from("<QII", index, 128 + stride * frame)
        begin = loc % (1 << 40) * 8
        demand(loc != WORD and loc >> 40 == number, "CorruptRecordError", "lost, or the entry is wrong")
        data = open_file(self.folder / f"{number:06}.bin", "MissingBinError")
        check_header(data[:64], b"B", self.id + number.to_bytes(4, "little"), flags=40)
        demand(begin + 32 <= len(data), "TruncatedFileError", "the bin ends before the frame")
        found, kind, codec, _, *lengths = unpack_from("<IBBHII", data, begin + 16)
        demand((found, lengths) == (frame, entry), "CorruptRecordError", "entry and frame disagree")
        demand(kind != 4 or begin + 64 <= len(data), "TruncatedFileError", "the bin ends within the frame")
        stored, raw = unpack_from("<QQ", data, begin + 32) if kind == 4 else lengths
        right = kind == (3 if self.group > 1 else 4 if raw >= LARGE else 0) and (kind == 4 or raw < LARGE)
        right = right and codec < (2 if kind == 4 else 3) and (stored < raw if codec else stored == raw)
        right = right and lengths == [min(stored, HALF), min(raw, HALF)]
        right = right and any(self.sync_and_check(data, begin, kind, number))
        demand(right, "CorruptRecordError", "the header of the frame is not valid")
        return data, begin, kind, codec, stored, raw

    def sync_and_check(self, data: Any, begin: int, kind: int, number: int) -> tuple[bool, bool]:
        """Say whether sync word and header check are those of a frame of this bin, in this place."""
        salt = xxh3(self.id + number.to_bytes(4, "little"), 0x5D)
        mixed = salt ^ begin * PRIMES[0] & WORD
        for n, word in enumerate(unpack_from("<7Q" if kind == 4 else "<3Q", data, begin + 8)):
            mixed = (mixed ^ mixed >> 32 ^ word) * PRIMES[1 + n % 3] & WORD
        sync, check = unpack_from("<II", data, begin)
        return sync == salt & HALF | 1, check == mixed >> 32

    def payload(self, frame: int) -> bytes:
        """Return the raw payload of a frame, which is a record or a group."""
        data, begin, kind, codec, stored, raw = self.frame(frame)
        start, expected = begin + (64 if kind == 4 else 32), unpack_from("<Q", data, begin + 8)[0]
        # Behind a large payload stand zeros to a multiple of 8, and a hash for each MiB.
        blocks = range(start, start + stored, 1 << 20) if kind == 4 else range(0)
        table = align_up(start + stored, 8) if kind == 4 else start + stored
        demand(table + 8 * len(blocks) <= len(data), "TruncatedFileError", "the bin ends within the frame")
        demand(not codec or raw <= 1 << 30, "RecordTooLargeError", f"a compressed record of {raw} bytes")
        stop = start + stored
        hashes = pack(f"<{len(blocks)}Q", *(xxh3(data[place : min(place + (1 << 20), stop)]) for place in blocks))
        right = hashes == data[table : table + 8 * len(blocks)]
        right = right and xxh3(hashes if kind == 4 else data[start:stop]) == expected
        demand(right, "CorruptRecordError", "a hash is wrong")
        return self.decompress(data[start:stop], raw, codec) if codec else data[start:stop]

    def decompress(self, stored: bytes, raw: int, codec: int) -> bytes:
        """Return what one zstd frame holds, which must say its length, and need no large window."""
        demand(zstd is not None, "NoZstdError", "compressed: that takes Python 3.14")
        content = self.dictionary() if codec == 2 else b""
        try:
            shared = zstd.ZstdDict(content, is_raw=content[:4] != b"\x37\xa4\x30\xec") if content else None
            frame = zstd.get_frame_info(stored)
            # The decoder looks at the window only where it needs one.
            window = 0 if stored[4] & 32 else (1 << 7 + (stored[5] >> 3)) * (8 + (stored[5] & 7))
            right = frame.decompressed_size == raw and window <= max(1 << 27, raw)
            right = right and frame.dictionary_id in (0, shared.dict_id if shared else 0)
            demand(right, "CorruptRecordError", "another length, window or dictionary")
            options = {zstd.DecompressionParameter.window_log_max: max(27, (raw - 1).bit_length())}
            stream = zstd.ZstdDecompressor(zstd_dict=shared, options=options)
            record = bytes(stream.decompress(stored, raw + 1))
        except (zstd.ZstdError, ValueError) as error:
            refuse("CorruptRecordError", f"{error}")
        demand(len(record) == raw and stream.eof and not stream.unused_data, "CorruptRecordError", "other lengths")
        return record

    def dictionary(self) -> bytes:
        """Return the dictionary: from a sealed index, and where that is damaged from the first frame of bin 0."""
        index = open_file(self.folder / "index", "TruncatedFileError")
        if self.fields["sealed"] and check_header(index[:128], b"I", self.id, 128):
            size = int.from_bytes(index[96:100], "little")
            stride, frames = 16 + 4 * self.group * (self.group > 1), -(-self.records // self.group)
            # Behind the entries, the block sums and the bin table.
            start = 128 + stride * frames + 8 * -(-frames // max(1, 65536 // stride)) + 8 * self.bins
            stop = start + align_up(size, 8)
            right = 0 < size <= LARGE and stop + 24 <= len(index)
            if right and xxh3(index[start:stop]) == int.from_bytes(index[stop + 16 : stop + 24], "little"):
                return bytes(index[start : start + size])
        try:
            data = open_file(self.folder / "000000.bin")
            is_intact = check_header(data[:64], b"B", self.id + bytes(4), flags=40)
        except Refusal as error:
            refuse("CorruptRecordError", f"there is no dictionary: {error}")
        # Where payloads begin that are aligned to 8 bytes, to 16, and so on.
        for start in sorted({align_up(96, 1 << n) for n in ([data[48]] if is_intact else range(3, 13))}):
            head = data[start - 32 : start]
            if len(data) <= start or any(data[64 : start - 32]) or head[16:24] != b"\xff\xff\xff\xff\1\0\0\0":
                continue
            size, raw = unpack_from("<II", head, 24)
            content = bytes(data[start : start + size])
            if size == raw == len(content) <= LARGE and xxh3(content) == int.from_bytes(head[8:16], "little"):
                return content
        refuse("CorruptRecordError", "there is no dictionary that is whole")

    def items(self, frame: int) -> tuple[bytes, list[int], list[int], int]:
        """Return a group: its payload, where records end, where keys end, the alignment of records."""
        payload, most = self.payload(frame), min(self.group, self.records - frame * self.group)
        demand(len(payload) >= 8, "CorruptRecordError", "the group ends within its head")
        count, flags = unpack_from("<II", payload)
        right = most <= count <= self.group and flags & 0xFF < 7 and flags < 512
        tables = 8 + 4 * count * (1 + (flags >> 8))
        demand(right and tables <= len(payload), "CorruptRecordError", "the tables of the group are wrong")
        ends = unpack_from(f"<{(tables - 8) // 4}I", payload, 8)
        return payload, [tables, *ends[:count]], [ends[count - 1], *ends[count:]], 1 << (flags & 0xFF)

    def record(self, sequence: int) -> bytes:
        """Return a record."""
        self.check(sequence)
        if self.group == 1:
            return self.payload(sequence)
        frame, number = divmod(sequence, self.group)
        payload, ends, _, alignment = self.items(frame)
        start, stop = align_up(ends[number], alignment), ends[number + 1]
        demand(ends[0] <= start <= stop <= len(payload), "CorruptRecordError", "the record is not within its group")
        return payload[start:stop]

    def key(self, sequence: int) -> str | None:
        """Return the key of a record, None if it has none."""
        self.check(sequence)
        frame, number = divmod(sequence, self.group)
        if self.group > 1:
            payload, ends, key_ends, _ = self.items(frame)
            if len(key_ends) == 1:
                return None
            start, stop = key_ends[number], key_ends[number + 1]
            right = ends[-1] <= start <= stop <= len(payload) and stop - start < 1 << 16
            key = payload[start:stop]
        else:
            key, right = self.key_of_frame(frame)
        try:
            demand(right, "CorruptRecordError", "the key is damaged")
            return key.decode() or None
        except UnicodeDecodeError:
            refuse("CorruptRecordError", "the key is not UTF-8")

    def key_of_frame(self, frame: int) -> tuple[bytes, bool]:
        """Return the key behind the payload of a frame, and whether its hash is right."""
        data, begin, kind, _, stored, _ = self.frame(frame)
        right = all(self.sync_and_check(data, begin, kind, frame % self.bins))
        demand(right, "CorruptRecordError", "whether there is a key is not known, as the header check is wrong")
        size = int.from_bytes(data[begin + 22 : begin + 24], "little")
        start = begin + 32 + stored
        if kind == 4:
            start = align_up(begin + 64 + stored, 8) + 8 * ((stored + (1 << 20) - 1) >> 20)
        key, behind = data[start : start + size], data[start + size : start + size + 8]
        demand(not size or len(behind) == 8, "TruncatedFileError", "the bin ends within the key")
        return key, not size or xxh3(key) == int.from_bytes(behind, "little")

    def runs(self) -> tuple[Any, list[tuple[int, int]]]:
        """Return the file that leads from hashes of keys to records, and where its runs lie and how long they are."""
        end = self.fields["keys_bytes"]
        tries = [] if self.fields["sealed"] else [("keys.open", end)]
        for name, place in [*tries, ("keys", end), ("keys", None)]:
            try:
                data = open_file(self.folder / name, "missing")
            except Refusal as error:
                demand(str(error).startswith("missing"), *str(error).split(": ", 1))
                continue
            try:
                return self.directory(data, len(data) if place is None else place)
            except Refusal as error:
                demand("UnsupportedVersionError" not in str(error), *str(error).split(": ", 1))
        refuse("FormatError", "no file of keys has an intact directory")

    def directory(self, data: Any, end: int) -> tuple[Any, list[tuple[int, int]]]:
        """Read the list of runs that ends somewhere in a file of keys."""
        demand(64 + 24 <= end <= len(data) and end % 8 == 0, "FormatError", "the file of keys ends early")
        check_header(data[:64], b"K", self.id)
        total, count, hashed = unpack_from("<QQQ", data, end - 24)
        start = end - 24 - 24 * count
        right = count <= 1 << 16 and start >= 64 and xxh3(data[start : end - 8]) == hashed
        demand(right, "FormatError", "the directory of keys is damaged")
        runs = sorted(unpack_from("<QQQ", data, start + 24 * n) for n in range(count))
        place = 64
        for offset, size, fences_hash in runs:
            blocks = (size + 1023) // 1024
            fences = offset + sum(align_up(12 * min(1024, size - n), 8) for n in range(0, min(size, end), 1024))
            right = offset >= place and offset % 8 == 0 and 0 < size < end and fences + 16 * blocks <= start
            demand(right, "FormatError", "a run is wrong")
            demand(xxh3(data[fences : fences + 16 * blocks]) == fences_hash, "FormatError", "the fences are damaged")
            place = fences + 16 * blocks
        demand(sum(size for _, size, _ in runs) == total, "FormatError", "the number of keys is wrong")
        return data, [(offset, size) for offset, size, _ in runs]

    def candidates(self, hashed: int) -> Iterator[int]:
        """Yield the sequence numbers of all records whose key has a hash."""
        data, runs = self.runs()
        for offset, size in runs:
            fences = offset + size // 1024 * 12288 + align_up(size % 1024 * 12, 8)
            firsts = [unpack_from("<QQ", data, fences + 16 * n) for n in range((size + 1023) // 1024)]
            for n, (first, block_hash) in enumerate(firsts):
                if first > hashed or (n + 1 < len(firsts) and firsts[n + 1][0] < hashed):
                    continue
                count, start = min(1024, size - 1024 * n), offset + 12288 * n
                right = xxh3(data[start : start + align_up(12 * count, 8)]) == block_hash
                demand(right, "FormatError", "a block of keys is damaged")
                hashes = unpack_from(f"<{count}Q", data, start)
                numbers = unpack_from(f"<{count}I", data, start + 8 * count)
                yield from (number for one, number in zip(hashes, numbers, strict=True) if one == hashed)

    def find(self, key: str) -> int | None:
        """Return the sequence number of the last record with a key."""
        for sequence in sorted(self.candidates(xxh3(key.encode())), reverse=True):
            if sequence >= self.records:
                demand(not self.fields["sealed"], "FormatError", "the keys are of another segment")
            elif sequence not in self.deleted():
                found = self.key(sequence)
                if found == key:
                    return sequence
                right = found is not None and xxh3(found.encode()) == xxh3(key.encode())
                demand(right, "CorruptRecordError", "the record has another key than the file of keys says")
        return None


class Dataset:
    """A dataset, read-only."""

    def __init__(self, path: Path) -> None:
        self.manifest = read_manifest(path.resolve())
        self.segments = [Segment(path.resolve(), fields) for fields in self.manifest["segments"]]

    def __len__(self) -> int:
        return sum(segment.records for segment in self.segments)

    def places(self) -> Iterator[tuple[Segment, int]]:
        """Yield segment and sequence number of each position."""
        for segment in self.segments:
            yield from ((segment, sequence) for sequence in range(segment.records))

    def find(self, key: str) -> int | None:
        """Return the position of the newest record with a key."""
        before = len(self)
        for segment in reversed(self.segments):
            before -= segment.records
            if segment.records:
                segment.check_features()
            if "keys" in segment.fields:
                segment.deleted()
                found: int | None = segment.find(key)
                if found is not None:
                    return int(before) + found
        return None

    def fingerprint(self) -> str:
        """Return what the manifest says of all records: how many, and their digest."""
        digest, prime = 0, (1 << 61) - 1
        for segment in self.segments:
            power = pow(0x0F1E2D3C4B5A6979, segment.records, prime)
            digest = (digest * power + int(segment.fields["digest"], 16)) % prime
        schemas = self.packed_schemas()
        return f"{len(self)}-{digest:016x}" + (f"-{xxh3(schemas):016x}" if schemas else "")

    def packed_schemas(self) -> bytes:
        """Return the schemas of samples, of segments with records; lists that go on with each other are one."""
        lists: list[list[bytes]] = [[]]
        for own in (segment.fields["schemas"] for segment in self.segments if segment.records):
            short, long = sorted((own, lists[-1]), key=len)
            if long[: len(short)] == short:
                lists[-1] = long
            else:
                lists.append(own)
        if not lists[-1]:
            return b""
        return b"".join(pack("<I", len(own)) + b"".join(pack("<I", len(one)) + one for one in own) for own in lists)


if __name__ == "__main__":
    dataset = Dataset(Path(sys.argv[1] if sys.argv[1:] else Path(__file__).parent.parent / "tests/golden/v1/tiny"))
    for key in sys.argv[2:]:
        print(repr(key), "is the key of record", dataset.find(key))
    for position, (segment, sequence) in enumerate([] if sys.argv[2:] else dataset.places()):
        try:
            record = segment.record(sequence)
            print(position, len(record), repr(record[:30]))
        except Refusal as error:
            print(position, "unreadable:", error)
