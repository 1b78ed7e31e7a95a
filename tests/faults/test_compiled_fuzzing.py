"""The compiled path under the sanitizers for addresses and undefined behaviour, with damaged segments.

compiled_fuzzer.py is what runs. Where the compiler has no sanitizers it is skipped.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from splitdata.format import spec
from splitdata.format.checksum import bin_salt
from tests.command import ROOT
from tests.dataset.record_kinds import GROUPED_KINDS, KINDS, RecordKind, segments_of

pytestmark = [pytest.mark.soak, pytest.mark.time_limit(3000)]

ROUNDS = 1_000_000
SANITIZERS = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]
GROUPED_KEYED = RecordKind(
    "grouped, keyed, aligned", KINDS[0].records[:40], has_keys=True, options={"group": 8, "alignment": 64, "bins": 3}
)


@pytest.fixture
def sanitized(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """The compiled file with sanitizers in it, and the environment in which Python loads it."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    code = "import sysconfig; print(sysconfig.get_paths()['include'])"
    include = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    target = tmp_path / "_speedups.abi3.so"
    source = ROOT / "splitdata" / "_speedups.c"
    command = [compiler, "-shared", "-fPIC", *SANITIZERS, f"-I{include}", str(source), "-o", str(target)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("the compiler has no sanitizers")
    library = subprocess.run([compiler, "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
    # What Python allocates for itself must come from where the sanitizer watches.
    watched = {"LD_PRELOAD": library.stdout.strip(), "PYTHONMALLOC": "malloc", "ASAN_OPTIONS": "detect_leaks=0"}
    return target, dict(os.environ) | watched


def written(kind: RecordKind, path: Path) -> dict[str, object]:
    """Write records, and return the segment as the fuzzer takes it."""
    kind.write_sealed(path)
    ((info, paths),) = segments_of(path)
    index = Path(paths.index).read_bytes()[spec.INDEX_HEADER_BYTES :][: info.entry_bytes * info.num_frames]
    files = [index, *(Path(paths.bin(number)).read_bytes() for number in range(info.num_bin_files))]
    return {
        "shape": [info.num_records, info.num_bins, info.num_bin_files, info.group],
        "files": [data.hex() for data in files],
        "salts": [bin_salt(info.id, number) for number in range(info.num_bin_files)],
        "alignment": kind.options.get("alignment", spec.FRAME_UNIT),
        "records": [record.hex() for record in kind.records],
    }


def test_damaged_segments_give_what_was_written_or_nothing(
    sanitized: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    target, environment = sanitized
    kinds = [KINDS[0], KINDS[2], KINDS[4], *GROUPED_KINDS, GROUPED_KEYED]
    segments = [written(kind, tmp_path / f"d{number}") for number, kind in enumerate(kinds)]
    (tmp_path / "segments.json").write_text(json.dumps(segments))
    fuzzer = Path(__file__).with_name("compiled_fuzzer.py")

    command: list[str | Path] = [sys.executable, fuzzer, target, tmp_path / "segments.json", str(ROUNDS), "1"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stderr[-4000:]
    assert int(ended.stdout.split()[3]) > ROUNDS / 4
