"""Every command and many calls in a folder full of modules that nobody may import. Run as a program by a test.

    python planted_modules.py FOLDER       FOLDER/work is the present folder, FOLDER/data, source, cache are used

Each folder holds a file for each of PLANTED that leaves a marker when it is imported. What Python itself reports
(audit events) is looked at too: no such file may be opened, compiled or run, and no import may even look there.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

PLANTED = (
    # What the library and the command line load where they need it,
    *("resource", "fcntl", "tqdm", "queue", "tempfile", "shutil", "bz2", "lzma", "html", "inspect", "select", "ctypes"),
    *(
        "zoneinfo",
        "cloudpickle",
        "zstandard",
        "xxhash",
        "click",
        "multiprocessing",
        "concurrent",
        "mmap",
        "csv",
        "glob",
    ),
    # what others load, or would if it were installed,
    *("tzdata", "pandas", "pyarrow", "colorama", "brotli", "lz4", "ml_dtypes", "sitecustomize", "usercustomize"),
    # what parsers, numpy and pickle load late,
    *("ast", "tokenize", "pickle", "copyreg", "secrets", "statistics", "pprint", "getpass", "ipaddress", "encodings"),
    # this library,
    *("splitdata", "splitdata_cli", "_xxhash", "numpy"),
    # and what data and names can ask for.
    *("records", "America", "os", "data"),
)


def plant(folder: Path, markers: Path) -> None:
    """Put a module of each name into a folder."""
    for name in PLANTED:
        (folder / f"{name}.py").write_text(f"open({str(markers / name)!r}, 'a').close()\n")


class Watch:
    """Notes what Python reports of planted files."""

    def __init__(self, folders: tuple[Path, ...]) -> None:
        self.folders = tuple(map(str, folders))
        self.files = {str(folder / f"{name}.py") for folder in folders for name in PLANTED}
        self.found: list[str] = []

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Take an audit event."""
        if event == "import":
            path = arguments[2] or ()
            self.found += [f"import {arguments[0]} in {place}" for place in path if str(place) in self.folders]
        elif event == "exec":
            self.found += [f"exec {name}" for name in (arguments[0].co_filename,) if name in self.files]
        elif event == "compile":
            self.found += [f"compile {name}" for name in (os.fsdecode(arguments[1] or ""),) if name in self.files]


def run(*arguments: str | os.PathLike[str], code: int = 0, stdin: bytes = b"") -> None:
    """Run `splitdata` in this process, and hold its exit code against the one that is expected."""
    from click.testing import CliRunner

    from splitdata_cli.main import cli

    result = CliRunner().invoke(cli, [os.fspath(one) for one in arguments], input=stdin)
    if result.exit_code != code:
        raise AssertionError(f"{arguments}: exit code {result.exit_code}\n{result.output}\n{result.stderr}")


def write_every_kind(source: Path) -> None:
    """Convert sources of every kind, with names that look like code."""
    (source / "lines.txt").write_bytes(b"one\ntwo\n")
    (source / "lines.jsonl").write_bytes(b'{"a": 1}\n')
    (source / "rows.csv").write_bytes(b"a,b\n1,2\n")
    (source / "prefixed.bin").write_bytes(b"\1\0\0\0a")
    (source / "list.txt").write_bytes(b"queue:rows\n")
    Path("queue:rows").write_bytes(b"a file of this name")
    Path("tqdm:rows").write_bytes(b"another one")
    for number, (how, name) in enumerate(
        (
            ([], "lines.txt"),
            (["--resume"], "lines.jsonl"),
            (["--validate", "--reproducible"], "lines.jsonl"),
            (["--column", "a", "--shuffle", "1"], "rows.csv"),
            (["--encoding", "idna", "--reproducible"], "rows.csv"),
            (["--from", "prefixed", "--verify", "--json"], "prefixed.bin"),
            (["--compression", "zstd", "--dictionary"], "lines.txt"),
            (["--from", "files", "--dry-run"], "lines.txt"),
        )
    ):
        run("write", source / name, f"made {number}", *how)
    run("write", source, "made folder")
    run("write", "-", "made folder", "--append", stdin=b"a\nb\n")
    run("write", f"@{source / 'list.txt'}", "made list")
    run("write", "*:rows", "made pattern", "--verify")
    run("write", "queue:rows", "made pattern", "--from", "lines", "--overwrite")
    for text in ("queue:rows", "resource:rows", "os:listdir", "splitdata:convert"):
        run("write", text, "made of code", code=2)
    run("write", "*:rows", "made of code", "--from", "callable", code=2)
    run("write", "os:listdir", "made of code", "--from", "callable", "--limit", "1", code=2)
    run("write", "os:environb", "made of code", "--from", "callable", code=2)


def samples(zones: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Yield samples with times whose zones this machine has not."""
    import numpy as np

    import splitdata
    from splitdata.samples import sample_spec

    moment = datetime(2026, 1, 1)
    yield {"array": np.zeros(3), "moment": moment}
    wall = (moment - datetime.min).days * 86_400_000_000
    for key in zones:
        head = bytes(
            [*sample_spec.SAMPLE_MAGIC, sample_spec.SAMPLE_VERSION, 1, 0, 0, 0, sample_spec.KIND_DATETIME_ZONE]
        ).ljust(16, b"\0")
        numbers = b"".join(number.to_bytes(8, "little") for number in (len(key), wall, 0, 0))
        assert splitdata.decode_sample(head + numbers + key.encode()).utcoffset() is not None
        yield {"zone": key}


def doubled(sample: bytes) -> dict[str, Any]:
    """Transform a record; a module that it asks for is found where it always was."""
    import queue

    return {"bytes": len(sample), "queue": queue.__name__}


def first_two() -> Iterator[bytes]:
    """Yield records."""
    yield from (b"a", b"b")


def call_everything(data: Path, cache: Path) -> None:
    """Run the other commands, and use the library."""
    import splitdata

    zones = ("America/Nowhere", "tzdata", "records", "queue", "America", "os/path")
    with splitdata.SplitWriter(data / "samples") as writer:
        writer.write_samples(samples(zones), keys=map(str, range(1 + len(zones))))
    for name in ("samples", "../work/made folder"):
        run("info", data / name)
        run("head", data / name, "--json")
        run("cat", data / name, "0")
        run("verify", data / name)
    (data / "samples" / "manifest.0000000001.json").write_bytes(b"{")
    run("repair", data / "samples", "--adopt")
    run("bench", data / "../work/made folder", "--workers", "0", "--seconds", "0.01", "--shuffle", "bins")
    splitdata.convert(first_two, "made by function")
    list(splitdata.SampleDataset(data / "samples"))
    splitdata.describe(data / "samples")
    for method in ("spawn", "fork"):
        with splitdata.DistributedLoader(
            "made folder",
            batch_size=2,
            transform=doubled,
            num_workers=1,
            workers=splitdata.WorkerOptions(start_method=method),
            rank=0,
            world_size=1,
            cache=splitdata.Cache(cache / method, version="1"),
        ) as loader:
            loader.load_state_dict(loader.state_dict())
            assert sum(1 for _ in loader) > 10
    splitdata.describe_cache(cache / "spawn")
    run("info", cache / "spawn")
    run("verify", cache / "spawn")
    rotation = splitdata.Rotation(2, 4, medium="disk", path=cache / "rotation")
    with splitdata.DistributedLoader("made folder", batch_size=2, rotation=rotation, rank=0, world_size=1) as loader:
        assert sum(1 for _ in loader) > 20
    assert [batch for batch in splitdata.MpQItr(first_two)] == [b"a", b"b"]


def main() -> None:
    """Plant, run all of it, and print what was imported, one a line."""
    root = Path(sys.argv[1])
    folders = tuple(root / name for name in ("work", "data", "source", "cache"))
    markers = root / "markers"
    for folder in (*folders, markers):
        folder.mkdir()
    for folder in folders:
        plant(folder, markers)
    # A second copy of the standard library's own is none of the data: only files are planted there.
    os.chdir(folders[0])
    # A relative entry that counts from the folder where this program was started.
    os.environ["PYTHONPATH"] = os.pathsep.join([*filter(None, [os.environ.get("PYTHONPATH")]), "", "."])
    watch = Watch(folders)
    sys.addaudithook(watch)
    import splitdata_cli._progress as progress

    # As if a person were looking on, so that progress is drawn.
    progress._is_watched = lambda: True
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stderr(nowhere):
        write_every_kind(folders[2])
        call_everything(folders[1], folders[3])
    for line in (*sorted(path.name for path in markers.iterdir()), *sorted(set(watch.found))):
        sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main()
