"""splitdata in torch's own DataLoader, and a loader as the classes that torch knows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitdata import DistributedLoader, SampleDataset, SplitDataLoader, SplitWriter, Window
from tests.command import ROOT, run_python
from tests.interop.stream import NUM_RECORDS, expected, interleaved, make_loader, samples_of

data: Any = pytest.importorskip("torch.utils.data")


def as_ints(records: list[bytes]) -> list[int]:
    return [int(record) for record in records]


@pytest.mark.slow
def test_workers_of_torchs_read_each_record_once_and_refuse_loaders(path: str, tmp_path: Path) -> None:
    # Six times the start of torch: for `make test-interop`, which has all frameworks.
    pytest.importorskip("torchdata")
    with SplitWriter(tmp_path / "samples") as writer:
        writer.write_samples({"image": np.full((4, 4), number, np.uint8), "label": number} for number in range(20))

    ended = run_python("-m", "tests.interop.torch_workers", path, tmp_path / "samples", cwd=ROOT)

    assert ended.returncode == 0, ended.stderr
    report = json.loads(ended.stdout)
    for epochs in report["epochs"].values():
        assert [sorted(epoch) for epoch in epochs] == [list(range(NUM_RECORDS))] * 2
    assert report["samples"] == list(range(20))
    for refusal in report["refusals"]:
        assert "use num_workers=0 there, and DistributedLoader(num_workers=...)" in refusal


def test_reader_in_torchs_loader_is_asked_for_a_batch_at_once(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    several = SplitDataLoader.__getitems__

    def noted(self: SplitDataLoader, indices: Any) -> list[bytes]:
        asked.append(len(indices))
        return several(self, indices)

    monkeypatch.setattr(SplitDataLoader, "__getitems__", noted)

    for _ in data.DataLoader(SplitDataLoader(path), batch_size=8, collate_fn=as_ints):
        pass

    assert asked == [8, 8, 8, 8, 8, 8, 5]


def test_loader_has_what_loops_ask_of_torchs(path: str) -> None:
    loader = make_loader(path)

    assert loader.batch_size == 4
    assert len(loader.dataset) == NUM_RECORDS
    assert loader.dataset[3] == b"3"


def test_loader_says_what_takes_the_place_of_a_sampler_and_has_none(path: str) -> None:
    loader = make_loader(path)

    assert not hasattr(loader, "sampler")
    with pytest.raises(AttributeError, match=r"no attribute 'batch_sampler': .* takes .*\.torch\.as_data"):
        getattr(loader, "batch_sampler")  # noqa: B009  # no type checker lets it pass otherwise
    with pytest.raises(AttributeError, match=r"^DistributedLoader has no attribute 'reset'$"):
        getattr(loader, "reset")  # noqa: B009  # as above


def test_loader_tells_the_dataset_that_a_function_or_a_path_of_samples_gives(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "d") as writer:
        writer.write_samples([{"x": 1}, {"x": 2}])

    assert isinstance(DistributedLoader(tmp_path / "d").dataset, SampleDataset)
    assert DistributedLoader(lambda: [5, 6]).dataset == [5, 6]


@pytest.mark.parametrize("name", ["as_iterable", "as_dataloader"])
class TestLoaderAsAClassOfTorchs:
    def make(self, path: str, name: str, **options: Any) -> tuple[DistributedLoader, Any]:
        from splitdata.interop import torch as interop

        loader = make_loader(path, as_tensors=True, **options)
        if name == "as_dataloader":
            return loader, interop.as_dataloader(loader)
        return loader, data.DataLoader(interop.as_iterable(loader), batch_size=None)

    def test_has_the_batches_length_and_epochs_of_the_loader(self, path: str, name: str) -> None:
        loader, batches = self.make(path, name)

        assert isinstance(batches, data.DataLoader)
        assert len(batches) == len(loader) == 14
        assert samples_of([*batches, *batches]) == expected(path, 2)

    def test_is_the_share_of_a_rank(self, path: str, name: str) -> None:
        shares = [samples_of(self.make(path, name, rank=rank, world_size=2)[1]) for rank in range(2)]

        assert shares[0] == expected(path)[::2]
        # One sample is repeated, so that both have as many.
        assert shares[1][:-1] == expected(path)[1::2]

    def test_goes_on_with_the_next_sample_after_a_state_of_another_world(self, path: str, name: str) -> None:
        loader, batches = self.make(path, name, rank=0, world_size=1)
        running = iter(batches)
        seen = samples_of(next(running) for _ in range(3))
        state = json.loads(json.dumps(loader.state_dict()))
        resumed, rest = self.make(path, name, rank=0, world_size=2)

        resumed.load_state_dict(state)

        assert samples_of(rest) == expected(path)[len(seen) :: 2]

    def test_broken_epoch_is_followed_by_the_next(self, path: str, name: str) -> None:
        _, batches = self.make(path, name)
        for _ in batches:
            break

        assert samples_of(batches) == expected(path, 2)[NUM_RECORDS:]


def test_iterable_begins_with_the_epoch_that_is_set(path: str) -> None:
    from splitdata.interop.torch import as_iterable

    batches = as_iterable(make_loader(path))
    batches.set_epoch(1)

    assert samples_of(batches) == expected(path, 2)[NUM_RECORDS:]


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled, unavailable or uninitialized:UserWarning")
@pytest.mark.parametrize("shuffle", ["global", Window(7)], ids=["global", "window"])
def test_torchs_distributed_checkpoint_resumes_a_loader_in_mid_epoch_at_another_world_size(
    path: str, tmp_path: Path, shuffle: Any
) -> None:
    from torch.distributed import checkpoint
    from torch.distributed.checkpoint.stateful import Stateful

    first = make_loader(path, shuffle=shuffle, rank=0, world_size=1)
    running = iter(first)
    taken = samples_of(next(running) for _ in range(3))
    checkpoint.save({"loader": first}, checkpoint_id=str(tmp_path / "c"))
    seconds = [make_loader(path, shuffle=shuffle, rank=rank, world_size=2) for rank in range(2)]

    for second in seconds:
        assert isinstance(second, Stateful)
        checkpoint.load({"loader": second}, checkpoint_id=str(tmp_path / "c"))

    rest = interleaved([samples_of(second) for second in seconds])
    whole = samples_of(make_loader(path, shuffle=shuffle))
    assert (taken + rest)[:NUM_RECORDS] == whole
