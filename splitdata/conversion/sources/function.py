"""A source made of a function of the user's that yields records: given itself, or named by where it is.

Any layout that no other source knows can be converted this way.

    "package.module:function" ──import──> function() ──> iterable of bytes-like objects or binary files
"""

from __future__ import annotations

import functools
import importlib
import io
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any

from splitdata._payload import check_has_rest, is_file, payload, read_piece
from splitdata.conversion.sources.files.sized_file import READ_WHOLE_BYTES
from splitdata.conversion.sources.seek import count_at
from splitdata.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from splitdata._types import ReadableFile
    from splitdata.conversion.sources.source import Record, SourcePosition

__all__ = ["FunctionSource", "function_at"]


class FunctionSource:
    """The records that a function without arguments returns or yields.

    An exception of the function passes through as itself.
    """

    kind = "callable"

    def __init__(self, target: str | Callable[..., Any]) -> None:
        """Take the function, or import its module and find it.

        Args:
            target: The function, or "module:function"; both parts may have dots.

        Raises:
            SourceError: If there is no such module or function, or it cannot be called without arguments.
        """
        self.name = target if isinstance(target, str) else _name_of(target)
        self.skipped: Mapping[str, int] = {}
        self.num_bytes = None
        self.bytes_read = 0
        self._num_given = 0
        self._function = function_at(target) if isinstance(target, str) else target
        _check_callable(self._function, self.name)

    @property
    def inputs(self) -> list[str]:
        """Nothing that is known."""
        return []

    def identity(self) -> str:
        """Return kind and target: the records themselves are in the dataset."""
        return f"{self.kind} {self.name}"

    def __iter__(self) -> Generator[Record, None, None]:
        """Call the function and yield its records.

        Raises:
            SourceError: If it does not return an iterable, or yields something that is not a record.
        """
        return self._records(self._function(), 0)

    def state(self, *, with_times: bool) -> dict[str, Any]:
        """Return the target, and what tells its code from changed code, with all of the user's that it reaches.

        What it reads from elsewhere, nobody can tell. Parts that cannot be identified, such as an open file,
        count by their type.

        Raises:
            SourceError: If it reaches more objects than can be looked at.
        """
        # Loads modules of the standard library that nothing else here needs.
        from splitdata.process.identity.code_identity import code_identity

        del with_times
        try:
            code = code_identity(self._function, name=self.name, skips_unknown=True)
        except TypeError as error:
            raise SourceError(
                f"a conversion of {self.name} cannot be resumed: {error}; write its records without resuming, or to a "
                "file first",
                path=self.name,
            ) from None
        return {"function": self.name, "code": code}

    def position(self) -> SourcePosition:
        """Return how many records it has given."""
        return {"record": self._num_given}

    def records_from(self, position: SourcePosition) -> Generator[Record, None, None]:
        """Call the function and yield its records behind a position.

        One with a parameter named `start` is called with the number of records to leave out; of
        any other, so many are made and dropped.
        """
        import inspect

        start = count_at(position, "record")
        try:
            takes_start = "start" in inspect.signature(self._function).parameters
        except ValueError:
            takes_start = False
        if takes_start:
            yield from self._records(self._function(start=start), start)
        else:
            yield from islice(self._records(self._function(), 0), start, None)

    def _records(self, records: object, first: int) -> Generator[Record, None, None]:
        self.bytes_read = 0
        # Bytes are an iterable of numbers; one record alone is surely a mistake.
        if not isinstance(records, Iterable) or isinstance(records, (str, bytes, bytearray, memoryview)):
            kind = type(records).__name__
            hint = ": did it forget to yield, or to return?" if records is None else ""
            raise SourceError(f"{self.name} gave {kind}, not an iterable of records{hint}", path=self.name)
        for position, record in enumerate(records, first):
            taken = record if type(record) is bytes else self._taken(record, position)
            self._num_given = position + 1
            yield taken

    def _taken(self, record: Any, position: int) -> Record:  # whatever the function gave
        try:
            return _opened(record) if is_file(record) else payload(record)
        except (TypeError, ValueError) as error:
            raise SourceError(f"record {position} of {self.name}: {error}", path=self.name, position=position) from None


def _opened(file: ReadableFile) -> Record:
    """Return what a file holds, or where that is much, a file that begins with it."""
    head = b""
    # Here, where the record's number is known, it is found out whether it gives bytes at all.
    while len(head) < READ_WHOLE_BYTES and (piece := read_piece(file, READ_WHOLE_BYTES - len(head))):
        head += piece
    if not head:
        check_has_rest(file)
    return head if len(head) < READ_WHOLE_BYTES else _BegunFile(head, file)


class _BegunFile:
    """A file of which a part was read already."""

    def __init__(self, head: bytes, file: ReadableFile) -> None:
        self._head = io.BytesIO(head)
        self._file = file

    def read(self, size: int = -1, /) -> bytes:
        if size < 0:
            return self._head.read() + self._file.read()
        return self._head.read(size) or self._file.read(size)


def function_at(target: str) -> Callable[..., Any]:
    """Import what is named as "module:function"; both parts may have dots.

    Raises:
        SourceError: If there is no such module or function.
    """
    module_name, _, path = target.partition(":")
    if not module_name or not path:
        raise SourceError(f"a function is given as module:function, not {target!r}", path=target)
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # A module that the user's module misses is told by that module's own error.
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise SourceError(f"there is no module {error.name} to import for {target}", path=target) from None
    for name in path.split("."):
        if not hasattr(found, name):
            file = getattr(found, "__file__", None)
            where = f" ({file})" if file else ""
            raise SourceError(f"{target}: there is no {name} in {module_name}{where}", path=target)
        found = getattr(found, name)
    function: Callable[..., Any] = found
    return function


def _name_of(function: Callable[..., Any]) -> str:
    """Return a function as "module:function"; of one with arguments bound to it, that of the function below."""
    named: Any = function
    while isinstance(named, functools.partial):
        named = named.func
    return f"{getattr(named, '__module__', None)}:{getattr(named, '__qualname__', type(named).__qualname__)}"


def _check_callable(found: object, target: str) -> None:
    # Loads a dozen modules, and only here.
    import inspect

    if not callable(found):
        raise SourceError(f"{target} is {type(found).__name__}, not a function", path=target)
    if inspect.iscoroutinefunction(found) or inspect.isasyncgenfunction(found):
        raise SourceError(f"{target} is asynchronous; give a function that yields records by itself", path=target)
    try:
        inspect.signature(found).bind()
    except TypeError as error:
        raise SourceError(f"{target} cannot be called without arguments: {error}", path=target) from None
    except ValueError:
        # Some functions of C have no signature that can be asked; calling tells.
        return
