"""Makes the conformance files: golden datasets, cases with one oddity each, and the verdict of each.

    datasets/NAME/...   golden datasets, as the library writes them
    verdicts.json       cases, one a line: a dataset, edits, and what a reader must say

Run it in the root of the repository; what it makes is committed. The verdicts come from what was written, and from
what each oddity says of itself: no reader is asked.

    python -m tests.conformance.make_conformance
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from hashlib import sha256
from itertools import chain
from pathlib import Path
from struct import pack
from typing import Any, Final

from xxhash import xxh3_64_intdigest as hash64

from tests.conformance.case import Case
from tests.conformance.dataset_editor import DatasetEditor, digest_of, packed_lists
from tests.conformance.golden_datasets import GOLDEN, GoldenDataset
from tests.conformance.odd_bins import bin_cases
from tests.conformance.odd_deleted import deleted_cases
from tests.conformance.odd_dictionaries import dictionary_cases
from tests.conformance.odd_fields import field_cases
from tests.conformance.odd_files import file_cases
from tests.conformance.odd_frames import frame_cases
from tests.conformance.odd_groups import group_cases
from tests.conformance.odd_key_tables import key_table_cases
from tests.conformance.odd_keys import key_cases
from tests.conformance.odd_large import large_cases
from tests.conformance.odd_layouts import layout_cases
from tests.conformance.odd_limits import limit_cases
from tests.conformance.odd_manifests import lost_manifest_cases, manifest_cases
from tests.conformance.odd_samples import sample_cases
from tests.conformance.odd_schemas import schema_cases
from tests.conformance.odd_verified import verified_cases
from tests.conformance.odd_zstd import zstd_cases

__all__ = ["make"]

_ODD: Final = (
    manifest_cases,
    field_cases,
    file_cases,
    bin_cases,
    frame_cases,
    large_cases,
    zstd_cases,
    group_cases,
    key_cases,
    deleted_cases,
    sample_cases,
    schema_cases,
    lost_manifest_cases,
    dictionary_cases,
    key_table_cases,
    limit_cases,
    layout_cases,
    verified_cases,
)
_HERE: Final = Path(__file__).resolve().parent
_DELETED: Final = "RecordDeletedError"
_DELETED_LENGTH: Final = (1 << 64) - 1
_SCHEMAS_LENGTH: Final = (1 << 64) - 2
_LEAF_RECORDS: Final = 1024
_MOST_SEARCHES: Final = 32


def make(folder: Path) -> None:
    """Write the datasets and the verdicts into a folder."""
    datasets = folder / "datasets"
    shutil.rmtree(datasets, ignore_errors=True)
    datasets.mkdir(parents=True)
    for golden in GOLDEN:
        golden.write(datasets / golden.name)
    cases = list(_cases(datasets))
    names = [case["name"] for case in cases]
    if len(set(names)) != len(names):
        raise ValueError(f"two cases have one name: {sorted(name for name in names if names.count(name) > 1)}")
    lines = ",\n".join(json.dumps(case, ensure_ascii=True, separators=(",", ":")) for case in cases)
    (folder / "verdicts.json").write_text(f"[\n{lines}\n]\n", "utf-8", newline="\n")


def _cases(datasets: Path) -> Iterator[dict[str, Any]]:
    verdicts = {golden.name: _verdict_of(golden) for golden in GOLDEN}
    for golden in GOLDEN:
        yield {"name": golden.name, "what": golden.what, "dataset": golden.name, "verdict": verdicts[golden.name]}
    for case in chain.from_iterable(cases() for cases in _ODD):
        editor = DatasetEditor(datasets / case.base)
        case.edit(editor)
        yield {
            "name": case.name,
            "section": case.section,
            "what": case.what,
            "dataset": case.base,
            "edits": editor.edits(),
            "verdict": _changed(verdicts[case.base], case),
        }


def _verdict_of(golden: GoldenDataset) -> dict[str, Any]:
    """Return the verdict of a dataset that is as it should be."""
    records = [_shown(record) for record in golden.records]
    verdict: dict[str, Any] = {"opens": True, "intact": True, "records": records, "metadata": golden.metadata}
    verdict["sha256"] = _sha256(golden.records, golden.schemas)
    if golden.samples:
        verdict["samples"] = {str(position): shown for position, shown in enumerate(golden.samples)}
    if golden.ranges:
        verdict["ranges"] = [
            [position, start, stop, _shown((golden.records[position] or b"")[start:stop])]
            for position, start, stop in golden.ranges
        ]
    whole = tuple(record for record in golden.records if record is not None)
    if len(whole) == len(golden.records):
        verdict["fingerprint"] = _fingerprint(whole) + _behind_fingerprint(golden.schemas)
    if golden.keys:
        keys = [_DELETED if record is None else key for key, record in zip(golden.keys, golden.records, strict=True)]
        verdict["keys"] = keys
        found = {key: position for position, key in enumerate(keys) if key not in (None, _DELETED)}
        verdict["find"] = dict(list(found.items())[-_MOST_SEARCHES:]) | dict.fromkeys((*golden.absent, "not there"))
    return verdict


def _shown(record: bytes | None) -> str:
    return _DELETED if record is None else f"{hash64(record):016x}"


def _fingerprint(records: tuple[bytes, ...]) -> str:
    return f"{len(records)}-{digest_of(records):016x}"


def _behind_fingerprint(schemas: tuple[bytes, ...]) -> str:
    return f"-{hash64(packed_lists([schemas])):016x}" if schemas else ""


def _sha256(records: tuple[bytes | None, ...], schemas: tuple[bytes, ...]) -> str:
    root = sha256()
    for start in range(0, len(records), _LEAF_RECORDS):
        leaf = sha256()
        for record in records[start : start + _LEAF_RECORDS]:
            leaf.update((_DELETED_LENGTH if record is None else len(record)).to_bytes(8, "little") + (record or b""))
        root.update(leaf.digest())
    if schemas:
        root.update(sha256(pack("<Q", _SCHEMAS_LENGTH) + packed_lists([schemas])).digest())
    return root.hexdigest()


def _changed(verdict: dict[str, Any], case: Case) -> dict[str, Any]:
    """Return the verdict of a dataset with the oddity of a case."""
    if case.opens is not True:
        return {"opens": case.opens}
    changed = {name: value for name, value in verdict.items() if name not in {"ranges", "sha256"}}
    changed["intact"] = not (case.records or case.keys or case.find) if case.intact == "derived" else case.intact
    if changed["intact"] is None:
        del changed["intact"]
    changed["records"] = (
        case.records
        if isinstance(case.records, list)
        else [case.records.get(position, old) for position, old in enumerate(verdict["records"])]
    )
    # Where a record cannot be reached, its key cannot either; what is damaged in its payload hides no key.
    if case.keys or "keys" in verdict:
        old_keys = verdict.get("keys", [None] * len(verdict["records"]))
        changed["keys"] = [case.keys.get(position, old) for position, old in enumerate(old_keys)]
    if "find" in verdict:
        changed["find"] = verdict["find"] | case.find
    if case.metadata is None:
        del changed["metadata"]
    else:
        changed["metadata"] = case.metadata | verdict["metadata"]
    if case.fingerprint is None:
        del changed["fingerprint"]
    elif case.fingerprint:
        changed["fingerprint"] = case.fingerprint
    if "samples" in verdict:
        # The others are as they were.
        changed["samples"] = {str(position): shown for position, shown in case.samples.items()}
    if case.ranges:
        changed["ranges"] = case.ranges
    if case.metadata_bytes:
        del changed["metadata"]
        changed["metadata_bytes"] = case.metadata_bytes
    return changed


if __name__ == "__main__":
    make(_HERE)
    cases = json.loads((_HERE / "verdicts.json").read_bytes())
    sys.stdout.write(f"{len(cases)} cases\n")
