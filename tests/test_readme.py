"""README.md does what it says: every block of it runs, and prints what is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command import ROOT, Completed, run_python
from tests.readme_blocks import RUN, SHOWN, Block, ReadmeError, blocks_of, check_output

README = ROOT / "README.md"
PAGES = [
    README,
    *(
        ROOT / "docs" / name
        for name in (
            "data.md",
            "dataset.md",
            "from-data-to-training.md",
            "from-the-older-loaders.md",
            "samples.md",
            "training.md",
        )
    ),
]
RUNNER = ROOT / "tests" / "readme_blocks.py"

# What sets up a copy of the repository would replace the environment that runs the tests.
NOT_RUN_LIMIT = 2
NOT_RUN_COMMANDS = ("git ", "make", "pip ", "python3 -m venv ")


def run_readme(text: str, folder: Path) -> Completed:
    """Run the blocks of a README of this text in a process whose current folder is `folder`."""
    readme = folder / "README.md"
    readme.write_text(text, encoding="utf-8")
    return run_python(RUNNER, readme, cwd=folder)


@pytest.mark.slow
@pytest.mark.time_limit(300)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_of_a_page_runs_and_prints_what_is_shown(page: Path, tmp_path: Path) -> None:
    ended = run_python(RUNNER, page, cwd=tmp_path)

    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_quick_start_can_be_run_twice(tmp_path: Path) -> None:
    text = README.read_text(encoding="utf-8")
    quick_start = text[text.index("## Quick start") : text.index("## Why")]
    assert quick_start.count("```python") == quick_start.count("```console") == 1

    for _ in range(2):
        ended = run_readme(quick_start, tmp_path)
        assert ended.returncode == 0, ended.stdout + ended.stderr


def test_readme_is_read_in_five_minutes_and_leaves_the_rest_to_pages_that_the_index_lists() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")

    assert len(README.read_text(encoding="utf-8").splitlines()) <= 200
    assert [page.name for page in (ROOT / "docs").glob("*.md") if f"({page.name})" not in index] == ["index.md"]


def test_readme_uses_only_languages_that_are_run_or_shown() -> None:
    blocks = blocks_of(README.read_text(encoding="utf-8"))

    assert any(block.language == "python" for block in blocks)
    assert [(block.line, block.language) for block in blocks if block.language not in RUN | SHOWN] == []


def test_every_fence_of_the_readme_belongs_to_a_block() -> None:
    text = README.read_text(encoding="utf-8")

    assert sum(line.lstrip().startswith(("```", "~~~")) for line in text.splitlines()) == 2 * len(blocks_of(text))


def test_comments_about_blocks_of_the_readme_are_understood() -> None:
    comments = {block.comment for block in blocks_of(README.read_text(encoding="utf-8"))}

    assert [text for text in comments if text not in ("", "output") and not text.startswith("not-run: ")] == []


def test_blocks_of_the_readme_that_are_not_run_are_few_and_only_set_up() -> None:
    not_run = [block for block in blocks_of(README.read_text(encoding="utf-8")) if block.reason_not_run]
    lines = [line.removeprefix("$ ") for block in not_run for line in block.code.splitlines() if line.strip()]

    assert len(not_run) <= NOT_RUN_LIMIT
    assert [line for line in lines if not line.startswith((*NOT_RUN_COMMANDS, "cd ", "source ", "#"))] == []
    assert all(block.code.removeprefix("$ ").startswith(NOT_RUN_COMMANDS) for block in not_run)


def test_blocks_share_variables_and_files_from_top_to_bottom(tmp_path: Path) -> None:
    text = (
        "# Name\n\n```python\nx = 1\nopen('made', 'w').close()\n```\n"
        "```console\n$ ls made \\\n    README.md\nREADME.md\nmade\n$ echo a b c\na ... c\n```\n"
        "```python\nprint(x + 1, __name__)\n```\n\n<!-- output -->\n\n```text\n2 __main__\n```\n"
        "```bash\nmkdir deep\ncd deep\ntouch down\n```\n```python\nassert open('deep/down').read() == ''\n```\n"
        "<!-- not-run: needs the network -->\n```bash\ngit clone nothing\n```\n"
    )

    ended = run_readme(text, tmp_path)

    assert ended.returncode == 0, ended.stderr
    assert [block.language for block in blocks_of(text)] == [
        *["python", "console", "python", "text", "bash", "python", "bash"]
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n```python\nx = 1\n1 / 0\n```\n", 'README.md", line 4, in'),
        ("```python\nprint(1)\n```\n<!-- output -->\n```text\n2\n```\n", "README.md:6: README.md shows"),
        ("```console\n$ echo 1\n1\n$ echo 2\n1\n```\n", "README.md:4: README.md shows"),
        ("```console\n$ echo 1\n```\n", "README.md:2: README.md shows"),
        ("```console\necho 1\n```\n", "a console block begins with"),
        ("```console\n$ exit 3\n```\n", "README.md:2: exit code 3"),
        ("```bash\nfalse\ntrue\n```\n", "README.md:2: exit code 1"),
    ],
)
def test_readme_that_says_other_than_what_happens_fails_with_the_line(text: str, message: str, tmp_path: Path) -> None:
    ended = run_readme(text, tmp_path)

    assert ended.returncode == 1
    assert message in ended.stderr


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ("a\nb\n", "a\nb\n"),
        ("a\n", "a   \n"),
        ("1 record in ... s\n", "1 record in 0.03 s\n"),
        ("a\n...\nd\n", "a\nb\nc\nd\n"),
        ("a\n...\nd\n", "a\nd\n"),
        ("...\n", ""),
        ("", ""),
    ],
)
def test_output_as_shown_is_accepted(expected: str, actual: str) -> None:
    check_output(expected, actual, "here")


@pytest.mark.parametrize(
    ("expected", "actual"),
    [("a\n", "b\n"), ("a\n", ""), ("", "a\n"), ("a ... c\n", "a\nc\n"), ("a\n...\n", "b\na\n"), ("a.c\n", "abc\n")],
)
def test_output_other_than_shown_is_an_error(expected: str, actual: str) -> None:
    with pytest.raises(ReadmeError, match=r"^here: README\.md shows"):
        check_output(expected, actual, "here")


def test_block_without_a_comment_of_its_own_has_none() -> None:
    text = "<!-- not-run: far away -->\n\nText.\n\n```bash\nmake\n```\n"

    assert blocks_of(text) == [Block(language="bash", code="make\n", line=6, comment="")]
