"""What each library does to make a dataset of its own of the same input; for convert.py, which runs each in a process.

Nothing is synced by anyone, as the peers never do. What the others call without compression is without it here.

    input          splitdata                 the others, as their documentation does it
    JSONL          convert(typed=True)       load_dataset + save_to_disk; optimize, MDSWriter of json.loads(line)
    lines          convert                   ShardWriter, optimize, MDSWriter of the bytes of each line
    files          convert(folder)           from_generator + save_to_disk; ShardWriter, ... of the bytes of each file
    Parquet        convert                   load_dataset + save_to_disk; ... of the rows that pyarrow gives
    WebDataset     convert                   load_dataset + save_to_disk; ... of the samples that webdataset gives
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias

__all__ = ["CONVERTERS", "Converter", "inputs_of"]

Converter: TypeAlias = Callable[[str, Path, Path], None]
"""Takes the case, the folder with its input and the folder for what is made."""

_SHARD_RECORDS: Final = 10_000
_SHARD_BYTES: Final = 64 << 20


def inputs_of(case: str, source: Path) -> list[str]:
    """Return the files that a case is read from, in their order."""
    patterns = {"jsonl": "*.jsonl", "lines": "*.jsonl", "parquet": "*.parquet", "webdataset": "*.tar", "files": "*/*"}
    return sorted(map(str, source.glob(patterns[case])))


def _samples(case: str, path: str) -> Iterator[dict[str, Any]]:
    """Yield the samples of one file, as a loop over it would have them."""
    if case == "jsonl":
        with Path(path).open(encoding="utf-8") as file:
            yield from map(json.loads, file)
    elif case == "lines":
        with Path(path).open("rb") as lines:
            for line in lines:
                yield {"line": line.rstrip(b"\n")}
    elif case == "files":
        yield {"file": Path(path).read_bytes()}
    elif case == "parquet":
        import pyarrow.parquet as pq

        for batch in pq.ParquetFile(path).iter_batches():
            yield from batch.to_pylist()
    else:
        import webdataset

        for sample in webdataset.WebDataset(path, shardshuffle=False, empty_check=False):
            yield {"jpg": sample["jpg"], "cls": int(sample["cls"])}


def _all_samples(case: str, source: Path) -> Iterator[dict[str, Any]]:
    for path in inputs_of(case, source):
        yield from _samples(case, path)


def _splitdata(case: str, source: Path, dest: Path, *, workers: int) -> None:
    from splitdata import convert, open_source

    named: Any = str(source) if case == "files" else inputs_of(case, source)
    convert(open_source(named, typed=case == "jsonl"), dest / "data", workers=workers, durability="none")


def _datasets(case: str, source: Path, dest: Path) -> None:
    import datasets

    cache = str(dest / "cache")
    if case == "files":
        given = {"case": case, "source": source}
        made = datasets.Dataset.from_generator(_all_samples, gen_kwargs=given, cache_dir=cache)
    else:
        kind = {"jsonl": "json", "lines": "text"}.get(case, case)
        made = datasets.load_dataset(kind, data_files=inputs_of(case, source), split="train", cache_dir=cache)
    made.save_to_disk(str(dest / "data"))


def _litdata(case: str, source: Path, dest: Path, *, workers: int) -> None:
    import litdata

    os.environ["DATA_OPTIMIZER_CACHE_FOLDER"] = str(dest / "cache")
    litdata.optimize(
        functools.partial(_samples, case),
        inputs_of(case, source),
        output_dir=str(dest / "data"),
        chunk_bytes="64MB",
        num_workers=workers,
        verbose=False,
    )


_MDS_TYPES: Final = {int: "int", str: "str", float: "float64", bytes: "bytes", list: "json"}


def _mosaicml(case: str, source: Path, dest: Path) -> None:
    from streaming import MDSWriter

    samples = _all_samples(case, source)
    first = next(samples)
    columns = {name: _MDS_TYPES[type(value)] for name, value in first.items()}
    with MDSWriter(out=str(dest / "data"), columns=columns) as writer:
        writer.write(first)
        for sample in samples:
            writer.write(sample)


def _webdataset(case: str, source: Path, dest: Path) -> None:
    import webdataset

    (dest / "data").mkdir()
    pattern = str(dest / "data" / "%06d.tar")
    with webdataset.ShardWriter(pattern, maxcount=_SHARD_RECORDS, maxsize=_SHARD_BYTES, verbose=0) as writer:
        for number, sample in enumerate(_all_samples(case, source)):
            whole = {"json": sample} if case in ("jsonl", "parquet") and not _has_bytes(sample) else sample
            writer.write({"__key__": f"{number:09d}", **_with_suffixes(whole)})


def _has_bytes(sample: dict[str, Any]) -> bool:
    return any(isinstance(value, bytes) for value in sample.values())


def _with_suffixes(sample: dict[str, Any]) -> dict[str, Any]:
    """Return a sample under names that tell the writer how to encode what is not bytes."""
    suffixes = {int: "cls", str: "txt", float: "json", list: "json", dict: "json"}
    return {
        name if isinstance(value, bytes) or name in ("cls", "json") else f"{name}.{suffixes[type(value)]}": value
        for name, value in sample.items()
    }


# For each: what is loaded before it counts, and what it does. `import splitdata` alone loads next to nothing.
CONVERTERS: Final[dict[str, tuple[str, Converter]]] = {
    "splitdata": ("splitdata.conversion.convert", functools.partial(_splitdata, workers=1)),
    "splitdata, 2 workers": ("splitdata.conversion.convert", functools.partial(_splitdata, workers=2)),
    "datasets": ("datasets", _datasets),
    "litdata": ("litdata", functools.partial(_litdata, workers=1)),
    "litdata, 2 workers": ("litdata", functools.partial(_litdata, workers=2)),
    "MDSWriter": ("streaming", _mosaicml),
    "ShardWriter": ("webdataset", _webdataset),
}
