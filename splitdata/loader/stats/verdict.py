"""One or two sentences about a loader: whether training is held back, by what, what would help, and by how much.

How much is an upper bound: training may be as fast as if nothing had to be waited for, and no faster.

    waits little                                -> the loader is ahead
    waits for first batches above all           -> longer epochs, prefetch_epochs
    waits, and most of it is the transfer       -> smaller batches
                   ... collating for rotation   -> smaller samples
    no workers                                  -> num_workers, as many as hide the work behind training
    half of the workers have time               -> more ahead: batches come late one by one
    else the stage that takes workers longest
        it waits       (wall, no processor time)      -> more workers, as many as are missing
        it is starved  (ready, and no core is free)   -> cheaper, or more cores; more workers take from each other
        it computes    cores are free                 -> more workers, as far as cores go; or cheaper
                       threads, about one core busy   -> processes
                       no core is free                -> cheaper: never more workers
    a cache that is being filled is named, and so is what it costs to read it; where none is, what one would save
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from splitdata.loader.stats.figures import STAGES, percent, share

if TYPE_CHECKING:
    from splitdata.loader.stats.figures import LoaderFigures

__all__ = ["verdict_of"]

# Less waiting than this cannot be told from the cost of asking for a batch.
_LITTLE: Final = 0.05
# Of its time; the rest is noise of the machine.
_BUSY: Final = 0.75
_FEWEST_BATCHES: Final = 10
# No more are proposed at once: what comes then is better measured anew.
_MOST_TIMES: Final = 8
_MOST_WORKERS: Final = 64

_CHEAPER: Final = {
    "read": 'give the data faster storage or more memory, or read in order of bins (shuffle="bins")',
    "transform": "make the transform cheaper",
    "cache": "put the cache on a faster disk or into memory, let the transform return smaller samples",
    "collate": "let the transform return smaller samples, or pass a cheaper collate_fn",
    "send": "make batches smaller: uint8 images, for instance, that become float on the device",
}
_WAITS_LESS: Final = {"transform": "let the transform wait less"}
_WAITS_FOR: Final = {
    "read": "for the disk",
    "transform": "for a disk, a network or a sleep",
    "cache": "for the disk of the cache",
    "collate": "for something else",
    "send": "for memory",
}


def verdict_of(stats: LoaderFigures) -> str:
    """Return the verdict on one epoch, or on all since the start."""
    if stats.num_batches < _FEWEST_BATCHES:
        return f"Too early to tell: {stats.num_batches} batches, {_FEWEST_BATCHES} are needed."
    # The launch comes once, whatever comes after it.
    starting = share(stats.starting_seconds, stats.seconds - stats.launch_seconds)
    if starting >= 2 * _LITTLE and stats.starting_seconds > stats.waiting_seconds:
        return (
            f"Training waits {percent(starting)} of the time for the first batch of an epoch: make epochs longer, "
            "or let workers begin the next one early (WorkerOptions(prefetch_epochs=True))."
        )
    if stats.waiting_share < _LITTLE:
        return f"The loader is ahead: training waits {percent(stats.waiting_share)} of the time."
    return f"Training waits for data {percent(stats.waiting_share)} of the time; {_Causes(stats).sentence()}."


class _Causes:
    """The cause of the waiting.

    Attributes:
        stage: That workers spend most time in; the sums are those of all workers, in seconds.
    """

    def __init__(self, stats: LoaderFigures) -> None:
        self._stats = stats
        workers = stats.workers
        walls: dict[str, float] = {name: sum(getattr(worker, name) for worker in workers) for name in STAGES}
        self.stage = max(STAGES, key=lambda name: walls[name])
        self._wall = walls[self.stage]
        self._busy = sum(walls.values())
        self._processor = sum(worker.processor_seconds for worker in workers)
        self._starved = sum(worker.starved for worker in workers)
        # Sending is not measured: it copies.
        name = f"{self.stage}_processor"
        self._computed: float = sum(getattr(worker, name, getattr(worker, self.stage)) for worker in workers)
        # All that computes is starved, each stage by its part of that.
        self._waited_for_core = self._starved * share(self._computed, self._processor)

    def sentence(self) -> str:
        """Return what comes behind "Training waits for data ...;"."""
        stats, kept = self._stats, self._stats.rotation
        if share(stats.transfer_seconds, stats.waiting_seconds) > 0.5:
            return (
                f"{self._part_of_waiting(stats.transfer_seconds)} of that is the transfer to the device: make batches "
                "smaller (uint8 images, for instance, that become float there), without it "
                f"{_fast(self._if_saved(stats.transfer_seconds))}"
            )
        if kept is not None and share(kept.collate_seconds, stats.waiting_seconds) > 0.5:
            return (
                f"{self._part_of_waiting(kept.collate_seconds)} of that is collating in this process, where Rotation "
                "keeps samples: let the transform return smaller ones, or pass a cheaper collate_fn, without it "
                f"{_fast(self._if_saved(kept.collate_seconds))}"
            )
        changing = self._changing_cache()
        if changing:
            return changing
        return self._without_workers() if not stats.num_workers else self._with_workers()

    # -- how much ----------------------------------------------------------------------------

    @property
    def _most(self) -> float:
        """How many times as fast training would be without waiting."""
        return 1 / max(1 - self._stats.waiting_share, 1e-9)

    def _if_saved(self, seconds: float) -> float:
        """How many times as fast training would be without so many seconds of its waiting."""
        running = self._stats.running_seconds
        return min(self._most, 1 / max(1 - share(min(seconds, self._stats.waiting_seconds), running), 1e-9))

    def _part_of_waiting(self, seconds: float) -> str:
        return percent(min(1.0, share(seconds, self._stats.waiting_seconds)))

    @property
    def _cores_of_a_worker(self) -> float:
        """How many cores one worker keeps busy while it works."""
        return min(1.0, share(self._processor, self._busy - self._starved))

    @property
    def _cores_in_use(self) -> float:
        return share(self._processor, self._stats.running_seconds)

    # -- samples that are kept ---------------------------------------------------------------

    @property
    def _making(self) -> float:
        """Seconds that workers spend on what a cache would save."""
        return sum(worker.read + worker.transform for worker in self._stats.workers)

    @property
    def _if_kept(self) -> float:
        """How many times as fast it would be if all samples were in a cache, what reading that costs left out."""
        return self._if_workers_saved(self._making)

    def _if_workers_saved(self, seconds: float) -> float:
        return float(min(self._most, self._busy / max(self._busy - seconds, 1e-9)))

    def _changing_cache(self) -> str:
        """Return what a cache explains that is not in its steady state; empty if it explains nothing."""
        stats, cache = self._stats, self._stats.cache
        if cache is None or not cache.num_misses or self._making < 0.5 * self._busy:
            return ""
        computed = percent(1 - cache.hit_share)
        if cache.problem is not None:
            return (
                f"the cache takes no more samples, and {computed} are computed each time: give it more room "
                f"(max_bytes, a larger disk, smaller samples), with all of them {_fast(self._if_kept)}, or use "
                "Rotation, which needs room for a few thousand"
            )
        if stats.epoch is None and stats.num_epochs > 1 and cache.num_hits:
            return f"the cache was filled meanwhile, so epochs differ: see stats(epoch={stats.last_epoch})"
        if cache.hit_share > 0.5:
            return ""
        return (
            f"the cache is being filled, {computed} of the samples are computed: epochs that read them will be "
            f"{_fast(self._if_kept)}, see stats(epoch=...)"
        )

    def _keeping(self) -> str:
        """Return what keeping samples would save, where nothing is kept."""
        stats = self._stats
        if stats.cache is not None or self.stage not in ("read", "transform"):
            return ""
        if stats.rotation is None:
            return f"; or keep its results: Cache, from the second epoch on {_fast(self._if_kept)}, or Rotation"
        uses = max(1, round(share(stats.num_samples, stats.rotation.num_made)))
        wanted = max(uses + 1, math.ceil(uses * min(self._most, 2.0)))
        return f"; or use each sample more often: Rotation(times={wanted}), {_fast(min(self._most, wanted / uses))}"

    # -- workers -----------------------------------------------------------------------------

    def _without_workers(self) -> str:
        stats = self._stats
        training = stats.running_seconds - stats.waiting_seconds
        # The number that does the work in the time that training takes.
        wanted = max(1, min(_MOST_TIMES, math.ceil(share(self._busy, training)) if training else _MOST_TIMES))
        if self._cores_of_a_worker >= 0.5:
            wanted = min(wanted, stats.num_cores)
        crowding = max(1.0, wanted * self._cores_of_a_worker / stats.num_cores)
        gain = min(self._most, stats.running_seconds / max(training, self._busy / wanted * crowding, 1e-9))
        return (
            f"this process spends {percent(share(self._wall, self._busy))} of its loading in {self.stage}"
            f"{self._what_it_does}: set num_workers={wanted}, {_fast(gain)}{self._threads_will_do}; {self._cheaper}"
        )

    def _with_workers(self) -> str:
        stats = self._stats
        num_busy = sum(share(worker.busy_seconds, stats.running_seconds) >= _BUSY for worker in stats.workers)
        # Threads that share the interpreter hold up the loop as well, which then seems to be what takes the time.
        if 2 * num_busy < stats.num_workers and not self._shares_interpreter:
            return (
                f"{num_busy} of {stats.num_workers} workers are busy, so single batches come late: let more be made "
                "ahead (WorkerOptions(prefetch, max_bytes)), or take them as they come (in_order=False)"
            )
        start = (
            f"workers spend {percent(share(self._wall, self._busy))} in {self.stage}{self._what_it_does} ({num_busy} "
            f"of {stats.num_workers} busy)"
        )
        if self._is_starved:
            return (
                f"{start}, and {self._lack_of_cores}, so more workers would only share what there is: "
                f"{self._cheaper}; or get more cores (this process may use {stats.num_cores})"
            )
        if self._shares_interpreter:
            gain = min(self._most, min(stats.num_workers, stats.num_cores) / self._cores_in_use)
            change = f"WorkerOptions(kind='process'), {_fast(gain)}"
            return f"{start}, and threads compute one by one: {change}; {self._cheaper}"
        if self._waits or self._room_for_workers > stats.num_workers:
            return f"{start}: {self._more_workers}{self._threads_will_do}; {self._cheaper}"
        return (
            f"{start}, and they use {self._cores_in_use:.1f} of {stats.num_cores} cores, so more workers would not "
            f"help: {self._cheaper}"
        )

    # -- what the stage does -----------------------------------------------------------------

    @property
    def _waits(self) -> bool:
        """Whether the stage waits for something else than a core most of its time."""
        return bool(self._computed + self._waited_for_core < 0.5 * self._wall)

    @property
    def _is_starved(self) -> bool:
        is_full = self._waits and self._cores_in_use >= 0.9 * self._stats.num_cores
        return share(self._starved, self._busy) >= 0.25 or is_full

    @property
    def _lack_of_cores(self) -> str:
        starved = share(self._starved, self._busy)
        return f"{percent(starved)} of their time no core is free for them" if starved else "all cores are in use"

    @property
    def _shares_interpreter(self) -> bool:
        """Whether threads keep about one core busy, together, and wait for each other meanwhile."""
        stats = self._stats
        is_crowd = stats.worker_kind == "thread" and stats.num_workers > 1 and stats.num_cores > 1
        return is_crowd and 0.7 <= self._cores_in_use < 1.3 and self._processor < 0.75 * self._busy

    @property
    def _what_it_does(self) -> str:
        if not self._waits or self._is_starved or self._shares_interpreter:
            return ""
        who = "they wait" if self._stats.num_workers else "it waits"
        return f", where {who} {_WAITS_FOR[self.stage]}"

    # -- what would help ---------------------------------------------------------------------

    @property
    def _room_for_workers(self) -> int:
        """How many workers the cores have room for."""
        cores = self._cores_of_a_worker
        return min(_MOST_WORKERS, math.floor(self._stats.num_cores / cores + 0.05)) if cores > 0 else _MOST_WORKERS

    @property
    def _more_workers(self) -> str:
        """As many workers as are enough, or as there is room for, and what they bring."""
        now = self._stats.num_workers
        enough = math.ceil(now * min(self._most, _MOST_TIMES) - 1e-6)
        wanted = max(now + 1, min(enough, self._room_for_workers))
        return f"num_workers={wanted}, {_fast(min(self._most, wanted / now))}"

    @property
    def _threads_will_do(self) -> str:
        waits = self._waits and not self._is_starved and self._stats.worker_kind == "process"
        return " (threads will do: WorkerOptions(kind='thread'))" if waits else ""

    @property
    def _cheaper(self) -> str:
        """What would shorten the stage, and what is the most that this brings."""
        what = _WAITS_LESS if self._waits and not (self._is_starved or self._shares_interpreter) else _CHEAPER
        return f"{what.get(self.stage, _CHEAPER[self.stage])}, {_fast(self._without_stage)}{self._keeping()}"

    @property
    def _without_stage(self) -> float:
        if self._stats.num_workers:
            return self._if_workers_saved(self._wall)
        return self._if_saved(self._wall)


def _fast(factor: float) -> str:
    return f"up to {factor:.1f} times as fast" if factor < _MOST_TIMES else f"{_MOST_TIMES} times as fast or more"
