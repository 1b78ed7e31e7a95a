"""Object stores for tests: a dict, one that fails as it is told, and a bucket served over HTTP by localbucket.

MemoryStore()                       five methods on a dict; counts what it is asked
FaultyStore(store, faults)          each call first takes the next fault of a list
bucket(folder)                      http://127.0.0.1:port, which obstore reaches as S3
lead_to(address, monkeypatch)       the environment that leads there
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest

__all__ = ["BUCKET_OPTIONS", "Fault", "FaultyStore", "FolderStore", "MemoryStore", "bucket", "lead_to", "store_of"]

Fault = Literal["", "error", "drop", "short", "other range", "flip", "denied"]

BUCKET_OPTIONS: dict[str, Any] = {
    "region": "us-east-1",
    "aws_access_key_id": "AKIDEXAMPLEKEY",
    "aws_secret_access_key": "SECRETEXAMPLEKEY",
    "client_options": {"allow_http": True},
}


class MemoryStore:
    """Objects in a dict; its methods are those of a `Store`."""

    def __init__(self, objects: dict[str, bytes] | None = None) -> None:
        self.objects = dict(objects or {})
        self.requests: list[tuple[str, tuple[int, int]]] = []
        self._lock = threading.Lock()

    def size(self, key: str, /) -> int:
        return len(self._object(key))

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]], /) -> list[bytes]:
        self.requests.extend((key, one) for one in ranges)
        return [self._object(key)[start:stop] for start, stop in ranges]

    def list(self, prefix: str, /) -> list[tuple[str, int]]:
        return [(key, len(data)) for key, data in sorted(self.objects.items()) if key.startswith(prefix)]

    def put_new(self, key: str, data: bytes | Iterable[bytes], /) -> None:
        whole = data if isinstance(data, bytes) else b"".join(data)
        with self._lock:
            if isinstance(data, bytes) and key in self.objects:
                raise FileExistsError(key)
            self.objects[key] = whole

    def delete(self, key: str, /) -> None:
        self.objects.pop(key, None)

    def _object(self, key: str) -> bytes:
        try:
            return self.objects[key]
        except KeyError:
            raise FileNotFoundError(key) from None


class FolderStore(MemoryStore):
    """The dataset in a folder, under the key "data"; pickles as the folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(store_of(folder))
        self._folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return FolderStore, (self._folder,)


class FaultyStore(MemoryStore):
    """A store of which each reading of a range meets the next fault of a list, and none behind the last."""

    def __init__(self, objects: dict[str, bytes], faults: Iterable[Fault], only: str = "") -> None:
        super().__init__(objects)
        self._faults = iter(faults)
        self._only = only
        self.num_faults = 0

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]], /) -> list[bytes]:
        with self._lock:
            fault: Fault = next(self._faults, "") if self._only in key else ""
        found = super().get_ranges(key, ranges)
        self.num_faults += fault != ""
        if fault == "error":
            raise OSError("503 slow down")
        if fault == "drop":
            raise ConnectionResetError("the connection was reset")
        if fault == "denied":
            raise PermissionError("403")
        if fault == "short":
            return [one[: len(one) // 2] for one in found]
        if fault == "other range":
            return [bytes(reversed(one)) for one in found]
        if fault == "flip":
            return [bytes([*one[:-1], one[-1] ^ 1]) if one else one for one in found]
        return found


def store_of(folder: Path, key: str = "data") -> dict[str, bytes]:
    """Return the files of a dataset as the objects of a store."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {f"{key}/{path.relative_to(folder).as_posix()}": path.read_bytes() for path in files}


def lead_to(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the variables of the environment lead to a bucket."""
    monkeypatch.setenv("AWS_ENDPOINT", address)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", BUCKET_OPTIONS["aws_access_key_id"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", BUCKET_OPTIONS["aws_secret_access_key"])
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")


@contextmanager
def bucket(folder: Path) -> Iterator[str]:
    """Serve the folders in a folder as buckets, and give the address."""
    import localbucket

    class Quiet(localbucket.S3Handler):  # type: ignore[misc]  # without types
        data_root = folder

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = localbucket.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
