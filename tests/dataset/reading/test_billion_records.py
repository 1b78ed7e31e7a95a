"""A billion records: opened at once, read in little memory, by a process that has nothing else to do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.sparse_dataset import NUM_RECORDS, make_sparse_dataset
from splitdata import CorruptRecordError, SplitDataLoader

ROOT = Path(__file__).parents[2]
# Real records: at both ends, beside a border of 2**29 records, and where an index of 32 bits would wrap.
RECORDS = {
    position: b"record %d " % position * 20
    for position in (0, 1, 63, 64, 268_435_455, 268_435_456, 536_870_912, 999_999_937, NUM_RECORDS - 1)
}
# Of Python, numpy and the library, with all that is done below; the index alone has 16 GB.
MAX_MEGABYTES = 100

CHILD = """
import json, sys
from pathlib import Path
from splitdata import SplitDataLoader

path, positions = sys.argv[1], json.loads(sys.argv[2])
loader = SplitDataLoader(path)
found = {
    "len": len(loader),
    "records": [loader[position].hex() for position in positions],
    "from_the_end": loader[-1].hex(),
    "batch": [record.hex() for record in loader[positions]],
    "sizes": [loader.sizes[position] for position in positions],
    "some_sizes": loader.sizes[positions[-2] : positions[-2] + 100].tolist()[0],
    "sizes_len": len(loader.sizes),
}
loader.prefetch(positions)
status = Path("/proc/self/status").read_text()
found["megabytes"] = int(status.partition("VmHWM:")[2].split()[0]) / 1000
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def billion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sparse") / "billion"
    try:
        make_sparse_dataset(path, RECORDS)
    except OSError as error:
        pytest.skip(f"this file system holds no sparse file of 16 GB: {error}")
    return path


def test_sparse_dataset_takes_little_disk(billion: Path) -> None:
    files = [file.stat() for file in billion.rglob("*") if file.is_file()]

    assert sum(file.st_size for file in files) > 16 * NUM_RECORDS
    assert sum(file.st_blocks * 512 for file in files) < 16 << 20


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is taken from /proc")
def test_billion_records_are_read_in_bounded_memory(billion: Path) -> None:
    positions = list(RECORDS)
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(billion), json.dumps(positions)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        cwd=ROOT,
    )
    found = json.loads(done.stdout)

    assert found["len"] == found["sizes_len"] == NUM_RECORDS
    assert [bytes.fromhex(record) for record in found["records"]] == list(RECORDS.values())
    assert [bytes.fromhex(record) for record in found["batch"]] == list(RECORDS.values())
    assert bytes.fromhex(found["from_the_end"]) == RECORDS[NUM_RECORDS - 1]
    assert found["sizes"] == [len(record) for record in RECORDS.values()]
    assert found["some_sizes"] == len(RECORDS[999_999_937])
    assert found["megabytes"] < MAX_MEGABYTES


def test_record_in_the_hole_of_the_index_raises_corrupt_record(billion: Path) -> None:
    with SplitDataLoader(billion) as loader:
        for position in (2, NUM_RECORDS // 2 + 1):
            with pytest.raises(CorruptRecordError, match=f"record {position} "):
                loader[position]
            with pytest.raises(CorruptRecordError):
                loader[[*range(position, position + 40)]]


def test_shuffled_walk_begins_without_looking_at_all_records(billion: Path) -> None:
    with SplitDataLoader(billion) as loader:
        walk = loader.iterate_binwise(shuffle=True, seed=3, with_positions=True)
        # Almost all records lie in the hole: the first chunk names one, and has read no more than itself.
        with pytest.raises(CorruptRecordError):
            next(walk)
