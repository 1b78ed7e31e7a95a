"""The layers: which room may import which, as drawn in CONTRIBUTING.md and enforced here.

    6  splitdata_cli                     -> names in splitdata.__all__
    5  compat    interop                 -> all below
    4  loader    conversion              -> dataset, process, samples, order
    3  dataset   process                 -> storage, format, samples, order | nothing but layer 0
    2  storage                           -> format
    1  format    order    samples        -> nothing but layer 0
    0  errors  _types  _version  _ownership  _local_path  _place  _payload  _shown  _compiled  _extras
                                         -> errors, _types

A room is a folder or a module directly below `splitdata`. Everything may import layer 0. Imports
inside functions count like the others.

Large rooms have inner walls: folders on levels (INNER_LEVELS). A module in one imports from its own folder and from
folders of lower levels; modules that lie directly in the room are its faces, which import all and which no folder
imports. Nowhere do modules import each other in a circle, not even for types.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.command import ROOT

GROUND = frozenset(
    {
        "errors",
        "_types",
        "_version",
        "_ownership",
        "_local_path",
        "_payload",
        "_place",
        "_shown",
        "_compiled",
        "_extras",
    }
)
BELOW_ADAPTERS = frozenset({"loader", "conversion", "dataset", "process", "storage", "format", "order", "samples"})

MAY_IMPORT: dict[str, frozenset[str]] = {
    "errors": frozenset(),
    "_types": frozenset(),
    "_version": frozenset(),
    "_ownership": frozenset({"errors"}),
    "_local_path": frozenset(),
    "_place": frozenset({"_local_path"}),
    "_payload": frozenset({"_types"}),
    "_shown": frozenset(),
    "_extras": frozenset(),
    "_compiled": frozenset({"_speedups"}),
    "format": GROUND,
    "order": GROUND,
    "samples": GROUND,
    "storage": GROUND | {"format"},
    "dataset": GROUND | {"storage", "format", "samples", "order"},
    "process": GROUND,
    "loader": GROUND | {"dataset", "process", "samples", "order"},
    "conversion": GROUND | {"dataset", "process", "samples", "order"},
    "compat": GROUND | BELOW_ADAPTERS,
    "interop": GROUND | BELOW_ADAPTERS,
}

INNER_LEVELS: dict[str, dict[str, int]] = {
    "dataset": {
        "manifests": 1,
        "keys": 1,
        "segments": 2,
        "legacy": 3,
        "repair": 3,
        "writing": 4,
        "reading": 4,
        "cache": 5,
        "deletion": 5,
        "merging": 5,
        "parts": 5,
        "comparison": 5,
        "verify": 6,
        "stores": 7,
    },
    "loader": {"plan": 1, "device": 1, "stats": 2, "samples": 3, "cache": 4, "pipeline": 5, "rotation": 6},
    "process": {"wire": 1, "identity": 1, "worker": 2, "consumer": 3, "pool": 4},
    "conversion": {"sources": 1, "steps": 2, "sinks": 2, "parallel": 3},
}

# Torch takes seconds to load and is optional.
TORCH_AT_ONCE = "splitdata.interop"
# Where tensors are made: on a device, and from a record. Who asks for one loads torch for it, and nobody else does.
TORCH_IN_FUNCTIONS = frozenset({"splitdata.loader.device.device", "splitdata.samples.tensors"})

NOT_A_ROOM = frozenset({"util", "utils", "helpers"})


@dataclass(frozen=True, slots=True)
class Module:
    """A Python file of the library or of the command line."""

    name: str
    path: Path
    tree: ast.Module

    @property
    def room(self) -> str:
        """The part of the name directly below `splitdata`; empty for `splitdata` itself."""
        return (self.name + ".").split(".")[1]

    @property
    def folder(self) -> str:
        """The folder of the room that the module lies in; empty for a face of the room."""
        parts = self.name.split(".")
        is_package = self.path.name == "__init__.py"
        return parts[2] if len(parts) > 3 or (len(parts) == 3 and is_package) else ""


@dataclass(frozen=True, slots=True)
class Import:
    """One name that a module imports, by its full path."""

    target: str
    line: int
    is_deferred: bool


@cache
def modules_of(root: Path) -> list[Module]:
    """Parse every module of both packages below the repository `root`, once."""
    found = []
    for source_root, package in ((root, "splitdata"), (root / "cli", "splitdata_cli")):
        for path in sorted((source_root / package).rglob("*.py")):
            parts = path.relative_to(source_root).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found.append(Module(name, path, ast.parse(path.read_text(encoding="utf-8"))))
    return found


@cache
def imports_of(module: Module) -> list[Import]:
    """Return every import of a module; relative ones are resolved."""
    found = []
    for node, is_deferred in _statements(module.tree.body, False):
        if isinstance(node, ast.Import):
            found += [Import(alias.name, node.lineno, is_deferred) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _base_of(module, node)
            found += [Import(f"{base}.{alias.name}", node.lineno, is_deferred) for alias in node.names]
    return found


def _statements(block: list[ast.stmt], is_deferred: bool) -> Iterator[tuple[ast.stmt, bool]]:
    """Yield each statement, and whether it runs only when a function is called, or never at all."""
    for node in block:
        yield node, is_deferred
        later = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or (
            isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        )
        for inner in _blocks_of(node):
            yield from _statements(inner, is_deferred or later)


def _blocks_of(node: ast.stmt) -> Iterator[list[ast.stmt]]:
    for name in ("body", "orelse", "finalbody"):
        yield getattr(node, name, [])
    for name in ("handlers", "cases"):
        for part in getattr(node, name, []):
            yield part.body


def _base_of(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    package = module.name.split(".")
    climb = node.level - (1 if module.path.name == "__init__.py" else 0)
    return ".".join([*package[: len(package) - climb], *([node.module] if node.module else [])])


def violations_in(root: Path) -> list[str]:
    """Return what breaks the drawing at the top in the repository at `root`, one line each."""
    modules = modules_of(root)
    public = _public_names(modules)
    found = [f"{path}: a module is named for what it does" for path in _misnamed(root)]
    if (root / "cli" / "__init__.py").exists():
        found.append("cli/__init__.py: cli is a source root, not a package")
    for module in modules:
        where = module.path.relative_to(root).as_posix()
        is_cli = module.name.split(".")[0] == "splitdata_cli"
        if not is_cli and module.room and module.room not in MAY_IMPORT:
            found.append(f"{where}: the room {module.room} is not in the drawing")
            continue
        for imported in imports_of(module):
            reason = _torch_too_early(module, imported)
            if reason is None:
                reason = _not_public(imported, public) if is_cli else _not_below(module, imported)
            if reason is not None:
                found.append(f"{where}:{imported.line}: {reason}")
        if is_cli:
            found += [f"{where}:{line}: {name} is not public" for name, line in _private_attributes(module, public)]
    return found + _inner_violations(modules, root) + [f"a circle: {circle}" for circle in _circles(modules)]


def _inner_violations(modules: list[Module], root: Path) -> list[str]:
    """Return what breaks the levels inside a room."""
    by_name = {module.name: module for module in modules}
    found = []
    for module in modules:
        levels = INNER_LEVELS.get(module.room)
        if levels is None or not module.folder:
            continue
        where = module.path.relative_to(root).as_posix()
        if module.folder not in levels:
            found.append(f"{where}: the folder {module.folder} is not among the levels of {module.room}")
            continue
        for imported in imports_of(module):
            target = by_name.get(imported.target) or by_name.get(imported.target.rpartition(".")[0])
            if target is None or target.room != module.room or target.folder == module.folder:
                continue
            if levels.get(target.folder, 99) >= levels[module.folder]:
                name = target.folder or f"the face {target.name.rpartition('.')[2]}"
                found.append(f"{where}:{imported.line}: {module.folder} must not import {name}")
    return found


def _circles(modules: list[Module]) -> list[str]:
    """Return the modules that import each other in a circle, by taking away those that import nobody who is left."""
    names = {module.name for module in modules if module.path.name != "__init__.py"}
    left = {
        module.name: {
            target
            for imported in imports_of(module)
            for target in (imported.target, imported.target.rpartition(".")[0])
            if target in names and target != module.name
        }
        for module in modules
        if module.name in names
    }
    while free := [name for name, targets in left.items() if not targets & left.keys()]:
        for name in free:
            del left[name]
    # Those that only lead to a circle are no part of it.
    while free := [name for name in left if not any(name in targets for targets in left.values())]:
        for name in free:
            del left[name]
    return [" <-> ".join(sorted(left))] if left else []


def _misnamed(root: Path) -> list[str]:
    folders = [root / name for name in ("splitdata", "cli", "tests", "examples", "benchmarks")]
    paths = [path for folder in folders for path in folder.rglob("*") if path.suffix in ("", ".py")]
    return sorted(path.relative_to(root).as_posix() for path in paths if path.stem in NOT_A_ROOM)


def _public_names(modules: list[Module]) -> frozenset[str]:
    for module in modules:
        if module.name == "splitdata":
            for node in module.tree.body:
                if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                    return frozenset(ast.literal_eval(node.value))
    return frozenset()


def _torch_too_early(module: Module, imported: Import) -> str | None:
    if imported.target.split(".")[0] != "torch" or f"{module.name}.".startswith(f"{TORCH_AT_ONCE}."):
        return None
    if module.name in TORCH_IN_FUNCTIONS and imported.is_deferred:
        return None
    return f"torch belongs into {TORCH_AT_ONCE}, or into a function of {' or '.join(sorted(TORCH_IN_FUNCTIONS))}"


def _not_below(module: Module, imported: Import) -> str | None:
    top, *rest = imported.target.split(".")
    if top == "splitdata_cli":
        return "the library does not know the command line"
    # The door may open on every room, and a room on its own modules.
    if top != "splitdata" or not module.room or rest[:1] == [module.room]:
        return None
    target = rest[0] if rest else "__init__"
    if target in MAY_IMPORT[module.room]:
        return None
    if target not in MAY_IMPORT:
        return f"{module.room} imports {imported.target} by the public door"
    return f"{module.room} must not import {target}"


def _not_public(imported: Import, public: frozenset[str]) -> str | None:
    top, *rest = imported.target.split(".")
    if top != "splitdata" or not rest or (len(rest) == 1 and rest[0] in public):
        return None
    return f"{imported.target} is not in splitdata.__all__"


def _private_attributes(module: Module, public: frozenset[str]) -> Iterator[tuple[str, int]]:
    for node in ast.walk(module.tree):
        match node:
            case ast.Attribute(value=ast.Name(id="splitdata"), attr=name) if name not in public:
                yield f"splitdata.{name}", node.lineno


def make_tree(root: Path, files: dict[str, str]) -> Path:
    """Write made-up modules below `root`, by their path; `/__init__.py` is added where it is missing."""
    doors = {"splitdata/__init__.py": "__all__ = ['open_it']", "cli/splitdata_cli/__init__.py": ""}
    for name, code in (doors | files).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code)
    return root


def test_no_module_imports_from_its_own_layer_or_above() -> None:
    assert violations_in(ROOT) == []


def test_both_packages_are_walked() -> None:
    names = {module.name for module in modules_of(ROOT)}

    assert {"splitdata", "splitdata.errors", "splitdata_cli", "splitdata_cli.main"} <= names


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("splitdata/__init__.py", "__all__ = []\nfrom splitdata.loader.config import Config"),
        ("splitdata/format/bins.py", "from splitdata.errors import FormatError\nfrom splitdata import errors"),
        ("splitdata/format/bins.py", "from . import spec\nfrom .spec import MAGIC\nfrom ..errors import FormatError"),
        ("splitdata/storage/mapped.py", "import numpy\nfrom splitdata.format import spec"),
        ("splitdata/dataset/reader.py", "from splitdata.order import bins\nimport splitdata.samples.codec"),
        ("splitdata/loader/device/device.py", "def f() -> None:\n    import torch.cuda"),
        ("splitdata/samples/tensors.py", "def f() -> None:\n    import torch"),
        ("splitdata/interop/torch.py", "import torch\nfrom splitdata.loader import config"),
        ("splitdata/dataset/segments/a.py", "from splitdata.dataset.segments.b import x"),
        ("splitdata/dataset/segments/a.py", "def f() -> None:\n    from splitdata.dataset.keys import lookup"),
        ("splitdata/dataset/writer.py", "from splitdata.dataset.verify.verify import verify"),
        ("cli/splitdata_cli/info.py", "import splitdata\nfrom splitdata import open_it\nsplitdata.open_it()"),
        ("cli/splitdata_cli/info.py", "from splitdata_cli.main import group\nfrom ._render import table"),
    ],
)
def test_import_of_a_room_below_is_accepted(tmp_path: Path, path: str, code: str) -> None:
    assert violations_in(make_tree(tmp_path, {path: code})) == []


@pytest.mark.parametrize(
    ("path", "code", "finding"),
    [
        ("splitdata/format/a.py", "from splitdata.storage import mapped", "format must not import storage"),
        ("splitdata/format/a.py", "import splitdata.storage.mapped", "format must not import storage"),
        ("splitdata/format/a.py", "from ..order import lanes", "format must not import order"),
        ("splitdata/format/__init__.py", "from ..order import lanes", "format must not import order"),
        ("splitdata/format/deep/a.py", "from ...order.lanes import x", "format must not import order"),
        ("splitdata/format/a.py", "from .. import order", "format must not import order"),
        ("splitdata/format/a.py", "from splitdata import order", "format must not import order"),
        ("splitdata/format/a.py", "def f() -> None:\n    import splitdata.order", "format must not import order"),
        ("splitdata/format/a.py", "import splitdata", "format imports splitdata by the public door"),
        ("splitdata/format/a.py", "from splitdata import open_it", "format imports splitdata.open_it by the"),
        ("splitdata/format/a.py", "import splitdata_cli.main", "the library does not know the command line"),
        ("splitdata/errors.py", "from splitdata._types import Buffer", "errors must not import _types"),
        ("splitdata/storage/a.py", "from splitdata.order import lanes", "storage must not import order"),
        ("splitdata/dataset/a.py", "from splitdata.process import channel", "dataset must not import process"),
        ("splitdata/process/a.py", "from splitdata.format import spec", "process must not import format"),
        ("splitdata/loader/a.py", "from splitdata.storage import paths", "loader must not import storage"),
        ("splitdata/conversion/a.py", "from splitdata.loader import config", "conversion must not import loader"),
        ("splitdata/interop/a.py", "from splitdata.compat import seeds", "interop must not import compat"),
        ("splitdata/extra/a.py", "", "the room extra is not in the drawing"),
        ("splitdata/extra.py", "", "the room extra is not in the drawing"),
        ("splitdata/loader/a.py", "def f() -> None:\n    import torch", "torch belongs into"),
        ("splitdata/loader/device/device.py", "import torch.cuda", "torch belongs into"),
        ("splitdata/samples/tensors.py", "import torch", "torch belongs into"),
        ("splitdata/samples/build.py", "def f() -> None:\n    import torch", "torch belongs into"),
        ("cli/splitdata_cli/a.py", "from splitdata.dataset import reader", "splitdata.dataset.reader is not in"),
        ("cli/splitdata_cli/a.py", "import splitdata.errors", "splitdata.errors is not in"),
        ("cli/splitdata_cli/a.py", "from splitdata import dataset", "splitdata.dataset is not in"),
        ("cli/splitdata_cli/a.py", "import splitdata\nsplitdata.dataset.reader", "splitdata.dataset is not public"),
        ("cli/__init__.py", "", "cli is a source root"),
        ("splitdata/dataset/utils.py", "", "a module is named for what it does"),
        ("splitdata/dataset/odd/a.py", "", "the folder odd is not among the levels of dataset"),
        ("splitdata/samples/utils/a.py", "", "a module is named for what it does"),
    ],
)
def test_import_that_breaks_the_layers_is_found(tmp_path: Path, path: str, code: str, finding: str) -> None:
    found = violations_in(make_tree(tmp_path, {path: code}))

    assert len(found) == 1
    assert finding in found[0]


@pytest.mark.parametrize(
    ("files", "finding"),
    [
        (
            {"dataset/keys/a.py": "from splitdata.dataset.segments.b import x", "dataset/segments/b.py": "x = 1"},
            "keys must not import segments",
        ),
        (
            {"dataset/keys/a.py": "from splitdata.dataset.manifests import b", "dataset/manifests/b.py": ""},
            "keys must not import manifests",
        ),
        (
            {"dataset/verify/a.py": "from splitdata.dataset.writer import x", "dataset/writer.py": "x = 1"},
            "verify must not import the face writer",
        ),
        (
            {
                "loader/plan/a.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n"
                "    from splitdata.loader.plan.b import x",
                "loader/plan/b.py": "from splitdata.loader.plan import a\nx = 1",
                "loader/plan/c.py": "from splitdata.loader.plan.b import x",
            },
            "a circle: splitdata.loader.plan.a <-> splitdata.loader.plan.b",
        ),
    ],
)
def test_import_that_breaks_the_inner_walls_is_found(tmp_path: Path, files: dict[str, str], finding: str) -> None:
    tree = {f"splitdata/{path}": code for path, code in files.items()}
    found = violations_in(make_tree(tmp_path, tree))

    assert len(found) == 1
    assert finding in found[0]


def test_module_names_have_one_meaning() -> None:
    named: dict[str, list[str]] = {}
    for module in modules_of(ROOT):
        if module.name.startswith("splitdata.") and module.path.name != "__init__.py":
            named.setdefault(module.path.stem, []).append(module.name)

    assert {stem: names for stem, names in named.items() if len(names) > 1} == {}


def test_class_names_have_one_meaning() -> None:
    named: dict[str, list[str]] = {}
    for module in modules_of(ROOT):
        # These have the names that other libraries gave them.
        if module.room == "compat":
            continue
        for node in module.tree.body:
            if isinstance(node, ast.ClassDef):
                named.setdefault(node.name, []).append(module.name)

    assert {name: where for name, where in named.items() if len(where) > 1} == {}


def test_table_in_contributing_has_the_levels_of_each_folder() -> None:
    told: dict[str, dict[str, int]] = {}
    room = ""
    for line in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines():
        if row := re.match(r"\| (?:`(\w+)/`)? ?\| (\d) \| `(\w+)/` \|", line):
            room = row[1] or room
            told.setdefault(room, {})[row[3]] = int(row[2])

    assert told == INNER_LEVELS
