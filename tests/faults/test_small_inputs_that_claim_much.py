"""Small hostile inputs, a few megabytes at most, and the memory that it takes to refuse or read each of them.

a source that expands without end, a record, a state, the index of a cache ──> one process, its peak after each
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import zstandard

from tests.command import run_python

MIB = 1 << 20
# Beyond what is asked for. A line of text may have half of it, and is held until it is longer.
MOST = 256 * MIB


def sources() -> dict[str, tuple[str, bytes, int]]:
    """Return the name of each file, what is repeated in it, how often; made when asked for, as it is much."""
    return {
        "endless line": ("a.txt.zst", b"x" * MIB, 150),
        "endless line of CR": ("b.txt.zst", b"x\r" * (MIB // 2), 150),
        "endless line of JSON": ("c.jsonl.zst", b"[" * MIB, 150),
        "endless field": ("d.csv.zst", b'"' + b"y" * (MIB - 1), 40),
        "endless fields": ("e.csv.zst", b"ab," * (MIB // 3), 40),
        "many fields": ("h.csv.zst", b"ab," * (8 * MIB // 3 - 9) + b"\n", 1),
        "long rows": ("i.csv.zst", b"," * (8 * MIB - 2) + b"\n", 8),
        "columns without names": ("no header k.csv.zst", b"," * (8 * MIB - 2) + b"\n", 1),
        "quoted columns": ("no header l.csv.zst", b'"\xf0\x9f\x92\xbe",' * MIB + b"\n", 1),
        "distinct columns": ("m.csv.zst", b",".join(b"%d" % number for number in range(MIB)) + b"\n1,2\n", 1),
        "endless quoted lines": ("f.csv.zst", b'"a\n",' * (MIB // 5), 40),
        "endless path": ("@j.txt.zst", b"x" * MIB, 40),
        "claims 4 GiB": ("g.bin.zst", b"\xff\xff\xff\xff" + bytes(MIB), 4),
    }


PROGRAM = """
import json, struct, sys
from pathlib import Path
import numpy as np
import splitdata
from splitdata import SplitDataError, convert, decode_sample, open_source
from splitdata.samples import sample_spec as spec
from splitdata.samples.record_codecs import record_codec

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))

def schema(data):
    head = spec.SAMPLE_MAGIC + bytes([spec.SAMPLE_VERSION]) + struct.pack("<I", len(data)) + data
    return head + bytes(-len(head) % 8)

def listed(kind, part):
    count = ((1 << 20) - 5) // len(part)
    return schema(struct.pack("<BI", kind, count) + part * count)

def measured(name, call):
    # Sets the peak back to what is used now.
    Path("/proc/self/clear_refs").write_text("5")
    before = peak()
    try:
        call()
        outcome = "read"
    except SplitDataError as error:
        outcome = type(error).__name__
        assert len(str(error)) < 10000, name
    print(json.dumps([name, outcome, peak() - before]))

def named(path):
    return f"@{folder / path[1:]}" if path[0] == "@" else folder / path

folder = Path(sys.argv[1])
with splitdata.SplitWriter(folder / "bins", bins=2) as writer:
    writer.write_many(b"%d" % number for number in range(100))
loader = splitdata.DistributedLoader(folder / "bins", shuffle="bins", rank=0, world_size=1)
for name, path in json.loads(sys.argv[2]).items():
    kind = "prefixed" if ".bin" in path else "auto"
    source = open_source(named(path), kind=kind, header="no header" not in path)
    measured(name, lambda: convert(source, folder / "data", dry_run=True))
measured("empty lists", lambda: decode_sample(listed(spec.KIND_LIST, struct.pack("<BI", spec.KIND_LIST, 0))))
measured("empty dicts", lambda: decode_sample(listed(spec.KIND_TUPLE, struct.pack("<BI", spec.KIND_DICT, 0))))
measured("nones", lambda: decode_sample(listed(spec.KIND_LIST, b"\\0")))
measured("deep npy", lambda: record_codec("npy").decode(b"\\x93NUMPY\\1\\0\\xff\\xff" + b"[" * 65535))
measured("deep json", lambda: record_codec("json").decode(b"[" * 1000000))
measured("lanes", lambda: loader.load_state_dict(loader.state_dict() | {"lanes": 10**8}))
measured("most lanes", lambda: (loader.load_state_dict(loader.state_dict() | {"lanes": 1 << 20}), next(iter(loader))))
"""
SMALL_ONES = ("empty lists", "empty dicts", "nones", "deep npy", "deep json", "lanes", "most lanes")


@pytest.mark.skipif(sys.platform != "linux", reason="measures memory as Linux reports it")
def test_memory_follows_what_is_there_and_the_stated_limits(tmp_path: Path) -> None:
    made = sources()
    for path, piece, times in made.values():
        stream = zstandard.ZstdCompressor(level=1).compressobj()
        data = b"".join([*(stream.compress(piece) for _ in range(times)), stream.flush()])
        assert len(data) < 4 * MIB
        (tmp_path / path.removeprefix("@")).write_bytes(data)
    paths = {name: source[0] for name, source in made.items()}

    ended = run_python("-c", PROGRAM, tmp_path, json.dumps(paths))

    assert ended.returncode == 0, ended.stderr
    found = {name: (outcome, used) for name, outcome, used in map(json.loads, ended.stdout.splitlines())}
    assert found.keys() == {*made, *SMALL_ONES}
    assert {name: used // MIB for name, (_, used) in found.items() if used > MOST} == {}
    assert {name for name, (outcome, _) in found.items() if outcome == "read"} == {
        *("empty lists", "empty dicts", "nones", "most lanes")
    }
