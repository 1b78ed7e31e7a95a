"""Compiles `splitdata/_speedups.c` when a wheel is built or the sources are installed in editable form.

    compiler there      _speedups.abi3.so in the wheel: cp311-abi3-PLATFORM; beside the sources if editable
    none, or it fails   a wheel of Python alone, py3-none-any; says so
    SPLITDATA_PURE=1    as if there were none            SPLITDATA_PURE=0    a failure ends the build

One file serves every CPython from 3.11 on, of one system: the limited API. `python hatch_build.py` builds it in place.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run by hand
    BuildHookInterface = object

SOURCE = "splitdata/_speedups.c"
RESULT = "splitdata/_speedups.abi3.so"
FLAGS = ("-O3", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-Wno-cast-function-type")


class SpeedupsHook(BuildHookInterface):  # type: ignore[misc]  # without hatchling it is a plain object
    """Adds the compiled file to a wheel, with the tag that goes with it."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, where that is wanted and can be done; beside the sources only for an editable installation."""
        root = Path(self.root)
        self._folder = tempfile.TemporaryDirectory()
        target = root / RESULT if version == "editable" else Path(self._folder.name) / Path(RESULT).name
        if not is_compiled(root, target):
            return
        build_data["pure_python"] = False
        build_data["tag"] = f"cp311-abi3-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
        if version != "editable":
            build_data["force_include"][str(target)] = RESULT

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was compiled for the wheel."""
        self._folder.cleanup()


def is_compiled(root: Path, target: Path) -> bool:
    """Compile, and say whether it worked.

    Raises:
        SystemExit: If it did not, and SPLITDATA_PURE=0 asks for it.
    """
    switch = os.environ.get("SPLITDATA_PURE", "")
    # What an older build has left would hide that there is none.
    target.unlink(missing_ok=True)
    if switch == "1":
        return False
    reason = _why_not() or _compile(root / SOURCE, target)
    if reason and switch == "0":
        raise SystemExit(f"SPLITDATA_PURE=0 asks for the compiled path, and it cannot be built: {reason}")
    if reason:
        sys.stderr.write(f"splitdata is built without its compiled path, and works, slower: {reason}\n")
    return not reason


def _why_not() -> str:
    is_wide = sys.byteorder == "little" and sys.maxsize > 1 << 32
    if os.name != "posix" or sys.implementation.name != "cpython" or not is_wide:
        return "it is built for CPython on Linux and macOS, on little-endian machines of 64 bits"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "Python without the GIL has no limited API"
    return ""


def _compile(source: Path, target: Path) -> str:
    """Compile; return what went wrong, empty if nothing did."""
    link = shlex.split(os.environ.get("LDSHARED") or sysconfig.get_config_var("LDSHARED") or "cc -shared")
    if compiler := os.environ.get("CC"):
        link = [*shlex.split(compiler), *link[1:]]
    include = sysconfig.get_paths()["include"]
    flags = [*FLAGS, *shlex.split(os.environ.get("CFLAGS", "")), f"-I{include}"]
    # In one step at last: another process may have the old one loaded.
    made = target.with_name(f"{target.name}.{os.getpid()}")
    command = [*link, *flags, str(source), "-o", str(made)]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode:
            return f"{shlex.join(command)}\n{ended.stderr}"
        made.replace(target)
    except OSError as error:
        return str(error)
    finally:
        made.unlink(missing_ok=True)
    return ""


if __name__ == "__main__":
    here = Path(__file__).parent
    sys.exit(not is_compiled(here, here / RESULT))
