"""accelerate takes the loader as it is: `prepare`, `save_state` and `load_state`, `skip_first_batches`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.interop.programs import read_samples, run
from tests.interop.stream import BATCH_SIZE, NUM_RECORDS, expected, make_loader, samples_of

accelerate = pytest.importorskip("accelerate")
pytestmark = [pytest.mark.slow, pytest.mark.time_limit(400)]


def test_accelerator_resumes_in_mid_epoch_by_its_own_checkpoint_also_with_other_processes(
    path: str, tmp_path: Path
) -> None:
    run("accelerate_program", 2, path, tmp_path, "two::5", "two-to-two:two:")
    run("accelerate_program", 1, path, tmp_path, "one::5", "one-to-one:one:", "two-to-one:two:")
    run("accelerate_program", 2, path, tmp_path, "one-to-two:one:")

    one, two = read_samples(tmp_path, "one"), read_samples(tmp_path, "two", 2)
    everything = expected(path)
    assert one + read_samples(tmp_path, "one-to-one") == everything
    assert two + read_samples(tmp_path, "two-to-one") == everything
    assert two + read_samples(tmp_path, "two-to-two", 2) == [*everything, everything[0]]
    assert one + read_samples(tmp_path, "one-to-two", 2) == [*everything, everything[0]]
    # Each rank leaves out its own first steps.
    assert read_samples(tmp_path, "one-skipped") == everything[5 * BATCH_SIZE :]
    assert read_samples(tmp_path, "two-skipped", 2) == [*everything[10 * BATCH_SIZE :], everything[0]]


def test_skip_first_batches_makes_none_of_the_batches_that_it_leaves_out(path: str) -> None:
    from splitdata.interop.torch import as_dataloader

    made: list[int] = []

    def noting(record: bytes) -> dict[str, int]:
        made.append(int(record))
        return {"number": int(record), "noise": 0}

    batches = as_dataloader(make_loader(path, transform=noting))

    rest = samples_of(accelerate.skip_first_batches(batches, 9))

    assert len(made) == len(rest) == NUM_RECORDS - 9 * BATCH_SIZE
    # The next epoch is whole.
    assert len(samples_of(batches)) == NUM_RECORDS


def test_skip_first_batches_behind_a_broken_epoch_leaves_out_those_of_the_next(path: str) -> None:
    from splitdata.interop.torch import as_dataloader

    batches = as_dataloader(make_loader(path))
    for _ in batches:
        break

    rest = samples_of(accelerate.skip_first_batches(batches, 9))

    assert rest == expected(path, 2)[NUM_RECORDS + 9 * BATCH_SIZE :]


@pytest.mark.parametrize("rank", range(2))
def test_share_of_a_rank_that_is_prepared_for_several_is_refused_at_its_second_batch(path: str, rank: int) -> None:
    from splitdata.interop.torch import as_dataloader

    accelerate.PartialState(cpu=True)
    batches = as_dataloader(make_loader(path, as_tensors=True))
    prepared = accelerate.data_loader.prepare_data_loader(batches, num_processes=2, process_index=rank)

    with pytest.raises(ValueError, match="something divides among ranks what is the share of one already"):
        samples_of(prepared)
