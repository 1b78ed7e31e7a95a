"""Options resolved against a dataset: all that decides which samples come, before the ranks are known.

It never changes and pickles, so that a loader can be made before its ranks are spawned.

    options + dataset ──> RecordFetcher, SourceFacts, Selection, samplers
                             | world, lanes
                             v
                            Plan        and the LoaderState of a position in it
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from splitdata.dataset.reader import SplitDataLoader
from splitdata.dataset.sample_dataset import SampleDataset
from splitdata.errors import SplitDataError, StateMismatchError
from splitdata.loader.cache.cache_job import cache_job
from splitdata.loader.plan.length_batches import LengthBatches, batching_digest
from splitdata.loader.plan.loader_state import LoaderState
from splitdata.loader.plan.plan import Plan
from splitdata.loader.plan.selection import Selection
from splitdata.loader.plan.user_samplers import BatchSampling, Sampling
from splitdata.loader.plan.world import World
from splitdata.loader.samples.mixture import Mixture
from splitdata.loader.samples.record_lengths import record_lengths
from splitdata.loader.samples.record_source import DatasetLike, RecordFetcher
from splitdata.loader.samples.record_values import classes_of, weights_of
from splitdata.order.balanced_order import Balance
from splitdata.order.weighted_order import Weighting
from splitdata.order.window import Window

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from splitdata.loader.cache.cache_job import CacheJob
    from splitdata.loader.loader_options import LoaderOptions
    from splitdata.loader.plan.steps import Position, StepShape
    from splitdata.order.mixture_order import Mixing

__all__ = ["ResolvedOptions"]


class ResolvedOptions:
    """The parts that a loader is made of.

    Attributes:
        options: As given.
        source: Fetches records.
        facts: What is known of the dataset.
        selection: The records that take part.
        mixture: The dataset, where it is a mixture.
        cache: The cache, if there is one. What tells the transform from others in it travels with a pickle.
    """

    def __init__(self, dataset: DatasetLike, options: LoaderOptions) -> None:
        self.options = options
        self.source = RecordFetcher(
            dataset,
            as_views=options.records.as_views,
            with_keys=options.records.with_keys,
            with_positions=options.records.with_positions,
        )
        self.facts = self.source.facts()
        self.cache: CacheJob | None = None
        if options.cache is not None:
            self.cache = cache_job(
                options.cache, self.facts, options.transform, options.seed, seeds_globals=options.workers.seed_globals
            )
        num_records = self.facts.num_records
        deleted = None
        if options.records.skip_deleted:
            if not hasattr(self.source.dataset, "deleted"):
                raise ValueError(
                    "skip_deleted needs a dataset that knows which records were deleted, as SplitDataLoader and "
                    f"SampleDataset do; {self.source.name} does not: leave them out with subset"
                )
            deleted = self.source.deleted()
        self.selection = Selection(options.records.subset, num_records, deleted)
        self._sampling = None if options.sampler is None else Sampling(options.sampler, num_records)
        self._batches = None if options.batch_sampler is None else BatchSampling(options.batch_sampler, num_records)
        self.mixture = self.source.dataset if isinstance(self.source.dataset, Mixture) else None
        self._mixing: Mixing | None = None
        if self.mixture is not None:
            _check_mixture(options)
            self._mixing = self.mixture.mixing(by_bins=options.shuffle == "bins")
        elif options.shuffle == "bins":
            # An error belongs here, not in the first epoch.
            self.source.bins()

    def plan(self, world: World, lanes: int) -> Plan:
        """Return the plan of one rank.

        Raises:
            Exception: What is raised where the length of each record is found, for batches by length.
        """
        plan = self._plan_without_batching(world, lanes)
        batching = self.options.order.batching
        if batching is None:
            return plan
        batches = LengthBatches(
            batching,
            plan.order,
            plan.selection,
            self._lengths,
            batch_size=plan.batch_size,
            lanes=lanes,
            seed=None if plan.shuffle is False else plan.seed,
        )
        return replace(plan, batches=batches)

    @cached_property
    def _lengths(self) -> NDArray[np.int64]:
        batching = self.options.order.batching
        return record_lengths(self.source, None if batching is None else batching.length)

    def _plan_without_batching(self, world: World, lanes: int) -> Plan:
        options = self.options
        bins = None
        if options.shuffle == "bins" and self._mixing is None:
            bins = self.source.bins()
            if self.selection.digest is not None:
                bins = bins.restricted_to(self.selection.all_records())
        return Plan(
            selection=self.selection,
            shuffle=options.shuffle,
            seed=options.seed,
            lanes=lanes,
            interleave=options.order.interleave,
            bins=bins,
            batch_size=options.batch_size,
            rank=world.rank,
            world_size=world.world_size,
            tail=options.tail,
            partition=options.order.partition,
            num_steps=options.order.num_steps,
            sampling=self._sampling,
            batches=self._batches,
            rotation=None if options.rotation is None else (options.rotation.times, options.rotation.size),
            mixing=self._mixing,
            drawing=self._drawing,
        )

    @cached_property
    def _drawing(self) -> Weighting | Balance | None:
        """What draws records by their weights or classes, found out when it is first needed; None without."""
        options, order = self.options, self.options.order
        is_random = options.shuffle is not False
        if order.weights is not None:
            return Weighting(
                weights_of(self.source, self.selection, order.weights),
                num_samples=order.num_samples,
                replacement=order.replacement,
                scatters=is_random,
                seed=options.seed,
            )
        if order.balanced_by is not None:
            classes = classes_of(self.source, self.selection, order.balanced_by)
            return Balance(classes, num_samples=order.num_samples, mixes=is_random, seed=options.seed)
        return None

    @property
    def _num_positions(self) -> int:
        """Samples of a pass through the data, without samplers and rotation."""
        drawn = self._mixing or self._drawing
        return len(self.selection) if drawn is None else drawn.length

    def why_no_steps(self, plan: Plan) -> str | None:
        """Return why epochs have no batches, None if they have some; samplers are not asked for it.

        Raises:
            ValueError: Endless steps are wanted of no records.
        """
        num_records = self._num_positions
        if self._sampling is not None or self._batches is not None:
            return None
        if not num_records:
            if plan.num_steps is not None:
                raise ValueError(f"num_steps={plan.num_steps} goes on without end, but there are no records")
            return "no records"
        step = plan.batch_size * plan.world_size
        times = 1 if plan.rotation is None else plan.rotation[0]
        if plan.num_steps is None and self.options.tail == "drop" and times * num_records < step:
            return f"fewer samples than one step of {plan.world_size} x {plan.batch_size}, and tail='drop'"
        return None

    def check_position(self, state: LoaderState) -> None:
        """Refuse a state that stands where its epoch has no samples.

        Raises:
            StateMismatchError: Naming both numbers.
        """
        if self.options.order.num_steps is not None:
            length = self.options.order.num_steps * state.shape.samples
            if state.origin + state.samples < 0:
                raise StateMismatchError(
                    f"the state is damaged: it stands {-state.origin - state.samples} samples before the first"
                )
        elif self._batches is not None:
            length = len(self._batches.batches(state.epoch)) if state.samples else 0
        elif self.options.order.batching is not None:
            batches = self.plan(World(0, 1, "a check"), state.lanes).batches if state.samples else None
            length = 0 if batches is None else len(batches.batches(state.epoch))
        else:
            times = 1 if self.options.rotation is None else self.options.rotation.times
            sampling = self._sampling
            num_records = self._num_positions
            if sampling is not None:
                num_records = len(sampling.records(state.epoch)) if state.samples else 0
            length = num_records * times
        if state.samples and state.samples >= length:
            raise StateMismatchError(
                f"the state is damaged: it stands behind {state.samples} {state.unit} of epoch {state.epoch}, which "
                f"has {length} (behind its last it would be at the beginning of epoch {state.epoch + 1})"
            )

    def state(self, position: Position, shape: StepShape) -> LoaderState:
        """Return the state of a position; O(1) but for the digest of a sampler's epoch."""
        options = self.options
        shuffle = options.shuffle
        return LoaderState(
            epoch=position.epoch,
            samples=position.samples,
            origin=position.origin,
            seed=int(options.seed),
            shuffle=["window", shuffle.size] if isinstance(shuffle, Window) else shuffle,
            interleave=options.order.interleave if shuffle == "bins" else None,
            lanes=shape.lanes,
            partition=options.order.partition,
            subset=self.selection.digest,
            # An epoch that has not begun: its sampler must not be asked yet, and nothing depends on it; but epochs of
            # num_steps begin anywhere in what weights and classes make.
            sampler=self._digest(position.epoch)
            if position.samples or (position.origin and options.order.draws)
            else None,
            num_steps=options.order.num_steps,
            unit="samples" if self._batches is None and options.order.batching is None else "batches",
            rotation=None if options.rotation is None else [options.rotation.times, options.rotation.size],
            # Sources may join a mixture behind the position: its past says which data must be the same.
            num_records=self.facts.num_records if self.mixture is None else 0,
            fingerprint=self.facts.fingerprint if self.mixture is None else "mixture",
            generation=self.facts.generation,
            mixture=self._past(position),
            batch_size=shape.batch_size,
            world_size=shape.world_size,
        )

    def _past(self, position: Position) -> dict[str, Any] | None:
        """Return what of a mixture the samples before a position depend on; None without one."""
        if self.mixture is None:
            return None
        if self.options.order.num_steps is not None:
            return self.mixture.past(position.origin + position.samples)
        # Where the epoch begins in the stream depends on its length.
        length = self.mixture.epoch_length
        if self.options.order.batching is not None:
            # Batches do not come in the order of the stream.
            return {"epoch_length": length} | self.mixture.past((position.epoch + (position.samples > 0)) * length)
        return {"epoch_length": length} | self.mixture.past(position.epoch * length + position.samples)

    def _digest(self, epoch: int) -> str | None:
        """Return text that names what an epoch depends on beside seed and shuffle: samplers, weights, lengths."""
        asked = self._sampling or self._batches
        digests = [] if asked is None else [asked.digest(epoch)]
        if self._drawing is not None:
            digests.append(self._drawing.digest)
        batching = self.options.order.batching
        if batching is not None:
            digests.append(batching_digest(batching, self.options.batch_size, self._lengths))
        return "; ".join(digests) or None

    def fingerprint_of(self, generation: int) -> str | None:
        """Return the fingerprint that our dataset had at an earlier commit; None where that cannot be known."""
        dataset = self.source.dataset
        if isinstance(dataset, SampleDataset):
            dataset = dataset.records
        if not isinstance(dataset, SplitDataLoader) or len(dataset.paths) != 1:
            return None
        try:
            with dataset.at_generation(generation) as earlier:
                return earlier.fingerprint
        except (SplitDataError, OSError):
            return None


def _check_mixture(options: LoaderOptions) -> None:
    """Refuse options that decide what a mixture decides itself."""
    others = {
        "sampler": options.sampler is not None,
        "batch_sampler": options.batch_sampler is not None,
        "subset": options.records.subset is not None,
        str(options.order.draws): options.order.draws is not None,
        'partition="contiguous"': options.order.partition == "contiguous",
        "lanes": options.order.lanes is not None and options.rotation is None and options.order.batching is None,
    }
    if clash := [name for name, is_set in others.items() if is_set]:
        raise ValueError(
            f"a mixture decides itself which record comes when: leave out {', '.join(clash)}; a part of a dataset "
            "can be a source, as any object with __len__ and __getitem__"
        )
