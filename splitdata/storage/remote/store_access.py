"""How a store is reached, by all who read or write one dataset in it; pickles without what is secret."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from splitdata._place import dataset_place, is_url, split_url
from splitdata.storage.remote.block_cache import BlockCache
from splitdata.storage.remote.default_options import with_defaults
from splitdata.storage.remote.obstore_store import ObstoreStore
from splitdata.storage.remote.patience import Patience
from splitdata.storage.remote.remote_files import RemoteFiles
from splitdata.storage.remote.store import Store
from splitdata.storage.remote.store_options import StoreOptions

__all__ = ["StoreAccess"]


@dataclass(frozen=True, slots=True)
class StoreAccess:
    """What was given beside the URL.

    Attributes:
        given: The options of the store as they were given, None where a store was.
        store: The store itself, where one was given.
        cache: Of blocks.
    """

    given: StoreOptions | None = None
    store: Store | None = None
    cache: BlockCache = field(default_factory=BlockCache)

    @classmethod
    def of(
        cls,
        storage_options: Mapping[str, Any] | None = None,
        store: Store | None = None,
        block_cache: BlockCache | None = None,
    ) -> StoreAccess:
        """Take what a caller gave.

        Raises:
            TypeError, ValueError: If it is invalid.
        """
        given = None if storage_options is None else StoreOptions(storage_options)
        if store is not None:
            if given:
                raise ValueError("storage_options are for stores that are made here; the one given has its own")
            missing = [name for name in ("size", "get_ranges", "list", "put_new", "delete") if not hasattr(store, name)]
            if missing:
                raise TypeError(f"a store has five methods; {type(store).__name__} has no {', '.join(missing)}")
        if block_cache is not None and not isinstance(block_cache, BlockCache):
            raise TypeError(f"block_cache must be a BlockCache, got {type(block_cache).__name__}")
        # Looked at here already, so that the caller is told.
        _patience(None if given is None else given.get("timeout"))
        return cls(given, store, block_cache or BlockCache())

    def place(self, path: str | os.PathLike[str]) -> str:
        """Return the name of a dataset: an absolute path, or a URL; where a store was given, of its key in that.

        Raises:
            TypeError, ValueError: If it is invalid.
        """
        if self.store is None or (isinstance(path, str) and is_url(path)):
            return dataset_place(path)
        if not isinstance(path, str):
            raise TypeError(f"the key of a dataset in a store is text, got {type(path).__name__}")
        return dataset_place(f"store://{path.strip('/')}")

    def open(self, url: str) -> RemoteFiles:
        """Return the files of a dataset; nothing is sent yet.

        Raises:
            ModuleNotFoundError: If obstore is needed and not installed.
            ValueError: If the options are invalid.
        """
        root, prefix = split_url(url)
        if root.startswith("store://"):
            prefix = url.removeprefix("store://")
        options = with_defaults(self.given)
        patience = _patience(options.get("timeout"))
        store = self.store
        if store is None:
            if root.startswith("store://"):
                raise ValueError(f"{url}: give the store itself as `store`")
            own = StoreOptions({name: value for name, value in options.items() if name != "timeout"})
            store = ObstoreStore(root, own, patience.call_seconds)
        return RemoteFiles(url, prefix, store, self.cache, patience)


def _patience(seconds: object) -> Patience:
    if seconds is None:
        return Patience()
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds < 86_400:
        raise ValueError(f"the timeout in storage_options must be seconds, more than 0, got {seconds!r}")
    return Patience(float(seconds), min(float(seconds), Patience().call_seconds))
