"""Samples -> one batch: each field of n samples becomes one array whose first axis has length n.

A field is followed through all samples at once, so the work in Python is per field, not per value, and
the bytes are copied once. Output follows input: arrays and Python numbers give numpy, tensors give tensors.

    {"image": u8[224, 224, 3], "label": 3, "name": "a"}  \
    {"image": u8[224, 224, 3], "label": 5, "name": "b"}   >  {"image": u8[n, 224, 224, 3],
    ... n samples                                        /    "label": i64[n], "name": ["a", "b", ...]}
"""

from __future__ import annotations

import datetime
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias

import numpy as np
import numpy.typing as npt

from splitdata._shown import shown
from splitdata.samples.nesting import keys_of, leaves, map_leaves, name_of_leaf, name_of_part, rebuild
from splitdata.samples.tensors import tensor_over

__all__ = ["Allocate", "collate", "nbytes", "with_tensors"]

Allocate: TypeAlias = Callable[[tuple[int, ...], "np.dtype[Any]"], npt.NDArray[Any]]

_NUMBERS: dict[type, np.dtype[Any]] = {
    bool: np.dtype(np.bool_),
    int: np.dtype(np.int64),
    float: np.dtype(np.float64),
    complex: np.dtype(np.complex128),
}

# A list of them is what a batch has; numpy's dates have no time zones, and its text one length.
_LISTED = (str, bytes, bytearray, memoryview, type(None), datetime.date, datetime.timedelta)

_ADVICE = "Make them alike in the transform, or pass a collate_fn"


def collate(
    samples: Sequence[Any],
    *,
    as_tensors: bool = False,
    records: Sequence[int] | None = None,
    allocate: Allocate = np.empty,
) -> Any:
    """Return one batch of any nesting of dicts, lists, tuples, namedtuples and dataclasses.

    A field of arrays, tensors or numbers becomes one array or tensor of shape [n, ...], also where n is 1;
    int gives int64, float gives float64, bool gives bool; int and float in one field, as JSON has them, give
    float64. str, bytes, None, dates, datetimes and timedeltas give a list of n; a memoryview gives its bytes.
    A list or tuple gives a list or tuple of batched fields. The batch shares no memory with the samples, which
    may be read-only. Thread-safe. 64 images of 150 KB cost one copy of their bytes.

    Args:
        samples: One or more, alike in nesting, keys, shapes and dtypes.
        as_tensors: Turn arrays into tensors, without a copy; this imports torch. Lists stay lists.
        records: Which record each sample is, for messages.
        allocate: Makes each output array from its shape and dtype; C-contiguous. The copy goes straight into it.

    Raises:
        ValueError: No samples; samples that are not alike: names the field, and the first sample that differs.
        TypeError: A field that cannot be batched, or that torch cannot hold.
    """
    if not samples:
        raise ValueError("there are no samples to collate: a batch has one or more")
    return _Collator(as_tensors, records, allocate).batch(samples, "sample")


def with_tensors(batch: Any) -> Any:
    """Return a batch of `collate` with tensors over its arrays: what `as_tensors` gives, in another process.

    Raises:
        TypeError: torch cannot hold a field.
    """

    def converted(leaf: Any) -> Any:
        if type(leaf) is not np.ndarray:
            return leaf
        try:
            return _tensor_over(leaf, "")
        except TypeError:
            # Only now: looking for its name costs more than the tensor.
            return _tensor_over(leaf, name_of_leaf("sample", batch, leaf) or "sample")

    return map_leaves(converted, batch)


def nbytes(batch: Any) -> int:
    """Return the bytes of all arrays, tensors and byte strings in a batch or sample; a str counts its characters."""
    # Records as they are, or texts: most of what a batch of small ones costs would be to look at each.
    if type(batch) is list and set(map(type, batch)) <= {bytes, str}:
        return sum(map(len, batch))
    total = 0
    for leaf in leaves(batch):
        if isinstance(leaf, str | bytes | bytearray):
            total += len(leaf)
        elif isinstance(leaf, np.ndarray | np.generic | memoryview):
            total += leaf.nbytes
        elif isinstance(leaf, getattr(sys.modules.get("torch"), "Tensor", ())):
            tensor: Any = leaf
            total += tensor.numel() * tensor.element_size()
    return total


def _family_of(kind: type) -> object:
    """Return what the values of one field must have in common; None for what cannot be batched."""
    if kind in _NUMBERS or kind is np.ndarray:
        return "array"
    if issubclass(kind, _LISTED):
        return "listed"
    # Not np.ma, which would load that module. Its masks would be lost.
    if issubclass(kind, getattr(sys.modules.get("numpy.ma"), "MaskedArray", ())):
        return None
    # Before the containers, so that a user's subclass of both is what numpy and torch take it for.
    if issubclass(kind, np.ndarray | np.generic | bool | int | float | complex):
        return "array"
    if issubclass(kind, getattr(sys.modules.get("torch"), "Tensor", ())):
        return "tensor"
    for family in (Mapping, list):
        if issubclass(kind, family):
            return family
    if issubclass(kind, tuple):
        return kind if hasattr(kind, "_fields") else tuple
    return kind if hasattr(kind, "__dataclass_fields__") else None


def _type_name(value: Any) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _are_ints_and_floats(kinds: set[type]) -> bool:
    """Say whether these are Python's ints and floats, of both some: numpy's say what they are."""
    is_int = [issubclass(kind, int) for kind in kinds]
    return any(is_int) and not all(is_int) and all(issubclass(k, int | float) and k is not bool for k in kinds)


def _as_array(value: Any) -> npt.NDArray[Any]:
    # A scalar of numpy may be a float, too, and keeps its own dtype.
    if isinstance(value, np.ndarray | np.generic):
        return np.asarray(value)
    return np.asarray(value, next(dtype for kind, dtype in _NUMBERS.items() if isinstance(value, kind)))


def _tensor_over(array: npt.NDArray[Any], name: str) -> Any:
    try:
        return tensor_over(array)
    except TypeError as error:
        raise TypeError(f"{name}: {error}") from None


def _columns(values: Sequence[Any], keys: Sequence[Any]) -> Iterator[Sequence[Any]]:
    if isinstance(values[0], Mapping):
        return ([value[key] for value in values] for key in keys)
    return ([getattr(value, key) for value in values] for key in keys)


@dataclass(frozen=True, slots=True)
class _Collator:
    """Follows one field after the other through all samples; `name` is what messages call the field."""

    as_tensors: bool
    records: Sequence[int] | None
    allocate: Allocate

    def batch(self, values: Sequence[Any], name: str) -> Any:
        """Return the batch of one field, given its value in each sample."""
        kinds = set(map(type, values))
        families = {_family_of(kind) for kind in kinds}
        if None in families:
            self._refuse(name, values)
        if len(families) > 1:
            self._differ(name, "type", [_type_name(value) for value in values])
        family = families.pop()
        if family == "array":
            array = self._array(values, kinds, name)
            return _tensor_over(array, name) if self.as_tensors else array
        if family == "listed":
            if memoryview not in kinds:
                return list(values)
            return [bytes(value) if isinstance(value, memoryview) else value for value in values]
        return self._tensor(values, name) if family == "tensor" else self._container(values, name)

    def _container(self, values: Sequence[Any], name: str) -> Any:
        first = values[0]
        keys = keys_of(first) or ()
        if isinstance(first, Mapping):
            present = first.keys()
            if any(value.keys() != present for value in values):
                self._differ_in_keys(name, values)
        elif isinstance(first, list | tuple) and len(set(map(len, values))) > 1:
            self._differ(name, "length", list(map(len, values)))
        columns = zip(*values, strict=True) if isinstance(first, list | tuple) else _columns(values, keys)
        fields = [self.batch(column, name_of_part(name, first, key)) for key, column in zip(keys, columns, strict=True)]
        return rebuild(first, keys, fields)

    def _array(self, values: Sequence[Any], kinds: set[type], name: str) -> npt.NDArray[Any]:
        kind = type(values[0])
        try:
            if len(kinds) == 1 and kind in _NUMBERS:
                return self._fill(values, (), _NUMBERS[kind])
            if _are_ints_and_floats(kinds):
                return self._fill(self._as_floats(values, name), (), _NUMBERS[float])
            is_numpy = all(issubclass(kind, np.ndarray | np.generic) for kind in kinds)
            arrays = values if is_numpy else list(map(_as_array, values))
        except OverflowError as error:
            is_long = [isinstance(value, int) and not -(1 << 63) <= value < 1 << 63 for value in values]
            place = is_long.index(True)
            raise ValueError(
                f"{name}: {values[place]} in {self._sample(place)} does not fit into 64 bits: make it a float, or "
                "an array of another dtype, in the transform"
            ) from error
        shape, dtype = arrays[0].shape, arrays[0].dtype
        for array in arrays:
            if array.shape != shape or array.dtype != dtype:
                self._differ_in_shape(name, arrays)
        if dtype.hasobject:
            self._refuse(name, values)
        return self._fill(arrays, shape, dtype)

    def _fill(self, values: Sequence[Any], shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        batch = self.allocate((len(values), *shape), dtype)
        if shape:
            # Concatenation along the first axis of the samples is one copy of each, and several times cheaper to
            # prepare than np.stack: the same bytes in the same places.
            np.concatenate(values, out=batch.reshape(len(values) * shape[0], *shape[1:]))
        else:
            batch[...] = values
        return batch

    def _as_floats(self, values: Sequence[float], name: str) -> list[float]:
        floats = list(map(float, values))
        for place, value in enumerate(values):
            if floats[place] != value and isinstance(value, int):
                raise ValueError(
                    f"{name}: the int {value} in {self._sample(place)} would be changed by becoming a float, as other "
                    f"samples have there. {_ADVICE}"
                )
        return floats

    def _tensor(self, tensors: Sequence[Any], name: str) -> Any:
        torch = sys.modules["torch"]
        first = tensors[0]
        if any(tensor.is_nested for tensor in tensors):
            raise TypeError(f"{name}: nested tensors cannot be batched: return a list of their parts, tensor.unbind()")
        shape, dtype, device = first.shape, first.dtype, first.device
        for tensor in tensors:
            if tensor.shape != shape or tensor.dtype != dtype:
                self._differ_in_shape(name, tensors)
            if tensor.device != device:
                self._differ(name, "device", [tensor.device for tensor in tensors])
        plain = first.layout is torch.strided and device.type == "cpu" and first.numel() > 0
        if self.allocate is np.empty or not plain or any(tensor.requires_grad for tensor in tensors):
            return torch.stack(tuple(tensors))
        memory = self.allocate((len(tensors) * first.numel() * first.element_size(),), np.dtype(np.uint8))
        batch = torch.from_numpy(memory).view(dtype).view(len(tensors), *shape)
        return torch.stack(tuple(tensors), out=batch)

    def _sample(self, place: int) -> str:
        return f"sample {place}" + (f" (record {self.records[place]})" if self.records is not None else "")

    def _differ_in_shape(self, name: str, arrays: Sequence[Any]) -> NoReturn:
        shapes = [tuple(array.shape) for array in arrays]
        if len(set(shapes)) > 1:
            self._differ(name, "shape", shapes)
        self._differ(name, "dtype", [array.dtype for array in arrays])

    def _differ_in_keys(self, name: str, values: Sequence[Mapping[Any, Any]]) -> NoReturn:
        other = next(place for place, value in enumerate(values) if value.keys() != values[0].keys())
        # Where none is missing, the other sample has one more.
        missing = [(key, 0, other) for key in values[0] if key not in values[other]]
        key, has, lacks = (missing or [(key, other, 0) for key in values[other] if key not in values[0]])[0]
        count = sum(value.keys() != values[0].keys() for value in values)
        raise ValueError(
            f"{name}: {self._sample(has)} has the key {shown(key)} and {self._sample(lacks)} has not; {count} of "
            f"{len(values)} samples have other keys than the first. {_ADVICE}"
        )

    def _differ(self, name: str, what: str, seen: Sequence[Any]) -> NoReturn:
        place = next(place for place, value in enumerate(seen) if value != seen[0])
        count = sum(value != seen[0] for value in seen)
        raise ValueError(
            f"{name}: {what} {seen[0]} in {self._sample(0)}, {seen[place]} in {self._sample(place)}; {count} of "
            f"{len(seen)} samples differ from the first. {_ADVICE}"
        )

    def _refuse(self, name: str, values: Sequence[Any]) -> NoReturn:
        place = next((place for place, value in enumerate(values) if _family_of(type(value)) is None), 0)
        raise TypeError(
            f"{name}: {_type_name(values[place])} in {self._sample(place)} cannot be batched. Make it an array without "
            "objects, a tensor, a number, a str or bytes in the transform, or pass a collate_fn"
        )
