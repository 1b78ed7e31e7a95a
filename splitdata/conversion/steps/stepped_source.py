"""A source whose records go through the steps of a conversion before they are written.

A position names an output: one of those that an input became. It is exact wherever it is asked for, and cheap: the
place of the source itself is noted at every 256th input only.

    inputs     0 ... 255 | 256 257 258 ...          noted: the place of the source behind input 255
    outputs              | a   b,c  d               position behind b: that place, 1 more input, 1 output of the next
"""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from splitdata.conversion.sources.each_record import keyed_records_of, whole_record
from splitdata.conversion.sources.function import function_at
from splitdata.conversion.sources.parts import has_parts
from splitdata.conversion.sources.seek import count_at, counts_at, position_at, position_of, state_of
from splitdata.conversion.sources.source import metadata_in
from splitdata.conversion.steps.failures import FAILED, FailedRecord
from splitdata.conversion.steps.record_steps import CHOSEN_BY_FIRST, Output, RecordSteps

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence

    from splitdata.conversion.sources.parts import PartedSource
    from splitdata.conversion.sources.source import Record, RecordSource, SourcePosition
    from splitdata.conversion.steps.record_steps import StepFunction

__all__ = ["FailureTaker", "SteppedSource", "stepped"]

_INPUTS_PER_NOTE: Final = 256
_NOT_KEPT: Final = "filtered record"


class FailureTaker(Protocol):
    """Decides what becomes of records that a step fails on."""

    def begin(self, num_failed: int) -> None:
        """Count from so many on, as a reading begins."""

    def take(self, failed: FailedRecord) -> None:
        """Take one; may raise."""


class SteppedSource:
    """The records of another source, as steps leave them.

    Attributes:
        source: The other source.
    """

    def __init__(self, source: RecordSource, steps: RecordSteps, failures: FailureTaker) -> None:
        """Take the source, the steps, and what decides about records that one of them fails on."""
        self.source = source
        self._steps = steps
        self._failures = failures
        self._own_skipped: Counter[str] = Counter()
        self._noted: SourcePosition = {}
        self._position: SourcePosition = {}
        self._num_inputs = 0
        self._begun: tuple[Output | None, Generator[Output, None, None]] | None = None

    @property
    def kind(self) -> str:
        """The kind of the source."""
        return self.source.kind

    @property
    def name(self) -> str:
        """The name of the source."""
        return self.source.name

    @property
    def inputs(self) -> Sequence[str]:
        """The paths of the source."""
        return self.source.inputs

    @property
    def num_bytes(self) -> int | None:
        """Bytes of the source."""
        return self.source.num_bytes

    @property
    def bytes_read(self) -> int:
        """Bytes of the source read so far."""
        return self.source.bytes_read

    @property
    def num_inputs(self) -> int:
        """Records of the source that the newest iteration is done with."""
        return self._num_inputs

    @property
    def skipped(self) -> Mapping[str, int]:
        """What the source left out, and what the steps did."""
        return Counter(self.source.skipped) + self._own_skipped

    @property
    def metadata(self) -> dict[str, Any]:
        """Those of the source, with the codec of what the steps give; makes the first record to find it out.

        Raises:
            Exception: What reading it raises.
        """
        metadata = metadata_in(self.source)
        codec = self.settled_steps().gives
        if codec is None:
            metadata.pop("record_codec", None)
            return metadata
        return metadata | {"record_codec": codec}

    def settled_steps(self) -> RecordSteps:
        """Return the steps, with the codec of what they give known; raises as `metadata` does."""
        if self._steps.gives == CHOSEN_BY_FIRST:
            outputs = self._outputs({})
            first = next(outputs, None)
            self._steps = self._with_codec(first.codec if first else self._steps.codec)
            # Standard input is read only once, so this reading is the one that goes on.
            self._begun = first, outputs
        return self._steps

    def settled_by(self, parts: Iterable[RecordSource], failures: FailureTaker) -> SteppedSource:
        """Return a source of the same steps whose codec is known: that of the first record which parts of it give."""
        steps = self._steps
        for part in parts if steps.gives == CHOSEN_BY_FIRST else ():
            with closing(SteppedSource(part, steps, failures)._outputs({})) as outputs:
                first = next(outputs, None)
            if first is not None:
                return SteppedSource(self.source, self._with_codec(first.codec), failures)
        is_open = steps.gives == CHOSEN_BY_FIRST
        return SteppedSource(self.source, self._with_codec(steps.codec) if is_open else steps, failures)

    def _with_codec(self, codec: str | None) -> RecordSteps:
        return RecordSteps(self._steps.where, self._steps.transform, self._steps.codec, codec)

    def identity(self) -> str:
        """Return that of the source, and the names of the functions."""
        names = [getattr(step, "__qualname__", "") for step in (self._steps.where, self._steps.transform)]
        return " ".join((self.source.identity(), *names))

    def state(self, *, with_times: bool) -> dict[str, Any]:
        """Return what tells the source from a changed one, and the code of the functions from changed code."""
        # Loads modules of the standard library that nothing else here needs.
        from splitdata.process.identity.code_identity import code_identity

        state = state_of(self.source, with_times=with_times)
        for name, step in (("where", self._steps.where), ("transform", self._steps.transform)):
            if step is not None:
                state[f"code of {name}"] = code_identity(step, name=name, skips_unknown=True)
        return state

    def position(self) -> SourcePosition:
        """Return where the output stands that was given last."""
        return self._position

    def __iter__(self) -> Generator[Record, None, None]:
        """Yield the records; raises what the source and the functions raise."""
        return self.records_from({})

    @property
    def has_parts(self) -> bool:
        """Whether the source has."""
        return has_parts(self.source)

    def parts(self, max_bytes: int) -> Generator[RecordSource, None, None]:
        """Yield the parts of the source, to which the steps are yet to be applied."""
        yield from cast("PartedSource", self.source).parts(max_bytes)

    def records_from(self, position: SourcePosition) -> Generator[Record, None, None]:
        """Yield the records behind a position."""
        for _, record in self.keyed_records(position):
            yield record

    def keyed_records(self, position: SourcePosition | None = None) -> Generator[tuple[str | None, bytes], None, None]:
        """Yield the key of each record behind a position, None where the source has none, and the record."""
        begun, self._begun = self._begun, None
        if begun and position:
            begun[1].close()
            begun = None
        first, outputs = begun or (None, self._outputs(position or {}))
        with closing(outputs):
            if first is not None:
                yield first.key, first.record
            for output in outputs:
                yield output.key, output.record

    def _outputs(self, position: SourcePosition) -> Generator[Output, None, None]:
        self._failures.begin(counts_at(position, "left out").get(FAILED, 0))
        self._own_skipped.clear()
        self._own_skipped.update(counts_at(position, "left out"))
        self._noted = position_at(position, "noted")
        noted_at, done = count_at(position, "inputs at note"), count_at(position, "inputs since")
        number, already = noted_at + done, count_at(position, "outputs of next")
        num_given = count_at(position, "record")
        self._position = position
        with closing(keyed_records_of(self.source, self._noted)) as pairs:
            for key, record in islice(pairs, done, None):
                for count, output in enumerate(self._made(number, key, record), 1):
                    if count <= already:
                        continue
                    num_given += 1
                    self._position = {
                        "record": num_given,
                        "noted": self._noted,
                        "inputs at note": noted_at,
                        "inputs since": number - noted_at,
                        "outputs of next": count,
                        "left out": dict(self._own_skipped),
                    }
                    yield output
                self._num_inputs = number = number + 1
                already = 0
                if number % _INPUTS_PER_NOTE == 0:
                    self._noted, noted_at = position_of(self.source, number), number

    def _made(self, number: int, key: str | None, record: Record) -> Iterator[Output]:
        """Yield what one input becomes; of one that fails midway, what came before."""
        data = whole_record(record)
        try:
            outputs = self._steps.outputs(key, data)
            if outputs is None:
                self._own_skipped[_NOT_KEPT] += 1
                return
            output = next(outputs, None)
            if output is not None and self._steps.gives == CHOSEN_BY_FIRST:
                self._steps = self._with_codec(output.codec)
        except Exception as error:
            self._fail(FailedRecord(number, key, data, error))
            return
        while output is not None:
            yield output
            try:
                output = next(outputs, None)
            except Exception as error:
                self._fail(FailedRecord(number, key, data, error))
                return

    def _fail(self, failed: FailedRecord) -> None:
        self._failures.take(failed)
        self._own_skipped[FAILED] += 1


def stepped(
    source: RecordSource, where: StepFunction | str | None, transform: StepFunction | str | None, failures: FailureTaker
) -> SteppedSource:
    """Return a source with its steps; functions may be named as "module:function", which imports the module."""
    found = [function_at(step) if isinstance(step, str) else step for step in (where, transform)]
    for step in found:
        if step is not None and not callable(step):
            raise TypeError(f"where and transform are functions, or 'module:function', not {step!r}")
    return SteppedSource(source, RecordSteps.of(found[0], found[1], metadata_in(source).get("record_codec")), failures)
