"""Code is identified by what it does: a table of edits that change it, and of things that do not."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import threading
import types
import weakref
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest

from splitdata.process.identity.code_identity import code_identity

_numbers = count()

# One of each kind of code; a name of each is at the end.
CODE = """
import collections, dataclasses, enum, functools, math, operator, re
from pathlib import Path
import numpy as np
import helper
from package.inner import scale

SIZE = 224
MEAN = np.arange(6, dtype=np.float32).reshape(2, 3)
WORDS = {"alpha", "beta", "gamma", "delta"}

def plain(record, factor=2, *, shift=1.5):
    return [byte * factor + shift for byte in record if byte not in {"a", "b", "c", 1.5}]

def crop(record):
    return record[:SIZE] + bytes(MEAN.shape) if record not in WORDS else b""

def uses_module(record):
    return helper.double(record)

def uses_imported(record):
    return scale(record)

def imports_inside(record):
    from package import inner
    import helper as other
    return inner.scale(other.double(record))

def make(size):
    def inner(record):
        return record[:size]
    return inner

def wrap(function):
    @functools.wraps(function)
    def wrapped(record):
        return function(record)
    return wrapped

def factorial(n):
    return 1 if n < 2 else n * factorial(n - 1)

def even(n):
    return n == 0 or odd(n - 1)

def odd(n):
    return n != 0 and even(n - 1)

@functools.lru_cache(maxsize=4)
def cached(record):
    return record * 2

class Base:
    size = 3
    def cut(self, record):
        return record[: self.size]

class Crop(Base):
    def __init__(self, size, words=frozenset({"x", "y", "z"})):
        self.size, self.words = size, words
    def __call__(self, record):
        return self.cut(record)
    @property
    def twice(self):
        return 2 * self.size
    @staticmethod
    def still(record):
        return record
    @classmethod
    def named(cls, record):
        return cls.size, record

@dataclasses.dataclass
class Config:
    size: int = 3
    names: list[str] = dataclasses.field(default_factory=list)
    def __call__(self, record):
        return record[: self.size]

class Slots:
    __slots__ = ("a", "b")
    def __init__(self):
        self.a, self.b = 1, {"q", "r"}
    def __call__(self, record):
        return self.a

class Mode(enum.Enum):
    TRAIN = 1
    TEST = 2
    def __call__(self, record):
        return self.value

Point = collections.namedtuple("Point", "x y")

class Compose:
    def __init__(self, *steps):
        self.steps = list(steps)
    def __call__(self, record):
        for step in self.steps:
            record = step(record)
        return record

loop = Compose(plain)
loop.steps.append(loop)

NAMED = {
    "plain": plain, "lambda": lambda record: record + b"x", "crop": crop, "uses module": uses_module,
    "uses imported": uses_imported, "imports inside": imports_inside, "closure": make(3), "wrapped": wrap(plain),
    "recursive": factorial, "mutual": even, "lru": cached, "instance": Crop(5), "bound": Crop(5).cut,
    "classmethod": Crop.named, "staticmethod": Crop.still, "class": Crop, "partial": functools.partial(plain, factor=3),
    "partial of partial": functools.partial(functools.partial(plain, factor=3), shift=2),
    "dataclass": Config(4, ["a"]), "slots": Slots(), "enum": Mode.TEST, "namedtuple": Compose(Point(1, 2)),
    "compose": Compose(plain, Crop(3), np.asarray, math.sqrt, operator.itemgetter(1), re.compile("a+").sub),
    "loop": loop, "builtin": bytes, "ufunc": np.sqrt, "numpy function": np.median, "set": Compose(WORDS, {3, "x"}),
    "path": Compose(Path("/data")), "ordered": Compose(collections.OrderedDict(a=1), collections.deque([1], 3)),
    "default": Compose(collections.defaultdict(list, a=[1]), collections.Counter("abca")),
    "generator": Compose(np.random.default_rng(3)), "dtype": Compose(np.dtype("f4"), np.float64(3)),
}
"""
HELPER = "def double(record):\n    return triple(record) * 2\n\ndef triple(record):\n    return record * 3\n"
INNER = "FACTOR = 3\n\ndef scale(record):\n    return record * FACTOR\n"
ASK = """
import json, sys
from splitdata.process.identity.code_identity import code_identity
print(json.dumps({name: code_identity(value) for name, value in NAMED.items()}))
"""


def write_modules(folder: Path, *, lines_above: int = 0) -> Path:
    """Write the user's modules: `code`, `helper`, `package.inner`; and `code` as a script."""
    (folder / "package").mkdir(parents=True)
    above = "# a comment\n" * lines_above
    (folder / "user_code.py").write_text(above + CODE)
    (folder / "helper.py").write_text(above + HELPER)
    (folder / "package" / "__init__.py").write_text("")
    (folder / "package" / "inner.py").write_text(above + INNER)
    (folder / "script.py").write_text(above + CODE + ASK)
    (folder / "asks.py").write_text("from user_code import NAMED\n" + ASK)
    return folder


def identities(folder: Path, program: str, hash_seed: str) -> dict[str, str]:
    environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-W", "error", program]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


def test_identity_is_the_same_in_every_process_and_place_and_tells_all_kinds_apart(tmp_path: Path) -> None:
    here = write_modules(tmp_path / "here")
    there = write_modules(tmp_path / "there" / "deeper", lines_above=7)
    expected = identities(here, "asks.py", "1")

    assert len(set(expected.values())) == len(expected)
    for folder, program, seed in ((here, "asks.py", "2"), (there, "asks.py", "3"), (there, "script.py", "4")):
        found = identities(folder, program, seed)
        assert {name for name in expected if found[name] != expected[name]} == set()


def module_of(source: str) -> types.ModuleType:
    """Run source as a module of the user's."""
    module = types.ModuleType(f"user_module_{next(_numbers)}")
    exec(compile(source, "<user>", "exec"), module.__dict__)
    return module


def identity_of(source: str) -> str:
    return code_identity(module_of(source).transform)


PLAIN = "def transform(record, factor=2, *, shift=1):\n    return record * factor + shift\n"
CALLS = "LIMIT = 3\ndef helper(record):\n    return record[:LIMIT]\ndef transform(record):\n    return helper(record)\n"
INSTANCE = (
    "import functools\nclass Base:\n    def cut(self, record):\n        return record[:self.size]\n"
    "class Crop(Base):\n    kind = 'a'\n    def __init__(self, size):\n        self.size = size\n"
    "    def __call__(self, record):\n        return self.cut(record)\n    @property\n    def twice(self):\n"
    "        return self.size * 2\n"
    "    @functools.cached_property\n    def thrice(self):\n        return self.size * 3\n"
    "transform = Crop(224)\n"
)
NESTED = (
    "def make(size):\n    def transform(record):\n        def inner(part):\n            return part + 1\n"
    "        return [inner(part) for part in record[:size]]\n    return transform\ntransform = make(3)\n"
)
PARTIAL = (
    "import functools\ndef crop(record, size, fill=0):\n    return record[:size]\n"
    "transform = functools.partial(crop, size=3)\n"
)
COMPOSE = (
    "class Compose:\n    def __init__(self, steps):\n        self.steps = steps\n    def __call__(self, record):\n"
    "        return record\ndef a(record):\n    return 1\ndef b(record):\n    return 2\n"
    "def wrap(function):\n    def inner(record):\n        return function(record)\n    return inner\n"
    "transform = Compose([wrap(a), wrap(b), {'x': 1, 'y': 2}, a])\n"
)
CYCLE = (
    "def a(n):\n    return b(n) + 1\ndef b(n):\n    return c(n) + 1\ndef c(n):\n    return a(n) + 1 if n else 0\n"
    "transform = a\n"
)
ARRAYS = (
    "import numpy as np\nMEAN = np.array([1.0, 2.0], np.float32)\ndef transform(record):\n    return record - MEAN\n"
)
CACHED = "import functools\n@functools.lru_cache(maxsize=3)\ndef transform(record):\n    return record * 2\n"
LIBRARY = "import math\nimport numpy as np\ndef transform(record):\n    return np.median(record) + math.sqrt(2)\n"


@pytest.mark.parametrize(
    ("source", "old", "new"),
    [
        (PLAIN, "record * factor", "record + factor"),
        (PLAIN, "factor=2", "factor=3"),
        (PLAIN, "factor=2", "factor=2.0"),
        (PLAIN, "shift=1", "shift=True"),
        (PLAIN, "+ shift", "+ 0.0"),
        (PLAIN, "shift=1)", "shift=1, extra=0)"),
        (PLAIN, ", *, shift", ", shift"),
        (CALLS, "LIMIT = 3", "LIMIT = 4"),
        (CALLS, "record[:LIMIT]", "record[LIMIT:]"),
        (CALLS, "return helper(record)", "return helper(record) + helper(record)"),
        (INSTANCE, "Crop(224)", "Crop(225)"),
        (INSTANCE, "kind = 'a'", "kind = 'b'"),
        (INSTANCE, "record[:self.size]", "record[self.size:]"),
        (INSTANCE, "self.size * 2", "self.size * 4"),
        (INSTANCE, "self.size * 3", "self.size * 5"),
        (INSTANCE, "transform = Crop(224)", "transform = Crop(224).cut"),
        (NESTED, "part + 1", "part + 2"),
        (NESTED, "make(3)", "make(4)"),
        (PARTIAL, "size=3", "size=4"),
        (PARTIAL, "size=3", "fill=3"),
        (PARTIAL, "record[:size]", "record[size:]"),
        (PARTIAL, "functools.partial(crop, size=3)", "crop"),
        (COMPOSE, "[wrap(a), wrap(b)", "[wrap(b), wrap(a)"),
        (COMPOSE, "{'x': 1, 'y': 2}", "{'y': 2, 'x': 1}"),
        (COMPOSE, "{'x': 1, 'y': 2}", "{'x': 1, 'y': '2'}"),
        (COMPOSE, ", a])", "])"),
        (COMPOSE, "[wrap(a)", "[a"),
        (CYCLE, "b(n) + 1", "b(n) + 2"),
        (CYCLE, "c(n) + 1", "c(n) + 2"),
        (CYCLE, "if n else 0", "if n else 9"),
        (CYCLE, "transform = a", "transform = b"),
        (ARRAYS, "2.0]", "3.0]"),
        (ARRAYS, "np.float32", "np.float64"),
        (ARRAYS, "[1.0, 2.0]", "[[1.0, 2.0]]"),
        (CACHED, "record * 2", "record * 3"),
        (CACHED, "maxsize=3", "maxsize=4"),
        (LIBRARY, "np.median", "np.mean"),
        (LIBRARY, "math.sqrt", "math.cbrt"),
        (LIBRARY, "import math", "import cmath as math"),
    ],
)
def test_edit_that_changes_what_is_done_changes_the_identity(source: str, old: str, new: str) -> None:
    assert source.count(old) >= 1

    assert identity_of(source) != identity_of(source.replace(old, new, 1))


@pytest.mark.parametrize(
    ("source", "old", "new"),
    [
        (PLAIN, "def transform", "\n\n# comment\n\ndef transform"),
        (PLAIN, "(record, factor=2", "(record: bytes, factor: int = 2"),
        (PLAIN, "return record * factor", "return (\n        record\n        * factor)"),
        (CALLS, "LIMIT = 3", "OTHER = 7\nLIMIT = 2 + 1"),
        (CALLS, "def helper", "def unused():\n    return 1\ndef helper"),
        (INSTANCE, "class Base:\n", "class Base:\n    '''Cuts.'''\n"),
        (INSTANCE, "transform = Crop(224)", "transform = Crop(0)\ntransform.size = 224"),
        (PARTIAL, "size=3)", "**{'size': 3})"),
        # Whether equal parts are one object, or two, makes no difference.
        (COMPOSE, ", a])", ", wrap.__globals__['a']])"),
        (CYCLE, "transform = a", "transform = b\ntransform = a"),
    ],
)
def test_edit_that_changes_nothing_keeps_the_identity(source: str, old: str, new: str) -> None:
    assert source.count(old) >= 1

    assert identity_of(source) == identity_of(source.replace(old, new, 1))


CLASSES = INSTANCE.replace("    @functools.cached_property\n    def thrice(self):\n        return self.size * 3\n", "")


@pytest.mark.parametrize(
    ("source", "record"),
    [
        (PLAIN, 2),
        (CALLS, b"abcd"),
        (CLASSES, b"abcd"),
        (NESTED, b"abcd"),
        (PARTIAL, b"abcd"),
        (COMPOSE, b"abcd"),
        (CYCLE, 0),
        (ARRAYS, np.arange(2)),
    ],
)
def test_use_and_travel_by_value_keep_the_identity(source: str, record: object) -> None:
    space: dict[str, Any] = {"__name__": "__main__", "__builtins__": __builtins__}
    exec(compile(source, "<stdin>", "exec"), space)
    transform: Callable[[Any], Any] = space["transform"]
    before = code_identity(transform)
    # Python rewrites bytecode that runs often.
    for _ in range(50):
        transform(record)

    assert code_identity(transform) == before
    assert code_identity(cloudpickle.loads(cloudpickle.dumps(transform))) == before


def test_function_that_an_import_inside_reaches_counts(tmp_path: Path) -> None:
    folder = write_modules(tmp_path / "modules")
    before = identities(folder, "asks.py", "0")
    (folder / "package" / "inner.py").write_text(INNER.replace("FACTOR = 3", "FACTOR = 4"))
    after = identities(folder, "asks.py", "0")

    assert {name for name in before if after[name] != before[name]} == {"uses imported", "imports inside"}


@pytest.mark.parametrize(
    ("names", "source"),
    [
        ("loads what it is asked for", "import lazy\ndef transform(record):\n    return lazy.cut(record)\n"),
        (
            "handed on",
            "import mine\ndef use(module):\n    return module.cut\n"
            "def transform(record):\n    return use(mine)(record)\n",
        ),
        (
            "handed on from a package",
            "import inner.mine\ndef transform(r):\n    return getattr(inner.mine, 'cut')(r)\n",
        ),
        ("by a text", "import mine\ndef transform(record):\n    return getattr(mine, 'cut')(record)\n"),
        ("default", "import mine\ndef transform(record, module=mine):\n    return module.cut(record)\n"),
        ("held", "import mine\nPARTS = {'cut': mine}\ndef transform(record):\n    return PARTS['cut'].cut(record)\n"),
    ],
)
def test_whole_module_counts_with_what_it_imports(tmp_path: Path, names: str, source: str) -> None:
    def identity() -> str:
        show = "from splitdata.process.identity.code_identity import code_identity\nprint(code_identity(transform))"
        command = [sys.executable, "-B", "-c", source + show]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    (tmp_path / "lazy.py").write_text("def __getattr__(name):\n    import far\n    return getattr(far, name)\n")
    (tmp_path / "mine.py").write_text("from far import cut\n")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "__init__.py").touch()
    (tmp_path / "inner" / "mine.py").write_text("from far import cut\n")
    far = tmp_path / "far.py"
    far.write_text("def cut(record):\n    return record[1:]\n")
    before = identity()
    far.write_text("def cut(record):\n    return record[22:]\n")

    assert identity() != before, names


def test_ufuncs_of_packages_count_by_name_and_others_are_refused() -> None:
    assert code_identity(np.add) != code_identity(np.subtract)
    with pytest.raises(TypeError, match="hides the function"):
        code_identity(np.frompyfunc(lambda value: value + 1, 1, 1))


def test_memory_counts_with_its_form() -> None:
    numbers: Any = np.zeros(6, np.int32)
    forms = [numbers, numbers.view(np.uint32), numbers.reshape(2, 3)]

    assert len({code_identity(functools.partial(len, memoryview(form))) for form in forms}) == 3


class Holder:
    """Holds anything."""

    def __init__(self, held: object) -> None:
        self.held = held

    def __call__(self, record: bytes) -> bytes:
        return record


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda: Path(os.devnull).open(), "_io.TextIOWrapper"),  # noqa: SIM115  # closed below
        (lambda: (number for number in range(3)), "builtins.generator"),
        (lambda: sys._getframe(), "builtins.frame"),
    ],
)
def test_what_does_not_tell_what_it_will_do_is_an_error_that_names_it(make: Callable[[], object], kind: str) -> None:
    unknown = make()
    holder = Holder({"a": [1, unknown]})

    with pytest.raises(TypeError, match=rf"^transform\.held\['a'\]\[1\] is of type {kind}, which does not tell"):
        code_identity(holder)

    assert code_identity(holder, skips_unknown=True) != code_identity(Holder(1), skips_unknown=True)
    getattr(unknown, "close", lambda: None)()


def test_locks_weak_references_and_global_state_do_not_count() -> None:
    import random

    def draws(record: bytes) -> float:
        return random.random() + np.random.rand()

    @functools.singledispatch
    def dispatches(record: object) -> int:
        return 1

    remembers: weakref.WeakValueDictionary[int, Holder] = weakref.WeakValueDictionary()
    generators = [random.random, random.randint, np.random.rand]
    holder = Holder([threading.Lock(), draws, *generators, dispatches, remembers, os.environ])
    before = code_identity(holder)
    dispatches(3)
    remembers[3] = holder
    os.environ["SPLITDATA_TEST"] = "1"
    del os.environ["SPLITDATA_TEST"]
    random.random()
    np.random.rand()
    holder.held[0].acquire()  # type: ignore[index]

    assert code_identity(holder) == before


def test_tensors_count_by_their_values() -> None:
    torch = pytest.importorskip("torch")

    def of(*values: float) -> str:
        return code_identity(Holder(torch.nn.Parameter(torch.tensor(values))))

    assert of(1.0, 2.0) == of(1.0, 2.0)
    assert len({of(1.0, 2.0), of(2.0, 1.0), of(1.0), of()}) == 4
    linear = torch.nn.Linear(2, 2)
    before = code_identity(linear)
    with torch.no_grad():
        linear.weight.add_(1)
    assert code_identity(linear) != before


def test_sixty_functions_that_all_call_each_other_are_identified_at_once() -> None:
    names = [f"f{number}" for number in range(60)]
    body = "".join(f"def {name}(n):\n    return [{', '.join(names)}, {name!r}]\n" for name in names)

    assert identity_of(body + "transform = f0") == identity_of(body + "transform = f0")
    assert identity_of(body + "transform = f0") != identity_of(body + "transform = f1")


def test_two_wrappers_of_one_factory_are_told_apart() -> None:
    def wrap(function: Callable[[int], int]) -> Callable[[int], int]:
        @functools.wraps(function)
        def wrapped(value: int) -> int:
            return function(value)

        return wrapped

    assert code_identity(wrap(lambda value: value + 1)) != code_identity(wrap(lambda value: value + 2))
