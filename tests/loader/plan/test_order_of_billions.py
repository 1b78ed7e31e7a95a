"""A loader over a billion records: the whole process stays small, in every order, and batches come."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.sparse_dataset import NUM_RECORDS, make_sparse_dataset
from tests.command import ROOT

# Real records of the dataset; all others lie in a hole.
RECORDS = {position: b"record %d" % position for position in (0, 1, 536_870_912, 999_999_937, NUM_RECORDS - 1)}
# Of Python, numpy, the library, and at the end a thread pool: an order that was stored would take 8000.
MAX_MEGABYTES = 200

CHILD = """
import json, sys
from pathlib import Path
import numpy as np
from splitdata import DistributedLoader, HashSplit, OrderOptions, RecordOptions, SplitDataLoader, Window, WorkerOptions

path, number, positions = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])

class Positions:
    '''The dataset with its bins, whose records are their own numbers.'''

    def __init__(self, path):
        self._reader = SplitDataLoader(path)
        self.bin_layout = self._reader.bin_layout

    def __len__(self):
        return len(self._reader)

    def __getitem__(self, index):
        return index

orders = {
    "in order": {},
    "global": {"shuffle": "global"},
    "bins": {"shuffle": "bins"},
    "bins in lanes": {"shuffle": "bins", "order": OrderOptions(lanes=7)},
    "window": {"shuffle": Window(1 << 20)},
    "slice": {"shuffle": "global", "records": RecordOptions(subset=slice(5, None, 3))},
    "threads": {"shuffle": "global", "workers": WorkerOptions(kind="thread"), "num_workers": 2},
}
found = {}
for name, options in orders.items():
    with DistributedLoader(Positions(path), batch_size=64, rank=3, world_size=8, **options) as loader:
        batches = iter(loader)
        first = [next(batches).tolist() for _ in range(3)]
        loader.seek(len(loader) - 2)
        last = [batch.tolist() for batch in loader.resume()]
        loader.skip(10_000_000_000)
        state = loader.state_dict()
        found[name] = {
            "len": len(loader),
            "first": first,
            "foretold": [loader.records(0, step).tolist() for step in range(3)],
            "last": len(last),
            "range": [min(map(min, first + last)), max(map(max, first + last))],
            "distinct": len({record for batch in first + last for record in batch}),
            "epoch": state["epoch"],
            "state": len(json.dumps(state)),
        }
with DistributedLoader(path, batch_size=4, sampler=positions, collate_fn=list) as loader:
    found["real"] = [record.decode() for batch in loader for record in batch]
status = Path("/proc/self/status").read_text()
found["megabytes"] = int(status.partition("VmHWM:")[2].split()[0]) / 1000
print(json.dumps(found))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is taken from /proc")
def test_every_order_of_a_billion_records_takes_little_memory(tmp_path: Path) -> None:
    try:
        make_sparse_dataset(tmp_path / "billion", RECORDS)
    except OSError as error:
        pytest.skip(f"this file system holds no sparse file of 16 GB: {error}")
    arguments = [str(tmp_path / "billion"), str(NUM_RECORDS), json.dumps(list(RECORDS))]
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *arguments], check=True, stdout=subprocess.PIPE, text=True, timeout=100, cwd=ROOT
    )
    found: dict[str, Any] = json.loads(done.stdout)

    assert found.pop("megabytes") < MAX_MEGABYTES
    assert found.pop("real") == [record.decode() for record in RECORDS.values()]
    for name, one in found.items():
        steps = -(-(NUM_RECORDS if name != "slice" else (NUM_RECORDS - 3) // 3) // 512)
        assert one["len"] == steps, name
        assert one["first"] == one["foretold"], name
        # The two steps that were sought, the last of which may be short.
        assert one["last"] == 2, name
        assert one["range"][0] >= 0, name
        assert one["range"][1] < NUM_RECORDS, name
        assert one["distinct"] > 4 * 64, name
        assert one["epoch"] == 1 + 10_000_000_000 // steps, name
        assert one["state"] < 1024, name
    assert found["in order"]["first"][0] == list(range(3, 512, 8))
