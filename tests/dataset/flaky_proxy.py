"""A proxy before an object store that does to answers what networks and servers do.

client ──> FlakyProxy ──> store          each GET of an object takes the next fault of a list; "" is none

drop           the connection is closed before the answer
500, 503, 429  instead of the answer
slow           the answer comes late
cut            half of the body, then the connection is closed
other bytes    as many bytes as were asked for, from elsewhere
whole          status 200 and the whole object, where a range was asked for
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import urlsplit

__all__ = ["FlakyProxy"]

_SLOW_SECONDS = 0.3


class FlakyProxy:
    """A proxy on a port of its own; a context manager.

    Attributes:
        address: Of the proxy.
        num_faults: Answers that met one.
        num_requests: All requests that came.
    """

    def __init__(
        self,
        upstream: str,
        faults: Iterable[str],
        *,
        delay: float = 0.0,
        only: str = "segments/",
        commands: tuple[str, ...] = ("GET",),
    ) -> None:
        """Take what is to go wrong.

        Args:
            upstream: Address of the store.
            faults: Of the readings that follow each other; none behind the last.
            delay: Seconds before each answer.
            only: Part of the path of the objects that are faulty.
            commands: Requests that are.
        """
        self.num_faults = self.num_requests = 0
        self.delay = delay
        self._upstream = urlsplit(upstream).netloc
        self._faults = iter(faults)
        self._only = only
        self._commands = commands
        self._lock = threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                proxy.answer(self)

            do_HEAD = do_PUT = do_POST = do_DELETE = do_GET

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop; nothing answers any more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        with self._lock:
            self.num_requests += 1
            is_faulty = request.command in self._commands and self._only in request.path
            fault = next(self._faults, "") if is_faulty else ""
            self.num_faults += fault != ""
        time.sleep(self.delay + (_SLOW_SECONDS if fault == "slow" else 0))
        request.close_connection = True
        if fault == "drop":
            request.connection.close()
            return
        if fault in ("500", "503", "429"):
            _send(request, int(fault), {}, b"<Error><Code>SlowDown</Code></Error>", 36)
            return
        status, headers, body = self._fetch(request, is_whole=fault == "whole")
        length = int(headers.get("Content-Length", len(body)))
        if fault == "other bytes":
            body = body[::-1]
        if fault == "cut":
            body = body[: len(body) // 2]
        _send(request, status, headers, body, length)

    def _fetch(self, request: BaseHTTPRequestHandler, *, is_whole: bool) -> tuple[int, dict[str, str], bytes]:
        """Return the answer of the store."""
        length = int(request.headers.get("Content-Length") or 0)
        data = request.rfile.read(length) if length else None
        headers = {name: value for name, value in request.headers.items() if name.lower() != "connection"}
        if is_whole:
            headers = {name: value for name, value in headers.items() if name.lower() != "range"}
        connection = http.client.HTTPConnection(self._upstream, timeout=20)
        try:
            connection.request(request.command, request.path, data, headers)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()


def _send(request: BaseHTTPRequestHandler, status: int, headers: dict[str, str], body: bytes, length: int) -> None:
    request.send_response_only(status)
    for name, value in headers.items():
        if name.lower() not in ("content-length", "connection", "transfer-encoding"):
            request.send_header(name, value)
    request.send_header("Content-Length", str(length))
    request.send_header("Connection", "close")
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(body)
