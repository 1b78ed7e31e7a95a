"""Reading a dataset from a bucket on this machine, with a delay before each answer, beside a plain loop of obstore.

    python -m benchmarks.remote [--records 4000] [--bytes 10000] [--delays 1,10,50]

The bucket is localbucket in a process of its own, on the same cores as the reader: ratios count, not rates.

    plain      obstore.get_range over each bin, 4 MiB a request, one after the other; nothing is checked
    bins       DistributedLoader(url, shuffle="bins"), every record proven       cold, then again from memory
    global     the same in global order
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from splitdata import DistributedLoader, SplitDataLoader, SplitWriter

_SERVER = """
import sys, time, pathlib, localbucket
class Handler(localbucket.S3Handler):
    data_root = pathlib.Path(sys.argv[1])
    def log_message(self, *args): pass
    def do_GET(self):
        time.sleep(float(sys.argv[2]))
        super().do_GET()
server = localbucket.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""
_REQUEST_BYTES = 4 << 20
_OPTIONS = {"region": "us-east-1", "aws_access_key_id": "benchmark", "aws_secret_access_key": "benchmark"}


def main() -> None:
    """Measure each way at each delay, and print a line for it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=4000)
    parser.add_argument("--bytes", type=int, default=10_000)
    parser.add_argument("--delays", default="1,10,50", help="milliseconds before each answer")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        write(Path(root) / "bucket" / "data", options.records, options.bytes)
        for delay in map(float, options.delays.split(",")):
            with served(root, delay / 1000) as address:
                measure(address, delay)


def write(folder: Path, num_records: int, num_bytes: int) -> None:
    """Write the dataset that is read."""
    source = random.Random(0)
    with SplitWriter(folder, bins=8) as writer:
        writer.write_many(source.randbytes(num_bytes) for _ in range(num_records))


@contextmanager
def served(root: str, delay: float) -> Iterator[str]:
    """Serve the folders in a folder as buckets."""
    server = subprocess.Popen([sys.executable, "-c", _SERVER, root, str(delay)], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None  # noqa: S101  # it was asked for
        yield f"http://127.0.0.1:{int(server.stdout.readline())}"
    finally:
        server.kill()
        server.wait()


def measure(address: str, delay: float) -> None:
    """Print MB/s of each way."""
    num_bytes, seconds = plain(address)
    rate = num_bytes / seconds
    print(f"{delay:4.0f} ms  plain loop    {rate / 1e6:7.0f} MB/s  1.00")
    for shuffle in ("bins", "global"):
        dataset = SplitDataLoader("s3://bucket/data", storage_options=_OPTIONS | {"endpoint": address})
        loader = DistributedLoader(dataset, batch_size=64, shuffle=shuffle)
        for name in ("cold", "again"):
            begin = time.perf_counter()
            total = sum(len(record) for batch in loader for record in batch)
            found = total / (time.perf_counter() - begin)
            print(f"{delay:4.0f} ms  {shuffle:6} {name:6} {found / 1e6:7.0f} MB/s  {found / rate:.2f}")


def plain(address: str) -> tuple[int, float]:
    """Read all bins with obstore alone; returns bytes and seconds."""
    import obstore
    from obstore.store import S3Store

    store = S3Store("bucket", endpoint=address, client_options={"allow_http": True}, **_OPTIONS)
    bins = [one for chunk in obstore.list(store, prefix="data") for one in chunk if one["path"].endswith(".bin")]
    begin, total = time.perf_counter(), 0
    for one in bins:
        for start in range(0, one["size"], _REQUEST_BYTES):
            stop = min(start + _REQUEST_BYTES, one["size"])
            total += len(obstore.get_range(store, one["path"], start=start, end=stop))
    return total, time.perf_counter() - begin


if __name__ == "__main__":
    os.environ.pop("AWS_ENDPOINT", None)
    main()
