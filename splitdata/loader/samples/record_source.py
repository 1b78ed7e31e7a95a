"""A dataset as the loader sees it: a number of records, a way to fetch several, and a name for its content.

    path, or a list of paths    SplitDataLoader(path), or SampleDataset(path) where the records have a codec
    object                      its __getitems__, else __getitem__; its `fingerprint`, else type and length
    function or class           called in each worker, and here once for the length

Whatever else the object offers is used: `read_ahead`, or else `prefetch`, is called with the records of each step some
steps before it, and `bin_layout` allows shuffle="bins".
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

import xxhash

from splitdata._place import dataset_place
from splitdata.dataset.reader import SplitDataLoader
from splitdata.dataset.sample_dataset import SampleDataset
from splitdata.errors import DatasetNotFoundError
from splitdata.loader.samples.error_notes import add_note

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from splitdata.order.bin_layout import BinLayout
    from splitdata.samples.collate import Allocate

__all__ = ["DatasetLike", "MapDataset", "RecordFetcher", "SourceFacts"]


class MapDataset(Protocol):
    """The least that a dataset offers: its length, and a record by its number."""

    def __len__(self) -> int:
        """Return the number of records."""

    def __getitem__(self, index: int, /) -> Any:
        """Return a record."""


Paths: TypeAlias = "str | os.PathLike[str] | Sequence[str | os.PathLike[str]]"
DatasetLike: TypeAlias = "Paths | MapDataset | Callable[[], MapDataset]"

# Datasets around datasets around one of our readers, as torch's Subset is.
_MAX_HOLDERS: Final = 4


class SourceFacts:
    """The facts about a dataset that order and state need, without its records.

    Attributes:
        num_records: Its length.
        fingerprint: Text that names its content: the dataset's own, else its type and length.
        is_content_known: Whether the fingerprint is the dataset's own, so that a cache may trust it.
        generation: Number of its newest commit, None where it has no such.
        record_form: What records are handed out with, empty if alone; text that samples depend on, too.
    """

    def __init__(self, dataset: MapDataset, record_form: str = "") -> None:
        """Look at a dataset.

        A dataset of the user's without a fingerprint that holds one of our readers has that one's, though not
        for a cache: what it makes of the records is its own code.

        Raises:
            TypeError: It has no length or no records by number.
        """
        for name in ("__len__", "__getitem__"):
            if not hasattr(type(dataset), name):
                raise TypeError(
                    f"a dataset has a length and gives any record by its number; {type(dataset).__name__} has no "
                    f"{name}. Write what can only be read from front to back with SplitWriter first, or iterate it "
                    "in a process of its own with MpQItr"
                )
        self.num_records = len(dataset)
        self.record_form = record_form
        given = getattr(dataset, "fingerprint", None)
        kind = type(dataset)
        self.is_content_known = isinstance(given, str)
        reader: Any = dataset if self.is_content_known else _held_reader(dataset, _MAX_HOLDERS)
        if reader is None:
            self.fingerprint = f"{kind.__module__}.{kind.__qualname__}"
        else:
            self.fingerprint = str(reader.fingerprint)
        generation = getattr(dataset if reader is None else reader, "generation", None)
        self.generation = generation if isinstance(generation, int) else None


class RecordFetcher:
    """Fetches records; pickles as what it was made from, so that each worker opens its own.

    Safe to share between threads if the dataset is; a factory makes one dataset for each RecordSource.
    """

    def __init__(
        self,
        dataset: DatasetLike,
        *,
        as_views: bool = False,
        with_keys: bool = False,
        with_positions: bool = False,
    ) -> None:
        if isinstance(dataset, (str, bytes, os.PathLike)):
            dataset = _open(dataset_place(dataset), as_views=as_views)  # type: ignore[arg-type]  # it refuses bytes
        elif _are_paths(dataset):
            dataset = _open(dataset, as_views=as_views)  # type: ignore[arg-type]  # they are paths
        _check_no_readers(dataset)
        self._given = dataset
        self._opened: Any = None
        self._is_factory = _is_factory(dataset)
        self._as_views = as_views
        self._with_keys = with_keys
        self._with_positions = with_positions
        if not self._is_factory and not hasattr(type(dataset), "__getitem__"):
            raise TypeError(
                "a dataset is a path, a list of paths, an object with __len__ and __getitem__, or a function that "
                f"returns one; got {type(dataset).__name__}"
            )
        if as_views and not hasattr(self.dataset, "view"):
            raise ValueError(
                f"as_views needs a dataset with a method `view`, as SplitDataLoader has; {self.name} has none"
            )
        if with_keys and self._keys() is None:
            raise ValueError(
                "with_keys needs a dataset that has keys, as SplitDataLoader and SampleDataset have; give "
                f"{self.name} a method key(self, position)"
            )

    @property
    def dataset(self) -> Any:
        """The dataset itself; made now, where it was given as a function."""
        if self._opened is None:
            self._opened = self._given() if self._is_factory else self._given  # type: ignore[operator]
        return self._opened

    @property
    def given(self) -> Any:
        """The dataset as it was given, or what makes one."""
        return self._given

    @property
    def name(self) -> str:
        """The description of the dataset that was given."""
        paths = getattr(getattr(self._given, "records", self._given), "paths", None)
        if isinstance(paths, list) and paths:
            return repr(paths[0])
        return getattr(self._given, "__qualname__", type(self._given).__qualname__)

    def for_worker(self) -> RecordFetcher:
        """Return the source of one worker: a factory makes a dataset for each."""
        if not self._is_factory:
            return self
        return RecordFetcher(
            self._given, as_views=self._as_views, with_keys=self._with_keys, with_positions=self._with_positions
        )

    def facts(self) -> SourceFacts:
        """Look at the dataset."""
        form = " with positions" if self._with_positions else ""
        if self._with_keys:
            reader = _held_reader(self.dataset, _MAX_HOLDERS)
            records = getattr(reader, "records", reader)
            form += f" with keys of {getattr(records, 'segments_id', 'its own')}"
        if (deleted := self.deleted()) is not None and len(deleted):
            # So a cache does not hand out what was made of them.
            form += f" without {xxhash.xxh3_64_hexdigest(deleted.tobytes())}"
        return SourceFacts(self.dataset, form)

    def deleted(self) -> NDArray[np.int64] | None:
        """Return the positions of the records that were deleted, None where the dataset does not know such."""
        reader = _held_reader(self.dataset, 0)
        return reader.deleted if reader is not None and reader.num_deleted else None

    def bins(self) -> BinLayout:
        """Return where the records of each bin are.

        Raises:
            ValueError: The dataset has no bins.
        """
        layout: Callable[[], BinLayout] | None = getattr(self.dataset, "bin_layout", None)
        if layout is None:
            raise ValueError(
                'shuffle="bins" needs a dataset that has bins, as SplitDataLoader has: use "global" or Window(n)'
            )
        return layout()

    @property
    def fetches_together(self) -> bool:
        """Whether several records are one call of the dataset."""
        return not self._as_views and hasattr(self.dataset, "__getitems__")

    def fetch(self, records: NDArray[np.int64]) -> Sequence[Any]:
        """Return these records, in this order; each with its key or position, where that is asked for.

        Raises:
            Exception: Whatever the dataset raises.
        """
        fetched = self._fetch_alone(records)
        if not (self._with_keys or self._with_positions):
            return fetched
        more: list[Sequence[Any]] = [self._keys_of(records)] if self._with_keys else []
        if self._with_positions:
            more.append(records.tolist())
        return list(zip(fetched, *more, strict=True))

    def _keys_of(self, records: NDArray[np.int64]) -> list[Any]:
        """Return the key of each record; of our own readers all at once."""
        dataset = self.dataset
        reader = dataset.records if type(dataset) is SampleDataset else dataset
        if type(reader) is SplitDataLoader:
            return list(reader.keys_of(records))
        keys = self._keys()
        return [None if keys is None else keys(position) for position in records.tolist()]

    def _keys(self) -> Callable[[int], Any] | None:
        """Return what gives the key of a record, None where nothing does."""
        dataset = self.dataset
        found: Callable[[int], Any] | None = getattr(dataset, "key", None)
        return dataset.records.key if found is None and isinstance(dataset, SampleDataset) else found

    @property
    def gathers(self) -> bool:
        """Whether records are samples of our own reader, handed out alone, of which `gather` makes batches."""
        dataset = self.dataset
        is_alone = not (self._as_views or self._with_keys or self._with_positions)
        return is_alone and type(dataset) is SampleDataset and dataset.codec == "sample"

    def gather(self, records: NDArray[np.int64], allocate: Allocate) -> Any:
        """Return the batch that `collate` makes of these samples; arguments and errors as of `SampleDataset.gather`."""
        return self.dataset.gather(records, allocate=allocate)

    def _fetch_alone(self, records: NDArray[np.int64]) -> Sequence[Any]:
        dataset = self.dataset if self._opened is None else self._opened
        if self._as_views:
            # Our own reader has a faster way for many.
            return (
                dataset.views(records) if type(dataset) is SplitDataLoader else [*map(dataset.view, records.tolist())]
            )
        many = getattr(dataset, "__getitems__", None)
        if many is None:
            return [dataset[record] for record in records.tolist()]
        # Our own readers compute with arrays; others expect what torch passes.
        fetched: Sequence[Any] = many(
            records if type(dataset) in (SplitDataLoader, SampleDataset) else records.tolist()
        )
        if len(fetched) != len(records):
            raise ValueError(
                f"{type(dataset).__name__}.__getitems__ returned {len(fetched)} records for {len(records)} numbers"
            )
        return fetched

    def fetch_one(self, record: int) -> Any:
        """Return one record."""
        fetched = self.dataset.view(record) if self._as_views else self.dataset[record]
        keys = self._keys() if self._with_keys else None
        more = [*([] if keys is None else [keys(record)]), *([record] if self._with_positions else [])]
        return (fetched, *more) if more else fetched

    @property
    def gives_read_only_arrays(self) -> bool:
        """Whether samples hold arrays that cannot be written to, and could be had otherwise."""
        reader = _held_reader(self.dataset, _MAX_HOLDERS)
        return isinstance(reader, SampleDataset) and not reader.copies

    def key_of(self, record: int) -> str | None:
        """Return the key of a record, for a message; None where it has none, or nobody can tell."""
        keys = self._keys()
        if keys is not None:
            # A damaged dataset has an error of its own already.
            with contextlib.suppress(Exception):
                return keys(record)  # type: ignore[no-any-return]  # of a dataset of the user's it may be anything
        return None

    def read_ahead(self, records: NDArray[np.int64]) -> None:
        """Ask for records to be brought into memory, where the dataset can do that; returns at once."""
        dataset = self.dataset
        ask = getattr(dataset, "read_ahead", None) or getattr(dataset, "prefetch", None)
        if ask is not None:
            ask(records)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_opened": None}


def _held_reader(dataset: object, max_holders: int) -> SplitDataLoader | SampleDataset | None:
    """Return the one reader of ours that a dataset is, or holds as an attribute; None if there is none, or several."""
    if isinstance(dataset, (SplitDataLoader, SampleDataset)):
        return dataset
    # A container is a dataset by what is in it.
    if not max_holders or isinstance(dataset, (list, tuple, dict)) or not hasattr(type(dataset), "__getitem__"):
        return None
    names = [name for cls in type(dataset).__mro__ for name in getattr(cls, "__slots__", ())]
    held = [*getattr(dataset, "__dict__", {}).values(), *(getattr(dataset, name, None) for name in names)]
    found = [reader for one in held if (reader := _held_reader(one, max_holders - 1)) is not None]
    return found[0] if len({id(reader) for reader in found}) == 1 else None


def _are_paths(dataset: object) -> bool:
    """Say whether this is a list of paths, which is their datasets end to end."""
    if not isinstance(dataset, (list, tuple)) or not dataset:
        return False
    return all(isinstance(each, (str, os.PathLike)) for each in dataset)


def _check_no_readers(dataset: object) -> None:
    """Refuse a list of datasets: each would be taken for a record."""
    if not isinstance(dataset, (list, tuple)):
        return
    readers = [each for each in dataset if isinstance(each, (SplitDataLoader, SampleDataset))]
    if readers:
        raise TypeError(
            f"the dataset is a list that holds {len(readers)} readers, {readers[0]!r} first: give the list of their "
            "paths, and it is their datasets end to end"
        )


def _open(path: Paths, *, as_views: bool) -> SplitDataLoader | SampleDataset:
    """Open what lies at a path: its records, or the samples that they hold where the dataset names their codec."""
    try:
        records = SplitDataLoader(path)
    except DatasetNotFoundError as error:
        if not isinstance(path, (str, os.PathLike)):
            add_note(error, "a list of texts is taken for paths; records that are texts go into an object of your own")
        raise
    if as_views or records.record_codec is None:
        return records
    records.close()
    return SampleDataset(path)


def _is_factory(dataset: object) -> bool:
    if isinstance(dataset, type):
        return True
    return callable(dataset) and not hasattr(type(dataset), "__getitem__")
