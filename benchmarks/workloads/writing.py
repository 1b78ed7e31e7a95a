"""W: write all records in order, into files of the peer's own format.

W            nothing is promised of the medium: `durability="none"`, LMDB with `sync=False`
W durable    return only when all has reached the medium
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from benchmarks.measure import Result, timed
from benchmarks.peers.base import Unsupported

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.data import Data
    from benchmarks.measure import Settings
    from benchmarks.peers.base import Peer

__all__ = ["write_all"]


def write_all(peers: list[Peer], data: Data, folder: Path, settings: Settings, *, durable: bool) -> list[Result]:
    """Measure writing, and leave the last dataset of each peer in `folder / name`.

    The first writing of each peer is the warm-up; where it takes longer than the patience of the
    settings, it is what counts.
    """
    results: list[Result] = []
    for peer in peers:
        result = Result("W durable" if durable else "W", data.name, peer.name, num_records=len(data.records))
        results.append(result)
        try:
            seconds = _write_once(peer, data, folder, durable=durable)
        except Unsupported as error:
            result.answer = str(error)
        except Exception as error:  # a peer that fails is reported, the others go on
            result.answer = f"failed: {type(error).__name__}: {error}"
        else:
            if seconds > settings.patience:
                result.rates.append(len(data.records) / seconds)
    for _ in range(settings.repeat):
        for peer, result in zip(peers, results, strict=True):
            if result.answer or (len(result.rates) == 1 and len(data.records) / result.rates[0] > settings.patience):
                continue
            result.rates.append(len(data.records) / _write_once(peer, data, folder, durable=durable))
    return results


def _write_once(peer: Peer, data: Data, folder: Path, *, durable: bool) -> float:
    target = folder / peer.name
    shutil.rmtree(target, ignore_errors=True)
    if hasattr(os, "sync"):
        # What others have left to be written must not slow this one down.
        os.sync()

    def write() -> int:
        peer.write(target, data.records, durable=durable)
        return len(data.records)

    return timed(write)[1]
