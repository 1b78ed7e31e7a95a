"""One conversion by the tasks of a Ray cluster: units are cut before anything runs, and committed once, in their order.

    lines ──units──> tasks on any node ──parts──> one commit          the same records as one process writes

Needs ray: pip install 'splitdata[ray]'
"""

from __future__ import annotations

import os
import tempfile
from importlib.util import find_spec
from pathlib import Path

from splitdata import SplitDataLoader, convert, convert_on_ray

NUM_LINES = 100_000


def longer(record: bytes) -> bytes:
    return record * 3


def main(folder: Path) -> None:
    lines = folder / "lines.txt"
    lines.write_text("".join(f"line {number}\n" for number in range(NUM_LINES)), encoding="utf-8")

    # Connects to a cluster with address=; starts one on this machine without.
    report = convert_on_ray(lines, folder / "on_ray", transform=longer, bins=4)
    print(f"{report.num_committed} unit, {report.num_records} records")

    convert(lines, folder / "alone", transform=longer)
    with SplitDataLoader(folder / "on_ray") as one, SplitDataLoader(folder / "alone") as other:
        print("the same records in the same order as by one process:", list(one) == list(other))

    again = convert_on_ray(lines, folder / "on_ray", transform=longer, bins=4, resume=True)
    print("called again, with resume:", again.num_committed, "units written")


if find_spec("ray") is None:
    print("this example needs ray: pip install 'splitdata[ray]'")
else:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    with tempfile.TemporaryDirectory() as name:
        main(Path(name))
