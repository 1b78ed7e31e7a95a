"""Ray Train with workers that come and go: a node dies, one worker goes on; another comes, and there are two again.

    2 workers ──node killed──> 1 worker ──node added──> 2 workers          the order of samples: that of a run without

A cluster of two nodes is played on this machine. Needs ray and torch: pip install 'splitdata[ray,torch]'
"""

import json
import tempfile
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from splitdata import DistributedLoader, SplitWriter

NUM_RECORDS = 1_200


def make_loader(folder: str | Path) -> DistributedLoader:
    # Rank and world size are those of torch.distributed, which Ray sets up.
    return DistributedLoader(Path(folder, "data"), batch_size=8, shuffle="global", transform=int)


def train(config: dict[str, Any]) -> None:
    import ray.train

    rank, checkpoint = ray.train.get_context().get_world_rank(), ray.train.get_checkpoint()
    with make_loader(config["folder"]) as loader, Path(config["folder"], f"{time.time_ns()}.jsonl").open("w") as log:
        if checkpoint is not None:
            with checkpoint.as_directory() as saved:
                loader.load_state_dict(json.loads(Path(saved, "loader.json").read_text()))
        state = loader.state_dict()
        for batch in loader:
            places = range(state["samples"] + rank, NUM_RECORDS, loader.world_size)[: len(batch)]
            print(json.dumps([loader.world_size, dict(zip(places, batch.tolist(), strict=True))]), file=log, flush=True)
            time.sleep(0.2)  # here a model is trained
            state = loader.state_dict()
            with tempfile.TemporaryDirectory() as folder:
                Path(folder, "loader.json").write_text(json.dumps(state))
                # The state is the same on every rank, so one of them saves it.
                ray.train.report({}, checkpoint=None if rank else ray.train.Checkpoint.from_directory(folder))


def steps_in(folder: Path) -> list[Any]:
    return [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]


def kill_and_add(cluster: Any, node: Any, folder: Path) -> None:
    while len(steps_in(folder)) < 20:
        time.sleep(0.1)
    cluster.remove_node(node, allow_graceful=False)
    while sum(world == 1 for world, _ in steps_in(folder)) < 5:
        time.sleep(0.1)
    cluster.add_node(num_cpus=1, resources={"trains": 1})


def main(folder: Path) -> None:
    import ray.train.torch
    from ray.cluster_utils import Cluster

    with SplitWriter(folder / "data") as writer:
        writer.write_many(str(number).encode() for number in range(NUM_RECORDS))
    head = {"num_cpus": 1, "resources": {"trains": 1}, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    node = cluster.add_node(num_cpus=1, resources={"trains": 1})
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    failures = ray.train.FailureConfig(max_failures=5)
    trainer = ray.train.torch.TorchTrainer(
        train,
        train_loop_config={"folder": str(folder)},
        # From one to two workers, one on each node; every two seconds Ray looks whether there can be more.
        scaling_config=ray.train.ScalingConfig(
            num_workers=(1, 2), resources_per_worker={"CPU": 0.5, "trains": 1}, elastic_resize_monitor_interval_s=2
        ),
        run_config=ray.train.RunConfig(storage_path=str(folder / "run"), failure_config=failures),
    )
    training = threading.Thread(target=trainer.fit)
    training.start()
    kill_and_add(cluster, node, folder)
    training.join()
    ray.shutdown()
    cluster.shutdown()
    steps = steps_in(folder)
    worlds = [world for world, _ in steps]
    print("workers:", [world for number, world in enumerate(worlds) if [world] != worlds[max(0, number - 1) : number]])
    seen = {int(place): record for _, batch in steps for place, record in batch.items()}
    whole = [record for batch in make_loader(folder) for record in batch.tolist()]
    print("together the order of a run without interruption:", [seen.get(n) for n in range(NUM_RECORDS)] == whole)


if find_spec("ray") is None or find_spec("torch") is None:
    print("this example needs ray and torch: pip install 'splitdata[ray,torch]'")
else:
    with tempfile.TemporaryDirectory() as name:
        main(Path(name))
