"""Code is identified by what it does: a digest of a function with everything that it reaches.

Equal for equal code in every process, whatever the hash seed, the file, the line, and whether the function was
imported or travelled there. Which parts are one object and which are equal ones makes no difference.

    code_identity(transform) ──> 32 hex digits

    transform ── code, defaults, closure, globals it names ──> objects, as code_parts.py takes them apart
    graph     ── what no cycle is reached from: the hash of an object and of the hashes of its parts
              └─ the rest: hashed again and again with its parts, until no further two can be told apart
"""

from __future__ import annotations

from typing import Any, Final

from splitdata.process.identity.code_data import Unidentifiable, digest_of, leaf_of
from splitdata.process.identity.code_parts import key_of, parts_of

__all__ = ["code_identity"]


# Anything larger is a dataset and not a transform: hashing it takes longer than anyone expects.
_MAX_OBJECTS: Final = 1_000_000


class _Node:
    """One object: what it is without its parts, and its parts: numbers of nodes, or digests of leaves."""

    __slots__ = ("children", "is_ordered", "name", "parent", "token")

    def __init__(self, parent: int, name: str) -> None:
        self.parent = parent
        self.name = name
        self.token = b""
        self.children: list[int | bytes] = []
        self.is_ordered = True


class _Graph:
    """All objects that one is made of. Each is looked at once, and kept alive so that no id is used twice.

    Args:
        root: The object.
        name: How messages call it.
        skips: What cannot be identified counts by its type.

    Raises:
        TypeError: Something cannot be identified.
    """

    def __init__(self, root: Any, name: str, *, skips: bool) -> None:
        self.nodes: list[_Node] = []
        self._kept: list[Any] = []
        self._numbers: dict[object, int] = {}
        self._skips = skips
        self.root = self._number(root, -1, name)
        number = 0
        while number < len(self.nodes):
            if number > _MAX_OBJECTS:
                raise TypeError(f"{name} reaches more than {_MAX_OBJECTS} objects")
            self._take_apart(number)
            number += 1

    def _number(self, value: Any, parent: int, name: str) -> int | bytes:
        leaf = leaf_of(value)
        if leaf is not None:
            return leaf
        key = key_of(value)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self.nodes)
            self.nodes.append(_Node(parent, name))
            self._kept.append(value)
        return number

    def _take_apart(self, number: int) -> None:
        node = self.nodes[number]
        value = self._kept[number]
        try:
            parts = parts_of(value)
        except Unidentifiable as error:
            kind = type(value)
            if not self._skips:
                raise TypeError(
                    f"{self._path(number)} is of type {kind.__module__}.{kind.__qualname__}, which does not tell what "
                    f"it will do ({error})"
                ) from error
            node.token = digest_of("unknown", kind.__module__, kind.__qualname__)
            return
        node.token = parts.token
        node.is_ordered = parts.is_ordered
        node.children = [self._number(child, number, name) for name, child in parts.children]

    def _path(self, number: int) -> str:
        names: list[str] = []
        while number >= 0:
            names.append(self.nodes[number].name)
            number = self.nodes[number].parent
        return "".join(reversed(names))


def code_identity(value: Any, *, name: str = "transform", skips_unknown: bool = False) -> str:
    """Return 32 hex digits that are the same for the same code with the same arguments, and no others.

    Followed are functions, classes, partials, methods, and the globals and closures that they name, data included,
    through all modules of the user's. Builtins and installed packages count by name and version.

    Args:
        value: A function, or anything that can be called.
        name: How messages call it.
        skips_unknown: What cannot be identified counts by its type, instead of being an error.

    Raises:
        TypeError: Part of it cannot be identified: an open file, compiled code of the user's, ...; names the part.
    """
    graph = _Graph(value, name, skips=skips_unknown)
    if isinstance(graph.root, bytes):
        return graph.root.hex()
    labels = _settle(graph.nodes)
    rest = [number for number, label in enumerate(labels) if not label]
    if rest:
        _refine(graph.nodes, labels, rest)
    # That of the root would do for one graph; with those of all, two graphs are compared by every class of theirs.
    seen = sorted({labels[number] for number in rest})
    return digest_of("identity", labels[graph.root], *seen).hex()


def _settle(nodes: list[_Node]) -> list[bytes]:
    """Return the digest of each node from which no cycle is reached, empty for the others."""
    labels = [b""] * len(nodes)
    users: list[list[int]] = [[] for _ in nodes]
    num_open = [0] * len(nodes)
    for number, node in enumerate(nodes):
        for child in node.children:
            if isinstance(child, int):
                users[child].append(number)
                num_open[number] += 1
    ready = [number for number, count in enumerate(num_open) if not count]
    while ready:
        number = ready.pop()
        labels[number] = _label(nodes[number], labels)
        for user in users[number]:
            num_open[user] -= 1
            if not num_open[user]:
                ready.append(user)
    return labels


def _refine(nodes: list[_Node], labels: list[bytes], rest: list[int]) -> None:
    """Label nodes on cycles, and those that reach one, by ever more of what they reach, until that tells no more."""
    num_classes = 0
    for number in rest:
        labels[number] = nodes[number].token
    while (num_now := len({labels[number] for number in rest})) > num_classes:
        num_classes = num_now
        new = [_label(nodes[number], labels) for number in rest]
        for number, label in zip(rest, new, strict=True):
            labels[number] = label


def _label(node: _Node, labels: list[bytes]) -> bytes:
    parts = [labels[child] if isinstance(child, int) else child for child in node.children]
    return digest_of(node.token, *(parts if node.is_ordered else sorted(parts)))
