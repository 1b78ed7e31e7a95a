"""Turns a batch into one pickle and the large buffers left out of it, so that these need not be copied, and back.

    worker                                                     consumer
    {"x": array, "n": 3} --BatchPickler.dump--> pickle         pickle.loads(pickle, buffers=...) --> the same
                                                buffer of x    `x` is a view of the buffer: no copy, writable

Pickle protocol 5 does the nesting and keeps an array that occurs twice in a batch one array. Two types
are taken out of its hands, because their own reduction copies or refuses more than it has to:

- numpy.ndarray: any order of axes that is dense travels as it lies, whatever else is made contiguous;
  read-only arrays arrive writable; dtypes that the buffer protocol does not know travel as bytes.
- torch.Tensor on the CPU, dense: the same, with every dtype. torch is looked up among the loaded
  modules, never imported here; a consumer that receives a tensor gets torch with its dtype.

Subclasses, object arrays and other devices use the reduction that their library gives them. Buffers
below 16 KiB stay in the pickle: copying them costs less than keeping a slot for them.
"""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Sequence
from typing import Any

__all__ = ["INLINE_BYTES", "BatchPickler"]

# Below, a copy through the pipe costs less than the bookkeeping of a slot: 5 us and 0.1 us per KiB against 10 us.
INLINE_BYTES = 16 * 1024


def _dense_axes(shape: Sequence[int], strides: Sequence[int], item_size: int) -> list[int] | None:
    """Return the axes from the slowest to the fastest if the data lie dense in that order, else None."""
    axes = sorted(range(len(shape)), key=lambda axis: -strides[axis])
    expected = item_size
    for axis in reversed(axes):
        if shape[axis] != 1 and strides[axis] != expected:
            return None
        expected *= shape[axis]
    return axes


def _inverse(axes: Sequence[int]) -> list[int]:
    inverse = [0] * len(axes)
    for place, axis in enumerate(axes):
        inverse[axis] = place
    return inverse


class _WritableFace:
    """Shows a read-only array as a writable one, so that pickle does not mark its buffer read-only."""

    def __init__(self, array: Any) -> None:
        self.array = array
        interface = dict(array.__array_interface__)
        interface["data"] = (interface["data"][0], False)
        self.__array_interface__ = interface


def _reduce_array(array: Any) -> Any:
    import numpy

    if array.dtype.hasobject:
        return NotImplemented
    axes = None
    if not array.flags.c_contiguous:
        axes = _dense_axes(array.shape, array.strides, array.itemsize)
        array = array.transpose(axes) if axes is not None else array
    flat = numpy.ascontiguousarray(array).reshape(-1).view(numpy.uint8) if array.size and array.itemsize else b""
    if not isinstance(flat, bytes) and not flat.flags.writeable:
        flat = numpy.asarray(_WritableFace(flat))
    content: Any = bytearray() if isinstance(flat, bytes) else flat
    buffer = pickle.PickleBuffer(content)
    plain = array.dtype.isbuiltin == 1 and not array.dtype.metadata
    dtype = array.dtype.str if plain else array.dtype
    return _make_array, (buffer, dtype, array.shape, None if axes is None else _inverse(axes))


def _make_array(buffer: Any, dtype: Any, shape: tuple[int, ...], axes: Sequence[int] | None) -> Any:
    import numpy

    array: Any = numpy.ndarray(shape, dtype, buffer)
    return array if axes is None else array.transpose(axes)


def _reduce_tensor(tensor: Any, torch: Any) -> Any:
    plain = (
        tensor.layout is torch.strided
        and tensor.device.type == "cpu"
        and not tensor.is_quantized
        and not tensor.is_conj()
        and not tensor.is_neg()
        and not tensor.is_nested
        and not tensor.__dict__
    )
    if not plain:
        return NotImplemented
    data = tensor.detach()
    axes = None
    if not data.is_contiguous():
        axes = _dense_axes(data.shape, data.stride(), 1)
        data = data.permute(axes) if axes is not None else data
    shape = tuple(data.shape)
    # Not reshape(-1): of one element that would keep any stride, with which torch shows no bytes.
    flat = data.contiguous().as_strided((data.numel(),), (1,))
    buffer = pickle.PickleBuffer(flat.view(torch.uint8).numpy() if flat.numel() else bytearray())
    back = None if axes is None else _inverse(axes)
    return _make_tensor, (buffer, tensor.dtype, shape, back, tensor.requires_grad)


def _make_tensor(buffer: Any, dtype: Any, shape: tuple[int, ...], axes: Sequence[int] | None, grad: bool) -> Any:
    # Loaded by now: the dtype, which was unpickled before this call, is one of its own objects.
    torch = sys.modules["torch"]
    # frombuffer refuses a buffer of no bytes.
    tensor = torch.empty(shape, dtype=dtype) if 0 in shape else torch.frombuffer(buffer, dtype=dtype).reshape(shape)
    if axes is not None:
        tensor = tensor.permute(tuple(axes))
    return tensor.requires_grad_() if grad else tensor


class _Pickler(pickle.Pickler):
    """The C pickler, asked for arrays and tensors only: builtin types never reach `reducer_override`."""

    def reducer_override(self, obj: Any) -> Any:
        """Reduce arrays and tensors here, all else as always."""
        kind = type(obj)
        if kind.__module__ == "numpy" and kind.__name__ == "ndarray":
            return _reduce_array(obj)
        if kind.__module__ == "torch" and kind is getattr(sys.modules.get("torch"), "Tensor", None):
            return _reduce_tensor(obj, sys.modules["torch"])
        return NotImplemented


class BatchPickler:
    """Pickles one batch after the other into the same memory.

    Not thread-safe. Nothing is remembered from one batch to the next: an object that is changed and
    yielded again arrives as it was each time.
    """

    def __init__(self) -> None:
        self._buffers: list[memoryview] = []
        self._renew()

    def _renew(self) -> None:
        self._file = io.BytesIO()
        self._pickler = _Pickler(self._file, 5, buffer_callback=self._keep_inside)

    def _keep_inside(self, buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < INLINE_BYTES:
            return True
        self._buffers.append(raw)
        return False

    def dump(self, batch: object) -> tuple[bytes, list[memoryview]]:
        """Return the pickle of a batch and the buffers left out of it, which are views of its arrays.

        Raises:
            Exception: Whatever the batch raises when it is pickled.
        """
        file, pickler = self._file, self._pickler
        try:
            pickler.dump(batch)
        except BaseException:
            # A pickler that stopped half-way is not used again.
            self._buffers = []
            self._renew()
            raise
        pickler.clear_memo()
        pickled = file.getvalue()
        file.seek(0)
        file.truncate()
        buffers = self._buffers
        if buffers:
            self._buffers = []
        return pickled, buffers
