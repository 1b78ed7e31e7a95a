"""Stores of others, each a process on this machine with an empty bucket: two of S3, one of Azure, and one that lies.

    with started("moto", folder) as server:
        SplitWriter(f"{server.url}/data", storage_options=server.options)

`make test-remote` installs them beside Python; one that is not there has a reason, `missing`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import Any, Final

from tests.stores import BUCKET_OPTIONS

__all__ = ["SERVERS", "Server", "missing", "started"]

_BUCKET: Final = "bucket"
_SECONDS: Final = 90.0
# That of the emulators of Azure, the same for all.
_ACCOUNT: Final = "devstoreaccount1"
_ACCOUNT_KEY: Final = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@dataclass(frozen=True)
class Server:
    """A store that is running.

    Attributes:
        url: Of its bucket.
        options: With which it is reached.
    """

    url: str
    options: dict[str, Any]


@dataclass(frozen=True)
class _Kind:
    """How a server is started.

    Attributes:
        program: That it is, below the folder of the environment.
        arguments: Of the program, given a folder and a free port.
        is_azure: What it speaks, S3 if not.
    """

    program: str
    arguments: Callable[[Path, int], list[str]]
    is_azure: bool = False


def _of_seaweed(folder: Path, port: int) -> list[str]:
    ports = {name: _free_port() for name in ("master", "volume", "filer")}
    return [
        *("server", "-s3", "-filer", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-s3.port={port}"),
        *(f"-{name}.port={number}" for name, number in ports.items()),
        *("-master.volumeSizeLimitMB=64", "-volume.max=20", "-master.telemetry=false"),
    ]


SERVERS: Final[dict[str, _Kind]] = {
    "moto": _Kind("bin/moto_server", lambda folder, port: ["-H", "127.0.0.1", "-p", str(port)]),
    "SeaweedFS": _Kind("bin/weed", _of_seaweed),
    "azurite": _Kind(
        "node/node_modules/.bin/azurite-blob",
        lambda folder, port: ["--blobPort", str(port), "--location", str(folder), "--skipApiVersionCheck", "--silent"],
        is_azure=True,
    ),
    "rclone": _Kind("bin/rclone", lambda folder, port: ["serve", "s3", "--addr", f"127.0.0.1:{port}", str(folder)]),
}


def missing(name: str) -> str:
    """Return why a server cannot be started here, empty if it can."""
    path = Path(sys.prefix, SERVERS[name].program)
    return "" if path.exists() else f"{name} is not installed as {path}: `make test-remote` tries to"


@contextmanager
def started(name: str, folder: Path) -> Iterator[Server]:
    """Start a server that keeps its objects in a folder, and end it."""
    kind, port = SERVERS[name], _free_port()
    (folder / _BUCKET).mkdir(parents=True)
    command = [str(Path(sys.prefix, kind.program)), *kind.arguments(folder, port)]
    with (folder.parent / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_for_bucket(kind, address, process)
        yield _azure(address) if kind.is_azure else _s3(address)
    finally:
        process.kill()
        process.wait()


def _s3(address: str) -> Server:
    return Server(f"s3://{_BUCKET}", BUCKET_OPTIONS | {"endpoint": address})


def _azure(address: str) -> Server:
    options = {
        "azure_storage_account_name": _ACCOUNT,
        "azure_storage_account_key": _ACCOUNT_KEY,
        "azure_storage_endpoint": f"{address}/{_ACCOUNT}",
        "client_options": {"allow_http": True},
    }
    return Server(f"az://{_BUCKET}", options)


def _free_port() -> int:
    """Return a port that nobody listens on, and neither on the one 10,000 above, which SeaweedFS takes too."""
    while True:
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            port = int(one.getsockname()[1])
            if port > 55_000:
                continue
            try:
                other.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
            return port


def _wait_for_bucket(kind: _Kind, address: str, process: subprocess.Popen[bytes]) -> None:
    """Make the bucket as soon as the server answers."""
    end = time.monotonic() + _SECONDS
    while True:
        try:
            with urllib.request.urlopen(_new_bucket(kind, address), timeout=10):
                return
        except urllib.error.HTTPError as error:
            with error:
                # It is there: a folder of it was made.
                if error.code == 409:
                    return
                problem = f"{error.code}: {error.read(300)!r}"
        except OSError as error:
            problem = str(error)
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"the server at {address} makes no bucket: {problem}")
        time.sleep(0.2)


def _new_bucket(kind: _Kind, address: str) -> urllib.request.Request:
    if not kind.is_azure:
        return urllib.request.Request(f"{address}/{_BUCKET}", method="PUT")
    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
    signed = "\n".join(
        [
            *("PUT", *[""] * 11),
            *(f"{name}:{value}" for name, value in headers.items()),
            f"/{_ACCOUNT}/{_ACCOUNT}/{_BUCKET}",
            "restype:container",
        ]
    )
    digest = hmac.new(base64.b64decode(_ACCOUNT_KEY), signed.encode(), hashlib.sha256).digest()
    headers["Authorization"] = f"SharedKey {_ACCOUNT}:{base64.b64encode(digest).decode()}"
    return urllib.request.Request(f"{address}/{_ACCOUNT}/{_BUCKET}?restype=container", method="PUT", headers=headers)
