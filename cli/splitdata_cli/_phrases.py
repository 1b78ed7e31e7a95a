"""Translates the library's advice into options of the command line; advice that only Python can follow is left out.

Errors name arguments, as a caller from Python needs them. A person at a terminal types options instead.

    "mode='append' adds to it"                        ->   "--append adds to it"
    "say which kind it is: kind='lines', 'jsonl'"     ->   "say which kind it is: --from lines, jsonl"
    "is damaged; on_error='skip' leaves it out"       ->   "is damaged"
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["in_options"]

# Options that no command has: an advice to use one is left out, from the sign before it.
_PYTHON_ONLY: Final = re.compile(
    r", or give the loader SampleDataset\(path, copy=True\)|"
    r"(; |, or |: )[^;:,]*(?<![\w/])"
    r"(on_error|start_method|timeout|io|prefetch_epochs|in_order|skip_deleted|tail|version|copy|num_workers|medium)="
    r"(?:[^;.]|\.(?!\s|$))*"
)
_OPTIONS: Final[tuple[tuple[re.Pattern[str], str], ...]] = tuple(
    # Not where it is a part of a path, as in "year=2020/limit=7/a.csv".
    (re.compile(rf"(?<![\w/]){pattern}(?!/)"), option)
    for pattern, option in (
        (r"mode='(append|overwrite)'", r"--\1"),
        (r"(?:mode='resume'|resume=True)", "--resume"),
        (r"kind='([\w-]+)'((?:, (?:or )?'[\w-]+')*)", r"--from \1\2"),
        (r"compression='zstd'", "--compression zstd"),
        (r"durability='(\w+)'", r"--durability \1"),
        (r"repair\((?:[^()]*, )?adopt=True\)", "`splitdata repair --adopt`"),
        (r"(append|adopt|validate|reproducible|dictionary|overwrite)=True", r"--\1"),
        # The command line says it already, beside the argument.
        (r"column=NAME \(--column NAME\)", "--column NAME"),
        (r"typed=True", "--typed"),
        (r"single_writer=True", "--single-writer"),
        (r"types=\{'([^']*)': '([^']*)'\}", r"--type \1=\2"),
        (r"from_bins=True", "--from-bins"),
        (r"allow_duplicate_keys=True", "--allow-duplicate-keys"),
        (r"prefix_keys=True", "--prefix-keys"),
        (r"follow_links=True", "--follow-links"),
        (r"header=False\b", "--no-header"),
        (r"quotes=False\b", "--no-quotes"),
        (r"(delimiter|encoding|column|dtype|block|limit|bins|shuffle|job)=('[^']*'|\d+|[A-Z]+)?+", r"--\1 \2"),
    )
)
_MORE_KINDS: Final = re.compile(r"(?<=--from )[\w-]+(?:, (?:or )?'[\w-]+')+")


def in_options(message: str) -> str:
    """Return a message of the library as the command line says it."""
    for pattern, option in _OPTIONS:
        message = pattern.sub(option, message)
    message = _MORE_KINDS.sub(lambda found: found[0].replace("'", ""), message)
    return _PYTHON_ONLY.sub("", message)
