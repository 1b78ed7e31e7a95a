"""An error knows the frames that it has passed: a frame that knows the error, too, lives on with all that it holds.

error ──traceback──> frame ──local variable──> error

What the caller holds, a pinned manifest or a batch, would go only with the next run of the garbage collector.
"""

from __future__ import annotations

import ast
import contextlib
import errno
import gc
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from splitdata import DistributedLoader, MpQItr, RecordOptions, SplitDataLoader, SplitWriter, WorkerOptions, open_source
from splitdata.dataset.segments import open_files
from splitdata.process.consumer import start
from splitdata.process.worker.requests import Requests
from tests.command import ROOT
from tests.process import servers
from tests.process.generators import then_raise


class Held:
    """Stands for what a caller holds."""


def goes_at_once(call: Callable[[], object]) -> bool:
    """Say whether all that the caller of a call that fails holds goes when the call has ended."""

    def caller() -> weakref.ref[Held]:
        held = Held()
        with contextlib.suppress(Exception):
            call()
            pytest.fail("nothing was raised")
        return weakref.ref(held)

    gc.collect()
    gc.disable()
    try:
        return caller()() is None
    finally:
        gc.enable()


# -- all that is raised again -------------------------------------------------------------------


def raised_names(node: ast.AST, let_go: frozenset[str] = frozenset()) -> Iterator[tuple[int, str]]:
    """Yield line and name where what a local variable knows is raised, and is not let go of."""
    for child in ast.iter_child_nodes(node):
        known = let_go
        if isinstance(child, (ast.FunctionDef, ast.Lambda)):
            known = frozenset()
        elif isinstance(child, ast.ExceptHandler) and child.name:
            known |= {child.name}
        elif isinstance(child, ast.Try):
            deleted = (target for part in child.finalbody if isinstance(part, ast.Delete) for target in part.targets)
            known |= {target.id for target in deleted if isinstance(target, ast.Name)}
        elif isinstance(child, ast.Raise) and isinstance(child.exc, ast.Name):
            # A class begins with a capital.
            names = {child.exc.id} if child.exc.id[0].islower() else set()
            yield from ((child.lineno, name) for name in names - known)
        yield from raised_names(child, known)


@pytest.mark.parametrize(
    ("text", "is_found"),
    [
        ("def f(error): raise error", True),
        ("def f():\n error = g()\n raise error from None", True),
        ("try: g()\nexcept OSError as error:\n def f(): raise error", True),
        ("try: g()\nexcept OSError as error: raise error", False),
        ("def f(error):\n try: raise error\n finally: del error", False),
        ("def f(): raise OSError", False),
    ],
)
def test_rule_finds_what_it_is_for(text: str, is_found: bool) -> None:
    assert bool(list(raised_names(ast.parse(text)))) is is_found


def test_no_function_knows_what_it_raises() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for folder in ("splitdata", "cli")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line, name in raised_names(ast.parse(path.read_text()))
    ]
    assert not found, "raise it in a try block whose `finally` deletes the name"


# -- functions whose errors led back to them ----------------------------------------------------


def raises(code: int) -> Callable[..., object]:
    def fail(*_: object, **__: object) -> object:
        raise OSError(code, "refused")

    return fail


@pytest.mark.parametrize("second", [errno.EMFILE, errno.EACCES])
def test_reader_that_finds_no_descriptor_keeps_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, second: int
) -> None:
    with SplitWriter(tmp_path / "data") as writer:
        writer.write(b"a")
    answers = iter([errno.EMFILE, second] * 10)
    with SplitDataLoader(tmp_path / "data") as loader:
        monkeypatch.setattr(open_files, "open_source", lambda *_, **__: raises(next(answers))())

        assert goes_at_once(lambda: loader[0])


def failing(_: int, requests: Requests[type[BaseException]]) -> Iterator[object]:
    """Raise what is asked for, and keep nothing of it."""
    for request in requests:
        raise request
    yield None


@pytest.mark.parametrize("way", ["fork", "thread"])
@pytest.mark.parametrize("kind", [KeyError, StopIteration, SystemExit])
def test_worker_of_a_pool_that_fails_keeps_nothing(way: servers.Way, kind: type[BaseException]) -> None:
    with servers.make_pool(failing, way=way, n=1) as pool:
        pool.submit(0, kind)

        assert goes_at_once(lambda: pool.receive(0))


def test_generator_that_fails_in_its_process_keeps_nothing() -> None:
    running = iter(MpQItr.options(start_method="fork")(then_raise, 0, KeyError("lost")))

    assert goes_at_once(lambda: next(running))


@pytest.mark.parametrize("code", [errno.EAGAIN, errno.EMFILE])
def test_worker_that_cannot_be_started_keeps_nothing(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    monkeypatch.setattr(start, "_start", raises(code))

    assert goes_at_once(lambda: iter(MpQItr.options(start_method="fork")(then_raise, 0, KeyError())))
    assert goes_at_once(partial(servers.make_pool, servers.orders, way="fork"))


def test_table_with_a_damaged_row_keeps_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('a\n1\n"2"x\n')

    assert goes_at_once(lambda: list(open_source(tmp_path / "a.csv", column="a")))


def numbers(path: Path) -> SplitDataLoader:
    with SplitWriter(path) as writer:
        writer.write_many([bytes([number]) for number in range(8)])
    return SplitDataLoader(path)


def ends(_: object, __: object) -> object:
    raise StopIteration


def test_transfer_that_fails_keeps_nothing(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    with (
        numbers(tmp_path / "data") as dataset,
        DistributedLoader(
            dataset, batch_size=2, collate_fn=list, device="cpu", workers=WorkerOptions(to_device=ends)
        ) as loader,
    ):
        batches = iter(loader)
        assert goes_at_once(lambda: next(batches))


def test_record_that_is_skipped_does_not_stay(tmp_path: Path) -> None:
    values: list[weakref.ref[Held]] = []

    def transform(_: bytes) -> int:
        held = Held()
        values.append(weakref.ref(held))
        if len(values) == 1:
            raise ValueError("bad")
        return 1

    with (
        numbers(tmp_path / "data") as dataset,
        DistributedLoader(dataset, batch_size=2, transform=transform, records=RecordOptions(on_error="skip")) as loader,
    ):
        gc.collect()
        gc.disable()
        try:
            next(iter(loader))
            assert values[0]() is None
        finally:
            gc.enable()
