"""The cache of one loader, as its workers get it: what samples depend on, and how a worker opens its part.

    consumer    cache_job ──> CacheJob, pickled with the job; discard_stale: what is stale in the folder goes
    worker      open_cache ──> DiskStore ──> CachedSampleMaker

Stale samples are discarded by the consumer, once, so that its log says so.

    consumer    LoaderCache.job ──> CacheJob, pickled with the job; samples of other keys in the folder go now
    worker      open_cache ──> store ──> CachedSampleMaker
"""

from __future__ import annotations

import contextlib
import functools
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from splitdata._shown import one_line
from splitdata.dataset.cache.cache_folder import CacheFolder
from splitdata.dataset.cache.cache_key import CacheKey
from splitdata.errors import SplitDataError
from splitdata.loader.cache.cache_entry import EntryCodec
from splitdata.loader.cache.cached_maker import CachedSampleMaker
from splitdata.loader.cache.disk_store import DiskStore
from splitdata.samples.sample_spec import SAMPLE_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable

    from splitdata.loader.cache.cache_options import Cache
    from splitdata.loader.samples.record_source import RecordFetcher, SourceFacts
    from splitdata.loader.samples.sample_maker import SampleMaker

__all__ = ["CacheJob", "cache_job", "discard_stale", "open_cache"]

_log = logging.getLogger("splitdata")


@dataclass(frozen=True, kw_only=True)
class CacheJob:
    """All that a worker needs to know of the cache.

    Attributes:
        options: What the user chose.
        key: Of the first generation.
        num_needed: So many records make a generation complete.
        copies: Samples go to a function of the user's, so their arrays must be writable.
        keeps: False for one look: samples are made as for the cache, which is neither read nor filled.
    """

    options: Cache
    key: CacheKey
    num_needed: int = 0
    copies: bool = True
    keeps: bool = True


def cache_job(
    options: Cache, facts: SourceFacts, transform: Callable[..., Any] | None, seed: int, *, seeds_globals: bool
) -> CacheJob:
    """Return the cache of a loader; refuse one that could give wrong samples, or that lies where something else does.

    Raises:
        ValueError: Nobody can tell when the dataset or the transform is another one.
        CacheError: The folder holds something else, or other users could have written to it.
    """
    if not facts.is_content_known and options.version is None:
        raise ValueError(
            f"the dataset ({facts.fingerprint}) has no `fingerprint`, so a cache cannot tell when it has changed: "
            'name what is cached, as in Cache(..., version="photos-2026-crop-224"), and change that with the data'
        )
    CacheFolder(options.path).check()
    # Not even this loader would make them again: they are no samples of one that sets the generators.
    suffix = "" if seeds_globals else " with global generators as they are"
    key = CacheKey(
        dataset=facts.fingerprint + facts.record_form,
        num_records=facts.num_records,
        transform=_name_of(transform),
        code=_identity_of(options, transform) + suffix,
        version=options.version,
        seed=int(seed),
        codec=SAMPLE_VERSION,
        epoch=0,
    )
    return CacheJob(options=options, key=key)


def _identity_of(options: Cache, transform: Callable[..., Any] | None) -> str:
    """Return what tells the transform from others; empty where there is none, or `version` stands for it.

    Raises:
        ValueError: Its code or its arguments do not tell what it does.
    """
    if transform is None or options.version is not None:
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


def discard_stale(job: CacheJob) -> None:
    """Remove what the folder holds of other samples; before any worker is started."""
    folder = CacheFolder(job.options.path)
    num_discarded = 0
    # A disk that fails is met again by the workers, who go on without it.
    with contextlib.suppress(OSError, SplitDataError):
        num_discarded = folder.discard_stale(job.key)
    if num_discarded:
        _log.info(
            "%s: %d generations of cached samples are discarded: they are of another dataset, transform (its code "
            "or its arguments), version or seed",
            one_line(folder.paths.folder),
            num_discarded,
        )


def open_cache(job: CacheJob, maker: SampleMaker, source: RecordFetcher) -> CachedSampleMaker:
    """Return what makes samples in one worker; opens no file before the first of them."""
    codec = EntryCodec(job.options.types, copy=job.copies)
    store = DiskStore(job.options, job.key, job.num_needed, codec, keeps=job.keeps)
    # What a dataset of the user's own does for a record may take long: each is kept as soon as it is there.
    return CachedSampleMaker(maker, store, codec, job.options, one_by_one=not source.fetches_together)


def _name_of(transform: Callable[..., Any] | None) -> str:
    """Return how `splitdata info` calls a function."""
    if transform is None:
        return ""
    while isinstance(transform, functools.partial):
        transform = transform.func
    return str(getattr(transform, "__qualname__", type(transform).__qualname__))
