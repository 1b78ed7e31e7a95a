"""The cache of one loader, as its workers get it: what samples depend on, and how a worker opens its part.

Stale samples are discarded by the consumer, once, so that its log says so.

    consumer    LoaderCache.job ──> CacheJob, pickled with the job; samples of other keys in the folder go now
    worker      open_cache ──> store ──> CachedSampleMaker
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from splitdata.dataset.cache.cache_folder import CacheFolder
from splitdata.dataset.cache.cache_key import CacheKey
from splitdata.errors import SplitDataError
from splitdata.loader.cache.cache_entry import EntryCodec
from splitdata.loader.cache.cached_maker import CachedSampleMaker
from splitdata.loader.cache.disk_store import DiskStore
from splitdata.loader.cache.entry_store import EntryStore, NoStore
from splitdata.loader.cache.memory_store import MemoryEntryStore
from splitdata.samples.sample_spec import SAMPLE_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable

    from splitdata.loader.cache.cache_options import Cache
    from splitdata.loader.samples.record_source import RecordFetcher, SourceFacts
    from splitdata.loader.samples.sample_maker import SampleMaker
    from splitdata.process.shared.record_memory import RecordMemory

__all__ = ["CacheJob", "LoaderCache", "check_cache", "identity_of", "open_cache"]

_log = logging.getLogger("splitdata")


@dataclass(frozen=True, kw_only=True)
class CacheJob:
    """All that a worker needs to know of the cache.

    Attributes:
        options: What the user chose.
        key: Of the first generation.
        num_needed: So many records make a generation complete.
        copies: Samples go to a function of the user's, so their arrays must be writable.
        memory: With medium="memory".
        keeps: False for one look: samples are made as for the cache, which is neither read nor filled.
    """

    options: Cache
    key: CacheKey
    num_needed: int
    copies: bool
    memory: RecordMemory | None
    keeps: bool = True


def check_cache(options: Cache, facts: SourceFacts) -> None:
    """Refuse a cache that could give wrong samples, or that lies where something else does.

    Raises:
        ValueError: Nobody can tell when the dataset is another one.
        CacheError: The folder holds something else, or other users could have written to it.
    """
    if not facts.is_content_known and options.version is None:
        raise ValueError(
            f"the dataset ({facts.fingerprint}) has no `fingerprint`, so a cache cannot tell when it has changed: "
            'name what is cached, as in Cache(..., version="photos-2026-crop-224"), and change that with the data'
        )
    if options.path is not None:
        CacheFolder(options.path).check()


def identity_of(options: Cache, transform: Callable[..., Any] | None) -> str:
    """Return what tells the transform from others; empty where there is none, or `version` stands for it.

    Raises:
        ValueError: Its code or its arguments do not tell what it does.
    """
    if transform is None or options.version is not None or options.medium == "memory":
        return ""
    # Loads what looks into code and packages, and only here.
    from splitdata.process.identity.code_identity import code_identity

    try:
        return code_identity(transform)
    except TypeError as error:
        raise ValueError(
            f"a cache cannot tell this transform from another one: {error}. Name what it does, as in "
            'Cache(..., version="crop-224"), and change that with the transform'
        ) from error


class LoaderCache:
    """The cache of one loader, kept while its workers come and go. Belongs to the process that made it."""

    def __init__(
        self, options: Cache, facts: SourceFacts, transform: Callable[..., Any] | None, code: str, seed: int
    ) -> None:
        self.options = options
        self._key = CacheKey(
            dataset=facts.fingerprint + facts.record_form,
            num_records=facts.num_records,
            transform=_name_of(transform),
            code=code,
            version=options.version,
            seed=int(seed),
            codec=SAMPLE_VERSION,
            epoch=0,
        )
        self._memory: RecordMemory | None = None

    def job(self, *, num_needed: int, num_workers: int, copies: bool) -> CacheJob:
        """Return what workers need, before any of them is started; what the folder holds of other samples goes.

        Raises:
            OSError: No more descriptors.
        """
        if self.options.medium == "disk":
            self._discard_stale()
        elif self._memory is None or self._memory.owner != os.getpid():
            from splitdata.process.shared.record_memory import RecordMemory
            from splitdata.process.wire.memory_budget import free_memory

            self._memory = RecordMemory(
                num_records=self._key.num_records,
                num_writers=max(1, num_workers),
                max_bytes=self.options.max_bytes or free_memory() // 2,
            )
        return CacheJob(options=self.options, key=self._key, num_needed=num_needed, copies=copies, memory=self._memory)

    def job_of_a_look(self, *, copies: bool) -> CacheJob:
        """Return what makes samples as for the cache, and leaves the folder and the memory alone."""
        return CacheJob(options=self.options, key=self._key, num_needed=0, copies=copies, memory=None, keeps=False)

    def _discard_stale(self) -> None:
        folder = CacheFolder(os.fspath(self.options.path or ""))
        num_discarded = 0
        # A disk that fails, or another folder in its place, is met again by the workers, who go on without it.
        with contextlib.suppress(OSError, SplitDataError):
            num_discarded = folder.discard_stale(self._key)
        if num_discarded:
            _log.info(
                "%s: %d generations of cached samples are discarded: they are of another dataset, transform (its code "
                "or its arguments), version or seed",
                folder.paths.folder,
                num_discarded,
            )

    def close(self) -> None:
        """Let go of the memory."""
        memory, self._memory = self._memory, None
        if memory is not None:
            memory.close()


def open_cache(job: CacheJob, maker: SampleMaker, source: RecordFetcher, worker_id: int) -> CachedSampleMaker:
    """Return what makes samples in one worker; opens no file before the first of them."""
    codec = EntryCodec(job.options.types, copy=job.copies)
    store: EntryStore
    if not job.keeps:
        store = NoStore()
    elif job.memory is not None:
        store = MemoryEntryStore(job.options, job.memory, worker_id)
    else:
        store = DiskStore(job.options, job.key, job.num_needed, codec)
    # A dataset of the user's own may take long for a record: each is kept as soon as it is there.
    return CachedSampleMaker(maker, store, codec, job.options, one_by_one=not source.fetches_together)


def _name_of(transform: Callable[..., Any] | None) -> str:
    """Return how `splitdata info` calls a function."""
    if transform is None:
        return ""
    while isinstance(transform, functools.partial):
        transform = transform.func
    return str(getattr(transform, "__qualname__", type(transform).__qualname__))
