"""describe_cache: what the folder of a cache holds, from its keys and the indexes of its entries."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from splitdata._place import dataset_place, is_url
from splitdata.dataset.cache.cache_folder import CacheFolder
from splitdata.errors import FormatError
from splitdata.loader.cache.cache_entry import EntryCodec
from splitdata.loader.cache.cache_reader import CacheReader

if TYPE_CHECKING:
    from splitdata.dataset.cache.cache_generation import CacheGeneration
    from splitdata.dataset.cache.cache_key import CacheKey

__all__ = ["CacheDescription", "GenerationDescription", "describe_cache"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationDescription:
    """Samples that several epochs share.

    Attributes:
        folder: Where they lie.
        epoch: The first of these epochs, whose randomness the samples have.
        dataset, num_records: What they were made of: its fingerprint, and its length.
        transform: Name of the function that made them, empty where there was none.
        version: What the user calls it, None for nothing.
        seed: Of the loader.
        num_samples: Records that have a sample here.
        num_writers: Workers that have written.
        num_damaged: Parts that cannot be read; `verify` looks at each sample.
    """

    folder: str
    epoch: int
    dataset: str
    num_records: int
    transform: str
    version: str | None
    seed: int
    num_samples: int
    num_writers: int
    num_damaged: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheDescription:
    """The content of a cache's folder.

    Attributes:
        path: The folder.
        disk_bytes: Of all its files.
        generations: In the order of their epochs.
    """

    path: str
    disk_bytes: int
    generations: tuple[GenerationDescription, ...]


def describe_cache(path: str | os.PathLike[str]) -> CacheDescription | None:
    """Describe the folder of a cache, None if it is another folder; reads the indexes of entries, changes nothing."""
    if is_url(dataset_place(path)):
        return None
    folder = CacheFolder(path)
    if not folder.is_cache():
        return None
    described = []
    for generation in folder.looks():
        try:
            described.append(_describe(generation))
        except (OSError, FormatError, MemoryError, ValueError):
            # Removed meanwhile, or of more records than memory has room to count: then it is as good as gone.
            continue
    return CacheDescription(path=folder.paths.folder, disk_bytes=folder.num_bytes(), generations=tuple(described))


def _describe(generation: CacheGeneration) -> GenerationDescription:
    key: CacheKey = generation.key
    reader = CacheReader(generation, EntryCodec((), copy=False), key.num_records)
    reader.refresh()
    num_samples, num_damaged = reader.num_known, reader.num_damaged
    reader.close()
    return GenerationDescription(
        folder=generation.paths.folder,
        epoch=key.epoch,
        dataset=key.dataset,
        num_records=key.num_records,
        transform=key.transform,
        version=key.version,
        seed=key.seed,
        num_samples=num_samples,
        num_writers=len(generation.writers()),
        num_damaged=num_damaged,
    )
