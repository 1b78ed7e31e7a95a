"""OrderOptions(mesh=...): ranks are those of the mesh, and what lies beside it gets the same batches."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from splitdata import OrderOptions
from tests.command import ROOT
from tests.interop.programs import read_samples, run
from tests.interop.stream import expected, make_loader, samples_of


class Mesh:
    """A DeviceMesh as one process sees it."""

    def __init__(self, shape: tuple[int, ...], place: list[int] | None, names: tuple[str, ...] | None = None) -> None:
        self.shape = shape
        self.mesh_dim_names = names
        self._place = place

    def get_coordinate(self) -> list[int] | None:
        return self._place


@pytest.mark.parametrize("row", range(2))
@pytest.mark.parametrize("column", range(3))
def test_mesh_of_two_dimensions_counts_ranks_by_rows(path: str, row: int, column: int) -> None:
    loader = make_loader(path, order=OrderOptions(mesh=Mesh((2, 3), [row, column], ("dp_replicate", "dp_shard"))))

    assert (loader.rank, loader.world_size) == (3 * row + column, 6)


def test_loader_of_a_mesh_travels_to_another_process_and_names_the_option(path: str) -> None:
    loader = make_loader(path, order=OrderOptions(mesh=Mesh((4,), [2], ("dp",))))

    assert pickle.loads(pickle.dumps(loader)).rank == 2
    with pytest.raises(TypeError, match=r"instead of mesh use order=OrderOptions\(mesh=...\)"):
        make_loader(path, mesh=Mesh((4,), [2]))


def test_mesh_without_names_is_taken_whole(path: str) -> None:
    assert make_loader(path, order=OrderOptions(mesh=Mesh((4,), [3]))).rank == 3


@pytest.mark.parametrize("name", ["tp", "cp", "pp", "sequence"])
def test_mesh_with_a_dimension_of_equal_samples_is_refused(path: str, name: str) -> None:
    with pytest.raises(ValueError, match=rf"dimension '{name}', whose ranks work on the same .* mesh=mesh\['dp'\]"):
        make_loader(path, order=OrderOptions(mesh=Mesh((2, 2), [0, 0], ("dp", name))))


def test_process_outside_of_the_mesh_is_an_error(path: str) -> None:
    with pytest.raises(ValueError, match="this process is not in the mesh"):
        make_loader(path, order=OrderOptions(mesh=Mesh((2,), None)))


def test_mesh_beside_rank_or_of_another_kind_is_an_error(path: str) -> None:
    with pytest.raises(ValueError, match="mesh of OrderOptions says rank and world_size: leave them out"):
        make_loader(path, order=OrderOptions(mesh=Mesh((2,), [0])), rank=0)
    with pytest.raises(TypeError, match=r"mesh must be a torch DeviceMesh, got \(2, 2\)"):
        make_loader(path, order=OrderOptions(mesh=(2, 2)))


def run_rank(path: str, folder: str) -> None:
    """Take an epoch as one of four processes, in a mesh of two by two."""
    from torch import distributed
    from torch.distributed.checkpoint.stateful import Stateful
    from torch.distributed.device_mesh import init_device_mesh

    distributed.init_process_group("gloo")
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
    with make_loader(path, order=OrderOptions(mesh=mesh["dp"])) as loader:
        assert isinstance(loader, Stateful)
        samples = samples_of(loader)
    name = f"{mesh['dp'].get_local_rank()}-{mesh['tp'].get_local_rank()}"
    Path(folder, name).write_text(json.dumps(samples))
    distributed.destroy_process_group()


@pytest.mark.slow
def test_ranks_of_tensor_parallelism_get_the_batches_of_their_data_rank(path: str, tmp_path: Path) -> None:
    pytest.importorskip("torchdata", reason="four processes that load torch: make test-interop")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "4"]
    code = f"from tests.interop.test_mesh import run_rank; run_rank({path!r}, {str(tmp_path)!r})"

    script = tmp_path / "rank.py"
    script.write_text(f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}\n")
    subprocess.run([*launch, script], cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True)

    got: dict[str, Any] = {name: json.loads((tmp_path / name).read_text()) for name in ("0-0", "0-1", "1-0", "1-1")}
    assert got["0-0"] == got["0-1"]
    assert got["1-0"] == got["1-1"]
    assert [tuple(sample) for sample in got["0-0"]] == expected(path)[::2]
    assert [tuple(sample) for sample in got["1-0"]][:-1] == expected(path)[1::2]


@pytest.mark.slow
@pytest.mark.time_limit(400)
def test_model_sharded_by_fsdp_resumes_in_mid_epoch_by_torchs_checkpoint_at_another_world_size(
    path: str, tmp_path: Path
) -> None:
    run("fsdp_program", 2, path, tmp_path, "two::5", "two-to-two:two:")
    run("fsdp_program", 1, path, tmp_path, "two-to-one:two:", "one::5")
    run("fsdp_program", 2, path, tmp_path, "one-to-two:one:")

    one, two = read_samples(tmp_path, "one"), read_samples(tmp_path, "two", 2)
    everything = expected(path)
    assert two + read_samples(tmp_path, "two-to-one") == everything
    assert two + read_samples(tmp_path, "two-to-two", 2) == [*everything, everything[0]]
    assert one + read_samples(tmp_path, "one-to-two", 2) == [*everything, everything[0]]
