"""What the tests of Ray run: one cluster of two nodes on this machine, and everything that is shown on it, as JSON.

convert     units on two nodes, of which one is killed        == one process
read        rows, columns, limit                              == the dataset
write       a task that dies behind its part                  counts once
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import ray
import ray.data
from click.testing import CliRunner
from ray.cluster_utils import Cluster

from splitdata import (
    DatasetExistsError,
    DistributedLoader,
    SampleDataset,
    SplitDataLoader,
    SplitWriter,
    WorkerOptions,
    commit_shards,
    convert,
    delete,
    describe,
    verify,
    waiting_parts,
    write_shard,
)
from splitdata.conversion import work_units
from splitdata.interop.ray import convert_on_ray, read_dataset, write_dataset
from splitdata_cli.main import cli
from tests.dataset.record_kinds import tree_of

LINES = 400
folder = Path(sys.argv[1])
vars(work_units)["UNIT_BYTES"] = 1000


def records_of(path: Path) -> list[bytes]:
    with SplitDataLoader(path) as loader:
        return list(loader)


def slow(record: bytes) -> bytes:
    time.sleep(0.03)
    return record.upper()


def fails(record: bytes) -> bytes:
    raise ValueError(f"no {record!r}")


def converted(cluster: Cluster) -> dict[str, Any]:
    """Convert on two nodes, one of which is killed in the middle, and once more by one process."""
    lines = folder / "lines.txt"
    lines.write_text("".join(f"line {number} of many\n" for number in range(LINES)), encoding="utf-8")
    node = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    nodes_seen = len([one for one in ray.nodes() if one["Alive"]])
    killer = threading.Timer(2, lambda: cluster.remove_node(node, allow_graceful=False))
    killer.start()
    seen: list[int] = []
    report = convert_on_ray(
        lines,
        folder / "on_ray",
        transform=slow,
        reproducible=True,
        progress=lambda progress: seen.append(progress.source_bytes),
    )
    killer.join()
    convert(lines, folder / "alone", transform=slow)
    write_shard(lines, folder / "sharded", (0, 1), transform=slow, reproducible=True)
    commit_shards(folder / "sharded", reproducible=True)
    again = convert_on_ray(lines, folder / "on_ray", transform=slow, reproducible=True, resume=True)
    return {
        "nodes": nodes_seen,
        "units": report.num_committed,
        "records": records_of(folder / "on_ray") == records_of(folder / "alone"),
        "files": tree_of(folder / "on_ray") == tree_of(folder / "sharded"),
        "left": len(describe(folder / "on_ray").unlisted_segments),
        "intact": verify(folder / "on_ray").is_intact,
        "progress": seen == sorted(seen) and seen[-1] == lines.stat().st_size,
        "again": again.num_committed,
    }


def by_command() -> dict[str, Any]:
    """Convert on the cluster by the command line."""
    result = CliRunner().invoke(
        cli, ["write", str(folder / "lines.txt"), str(folder / "by_command"), "--engine", "ray", "--json"]
    )
    told = json.loads(result.stdout) if result.exit_code == 0 else {"error": result.output}
    return told | {"records": len(records_of(folder / "by_command"))}


def resumed() -> dict[str, Any]:
    """Write two units, then the others."""
    lines = folder / "lines.txt"
    count = write_shard(lines, folder / "resumed", (0, 4)).num_written
    told = ""
    try:
        convert_on_ray(lines, folder / "resumed", transform=fails)
    except ValueError as error:
        told = str(error)
    report = convert_on_ray(lines, folder / "resumed", resume=True)
    return {
        "before": count,
        "units": report.num_committed,
        "records": len(records_of(folder / "resumed")),
        "error": "no b'line 0" in told or "no b'line" in told,
    }


def read() -> dict[str, Any]:
    """Read samples, columns of them, and records of bytes; deleted ones are left out."""
    with SplitWriter(folder / "samples", codec="sample", bins=4) as writer:
        writer.write_samples(
            {"image": np.full((2, 3), number % 256, np.uint8), "label": number, "name": f"n{number}"}
            for number in range(3000)
        )
    delete(folder / "samples", positions=[5, 2999])
    rows = read_dataset(folder / "samples", override_num_blocks=3).take_all()
    labels = read_dataset(folder / "samples", columns=["label"]).take_all()
    raw = read_dataset(folder / "alone").take_all()
    unknown = ""
    try:
        read_dataset(folder / "samples", columns=["no"]).take_all()
    except Exception as error:
        unknown = str(error)
    return {
        "labels": sorted(row["label"] for row in rows) == [n for n in range(2999) if n != 5],
        "image": all((row["image"] == row["label"] % 256).all() and row["image"].shape == (2, 3) for row in rows),
        "type": str(rows[7]["image"].dtype),
        "columns": sorted({name for row in labels for name in row}),
        "raw": sorted(row["record"] for row in raw) == sorted(records_of(folder / "alone")),
        "limit": read_dataset(folder / "samples").limit(7).count(),
        "unknown": "there is no column 'no'" in unknown,
        "lazy": type(read_dataset(folder / "samples")).__name__,
    }


def dies_once(row: dict[str, Any]) -> dict[str, Any]:
    if row["id"] == 150:
        try:
            os.close(os.open(folder / "died", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            pass
        else:
            os._exit(9)
    return {"number": row["id"], "array": np.full(3, row["id"], np.float32)}


def written() -> dict[str, Any]:
    """Write rows, one of whose tasks dies once."""
    rows = ray.data.range(400, override_num_blocks=4).map(dies_once)
    write_dataset(rows, folder / "written", metadata={"by": "ray"})
    with SampleDataset(folder / "written") as dataset:
        numbers = [int(sample["number"]) for sample in dataset]
        array = dataset[0]["array"]
    told = ""
    try:
        write_dataset(rows, folder / "written")
    except DatasetExistsError as error:
        told = str(error)
    write_dataset(read_dataset(folder / "alone"), folder / "bytes", column="record")
    return {
        "numbers": sorted(numbers) == list(range(400)),
        "array": [str(array.dtype), list(array.shape)],
        "metadata": describe(folder / "written").metadata,
        "generation": describe(folder / "written").generation,
        "died": (folder / "died").exists(),
        "waiting": len(waiting_parts(folder / "written")),
        "refused": "mode='append' adds to it" in told,
        "bytes": sorted(records_of(folder / "bytes")) == sorted(records_of(folder / "alone")),
    }


def number_of(record: bytes, rng: np.random.Generator) -> dict[str, Any]:
    """Return an array that draws, so that randomness must agree, too."""
    return {"line": int(record.split()[1]), "noise": rng.random(20_000)}


def raises(record: bytes) -> Any:
    raise KeyError("of an actor")


def dies(record: bytes) -> Any:
    os._exit(3)


def hangs(record: bytes) -> Any:
    time.sleep(100)


def by_actors() -> dict[str, Any]:
    """Let loader workers be actors: the same batches, and the same errors within seconds."""

    def loader_of(transform: Any, num_workers: int = 1, **options: Any) -> DistributedLoader:
        return DistributedLoader(
            folder / "resumed",
            batch_size=7,
            shuffle="global",
            transform=transform,
            num_workers=num_workers,
            workers=WorkerOptions(kind="ray"),
            **options,
        )

    def failure_of(transform: Any, **options: Any) -> list[Any]:
        begin = time.monotonic()
        try:
            with loader_of(transform, **options) as loader:
                next(iter(loader))
        except Exception as error:
            return [type(error).__name__, str(error), time.monotonic() - begin]
        return []

    def taken(batches: Any) -> list[Any]:
        return [(batch["line"].tolist(), batch["noise"].sum()) for batch in batches]

    with loader_of(number_of) as loader, loader_of(number_of, 0) as alone:
        iterator = iter(loader)
        first = [next(iterator) for _ in range(5)]
        writeable = first[0]["noise"].flags.writeable
        state = loader.state_dict()
        found = taken(first) + taken(loader.resume()) + taken(loader)
        expected = taken(alone) + taken(alone)
        loader.load_state_dict(state)
        resumed = taken(loader)
    shown = {
        "same": found == expected,
        "resumed": resumed == expected[5:58],
        "num": len(expected),
        "writeable": bool(writeable),
        "raised": failure_of(raises),
        "died": failure_of(dies),
        "hung": failure_of(hangs, timeout=4),
    }
    deadline = time.monotonic() + 20
    while ray.available_resources().get("CPU") != 1 and time.monotonic() < deadline:
        time.sleep(0.1)
    return shown | {"free": ray.available_resources().get("CPU")}


def main() -> None:
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "include_dashboard": False, "object_store_memory": 100 << 20},
    )
    try:
        ray.init(address=cluster.address, log_to_driver=False, runtime_env={"env_vars": {"SPLITDATA_TEST": "1"}})
        ray.data.DataContext.get_current().enable_progress_bars = False
        shown = {
            "convert": converted(cluster),
            "resume": resumed(),
            "command": by_command(),
            "read": read(),
            "write": written(),
            "actors": by_actors(),
        }
        (folder / "shown.json").write_text(json.dumps(shown))
    finally:
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main()
