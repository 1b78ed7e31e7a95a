"""A verdict against what a reader says: where they differ, and which answers the verdict leaves open."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["differences", "exact"]

_EXACT: Final = 1 << 53


def differences(verdict: dict[str, Any], said: dict[str, Any]) -> dict[str, Any]:
    """Return by name what a reader says otherwise than a verdict."""
    return {
        name: {"verdict": verdict.get(name), "said": said.get(name)}
        for name in verdict.keys() | said.keys()
        if not _agrees(verdict.get(name), said.get(name))
    }


def exact(metadata: Any) -> Any:
    """Return metadata with the integers that not every parser of JSON keeps as texts."""
    if isinstance(metadata, dict):
        return {name: exact(part) for name, part in metadata.items()}
    if isinstance(metadata, list):
        return [exact(part) for part in metadata]
    return str(metadata) if type(metadata) is int and abs(metadata) > _EXACT else metadata


def _agrees(verdict: Any, said: Any) -> bool:
    """Say whether an answer is that of the verdict, or one of those between which a reader may choose."""
    if isinstance(verdict, list) and isinstance(said, list):
        return len(verdict) == len(said) and all(map(_agrees, verdict, said))
    if isinstance(verdict, list):
        return said in verdict
    if isinstance(verdict, dict):
        return (
            isinstance(said, dict)
            and verdict.keys() == said.keys()
            and all(_agrees(verdict[name], said[name]) for name in verdict)
        )
    return bool(type(verdict) is type(said) and verdict == said)
