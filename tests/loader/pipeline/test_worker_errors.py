"""Errors of the dataset, the transform and the collate function: as themselves, with notes; then the loader goes on."""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitdata.dataset.writer import SplitWriter
from splitdata.errors import ClosedError, SplitDataError, WorkerError
from splitdata.loader.distributed_loader import DistributedLoader
from splitdata.loader.option_groups import WorkerOptions
from splitdata.process.mpqitr import MpQItr
from splitdata.process.wire.traceback_folding import fold_traceback
from tests.command import ROOT
from tests.loader.grouped import grouped
from tests.loader.workloads import Fails, Numbers, Rows, Sample, Stream
from tests.process import hostile

pytestmark = pytest.mark.usefixtures("leaves_nothing_behind")

# How the work is done.
KINDS: dict[str, dict[str, Any]] = {
    "in process": {},
    "threads": {"num_workers": 2, "kind": "thread"},
    "processes": {"num_workers": 2, "start_method": "fork"},
}
NOTE = "raised by the transform of record 13 in epoch 0"


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    code: int


def frozen() -> BaseException:
    return Frozen(4)


def expected_type(kind: str, make: Callable[[], BaseException]) -> type[BaseException]:
    if make is hostile.ends_an_iteration:
        # As it is, it would look like the end of the epoch.
        return RuntimeError
    if kind == "processes" and make not in hostile.SURVIVING:
        return WorkerError
    # With a note among its attributes it cannot be rebuilt.
    if kind == "processes" and make is hostile.refuses_attributes:
        return WorkerError
    return type(make())


@pytest.mark.parametrize("kind", KINDS)
def test_error_of_a_hostile_kind_arrives_in_its_place_and_the_loader_goes_on(kind: str, tmp_path: Path) -> None:
    for make in [*hostile.ALL, frozen]:
        raise_and_go_on(kind, make, tmp_path / "switch")


def raise_and_go_on(kind: str, make: Callable[[], BaseException], switch: Path) -> None:
    switch.touch()
    with DistributedLoader(
        Numbers(40), **grouped(batch_size=2, transform=Fails(record=13, how=make, switch=switch), **KINDS[kind])
    ) as loader:
        stream = Stream(loader)
        batches = iter(loader)
        with pytest.raises(BaseException) as caught:  # noqa: PT011 - of any kind
            stream.take(batches)

        # The local class is another one each time.
        assert type(caught.value).__name__ == expected_type(kind, make).__name__
        # Everything before it was handed out, nothing of it.
        assert (stream.num_batches, loader.position) == (6, (0, 12))
        if make is not hostile.no_ordinary_exception:
            assert NOTE in all_text(caught.value)
        with pytest.raises(ClosedError, match="iterator over epoch 0 was ended by"):
            next(batches)
        switch.unlink()
        stream.follow(40)


def all_text(error: BaseException) -> str:
    """Return error, notes and causes, also of those whose text raises."""
    try:
        text = "".join(traceback.format_exception(error))
    except Exception:
        text = ""
    chain = [error, error.__cause__]
    return text + "".join(str(note) for one in chain if one is not None for note in vars(one).get("__notes__", ()))


class Ending:
    """A dataset, transform and collate function that end an iteration by mistake, as `next` of an empty one does."""

    def __init__(self, part: str) -> None:
        self._part = part

    def _end(self, part: str) -> None:
        if part == self._part:
            next(iter(()))

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> int:
        if index == 5:
            self._end("dataset")
        return index

    def transform(self, record: int) -> int:
        if record == 5:
            self._end("transform")
        return record

    def collate(self, samples: list[int]) -> list[int]:
        if 5 in samples:
            self._end("collate")
        return samples

    def send(self, batch: Sample, device: Sample) -> Sample:
        if 5 in batch:
            self._end("to_device")
        return batch


@pytest.mark.parametrize("part", ["dataset", "transform", "collate", "to_device"])
@pytest.mark.parametrize("kind", KINDS)
def test_stop_iteration_by_mistake_is_no_end_of_the_epoch(kind: str, part: str) -> None:
    ending = Ending(part)
    with DistributedLoader(
        ending,
        **grouped(
            batch_size=2,
            transform=ending.transform,
            collate_fn=ending.collate,
            to_device=ending.send if part == "to_device" else None,
            **KINDS[kind],
        ),
    ) as loader:
        found: list[list[int]] = []
        with pytest.raises(RuntimeError, match="StopIteration"):
            found.extend(loader)

        assert found == [[0, 1], [2, 3]]
        assert loader.position == (0, 4)


@pytest.mark.parametrize("kind", KINDS)
def test_error_of_a_worker_names_record_and_step_and_shows_its_traceback(kind: str, tmp_path: Path) -> None:
    def grow(samples: list[Sample]) -> Sample:
        raise KeyError("no such field")

    with (
        DistributedLoader(
            Numbers(8), **grouped(batch_size=2, transform=Rows(), collate_fn=grow, **KINDS[kind])
        ) as loader,
        pytest.raises(KeyError, match="no such field") as caught,
    ):
        next(iter(loader))

    assert "raised while step 0 of epoch 0, records 0, 1 was collated" in caught.value.__notes__
    assert "in grow" in all_text(caught.value)


def test_batch_that_cannot_be_sent_is_an_error_that_names_the_part() -> None:
    def opened(samples: list[int]) -> dict[str, Any]:
        return {"numbers": samples, "generator": (number for number in samples)}

    with (
        DistributedLoader(
            Numbers(8), batch_size=2, num_workers=2, workers=WorkerOptions(start_method="fork"), collate_fn=opened
        ) as loader,
        pytest.raises(TypeError, match="cannot pickle 'generator' object") as caught,
    ):
        next(iter(loader))

    assert "batch.batch['generator']" in "".join(caught.value.__notes__)


def test_worker_init_fn_that_fails_is_its_error_in_the_first_batch() -> None:
    def init(worker_id: int) -> None:
        raise OSError(f"worker {worker_id} finds no scratch folder")

    with DistributedLoader(
        Numbers(8), batch_size=2, num_workers=2, workers=WorkerOptions(start_method="fork", init_fn=init)
    ) as loader:
        for _ in range(2):
            with pytest.raises(OSError, match="worker 0 finds no scratch folder"):
                next(iter(loader))
        assert loader.position == (0, 0)


def helper(record: bytes) -> int:
    return 1 // (int(record) - 17)


def calls_a_helper(record: bytes) -> int:
    return helper(record)


@pytest.fixture
def keyed(tmp_path: Path) -> Path:
    with SplitWriter(tmp_path / "keyed") as writer:
        for number in range(40):
            writer.write(b"%d" % number, key=f"cats/{number}.jpg")
    return tmp_path / "keyed"


@pytest.mark.parametrize("kind", KINDS)
def test_traceback_shows_the_users_frames_the_key_and_at_most_twenty_lines(kind: str, keyed: Path) -> None:
    with DistributedLoader(keyed, **grouped(batch_size=4, transform=calls_a_helper, **KINDS[kind])) as loader:
        with pytest.raises(ZeroDivisionError) as caught:
            list(loader)
        text = "".join(traceback.format_exception(caught.value))

    assert len(text.splitlines()) <= 20
    assert "raised by the transform of record 17 (key 'cats/17.jpg') in epoch 0" in text
    assert str(ROOT / "splitdata") not in text
    # The loop, the transform, what it calls; for workers in two parts.
    shown = [line.split(", in ")[1] for line in text.splitlines() if line.startswith("  File ")]
    here = "test_traceback_shows_the_users_frames_the_key_and_at_most_twenty_lines"
    assert sorted(shown) == sorted([here, "calls_a_helper", "helper"])


def gives_rows_of_any_length(record: bytes) -> list[Any]:
    return [np.zeros(len(record)), 0 if record < b"3" else object()]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch_size", [4, 16])
def test_samples_that_do_not_go_into_a_batch_show_the_users_frames_alone(
    kind: str, batch_size: int, keyed: Path
) -> None:
    with DistributedLoader(
        keyed, **grouped(batch_size=batch_size, transform=gives_rows_of_any_length, **KINDS[kind])
    ) as loader:
        with pytest.raises((TypeError, ValueError), match=r"sample\[[01]\]: ") as caught:
            list(loader)
        text = "".join(traceback.format_exception(caught.value))

    assert len(text.splitlines()) <= 15
    assert "was collated" in text
    assert str(ROOT / "splitdata") not in text


def ends_too_early(record: bytes) -> int:
    return next(iter(()))


@pytest.mark.parametrize("kind", KINDS)
def test_end_of_an_iteration_in_a_transform_names_its_step_and_its_record(kind: str, keyed: Path) -> None:
    with DistributedLoader(keyed, **grouped(batch_size=4, transform=ends_too_early, **KINDS[kind])) as loader:
        with pytest.raises(
            RuntimeError, match=r"transform .* raised StopIteration at step 0 of epoch 0, records 0, "
        ) as caught:
            list(loader)
        text = "".join(traceback.format_exception(caught.value))

    assert "raised by the transform of record 0 (key 'cats/0.jpg') in epoch 0" in text
    assert "in ends_too_early" in text


def test_full_tracebacks_are_shown_on_request(keyed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPLITDATA_FULL_TRACEBACKS", "1")
    with DistributedLoader(keyed, **grouped(transform=calls_a_helper, **KINDS["processes"])) as loader:
        with pytest.raises(ZeroDivisionError) as caught:
            list(loader)
        text = "".join(traceback.format_exception(caught.value))

    assert "sample_maker.py" in text.split("direct cause")[0]
    assert "receiver.py" in text.split("direct cause")[1]


def test_generator_of_mpqitr_that_fails_shows_its_own_frames() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        list(MpQItr.options(start_method="fork")(lambda: map(helper, [b"17"])))
    text = "".join(traceback.format_exception(caught.value))

    assert "in helper" in text
    assert str(ROOT / "splitdata") not in text


def test_error_that_may_be_a_fault_of_the_library_keeps_its_frames() -> None:
    for error, num_frames in ((TypeError("a fault"), 1), (SplitDataError("says what is wrong"), 0)):
        scope: dict[str, Any] = {"error": error}
        source = compile("def fails():\n    raise error\n", str(ROOT / "splitdata" / "made_up.py"), "exec")
        exec(source, scope)
        with pytest.raises(type(error)) as caught:
            scope["fails"]()
        # Without the frame of this test, as where the error comes through the library alone.
        assert caught.value.__traceback__ is not None
        caught.value.__traceback__ = caught.value.__traceback__.tb_next
        fold_traceback(caught.value)
        assert len(traceback.extract_tb(caught.value.__traceback__)) == num_frames
