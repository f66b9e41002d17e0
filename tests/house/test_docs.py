"""Rules for the documents: what they point at is there, and every decision is in the index and says all it should."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.repo import ROOT, tracked

ADRS = ROOT / "docs/adr"
ARCHITECTURE = ROOT / "docs/ARCHITECTURE.md"

NAMED_PATH = re.compile(r"(?<![\w./:-])((?:streams|tests|docs|config|deploy)/[\w./-]*\w/?)")
NAMED_TEST = re.compile(r"(?<![\w./:-])(tests/[\w/-]+\.py)(?:::(\w+))?")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]+`")
LINK = re.compile(r"\]\(<?([^)\s>]+)")
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
INDEX_ROW = re.compile(r"^\| \[(\d{4})\]\(([^)]+)\) \| (.+) \|$", re.MULTILINE)
SECTIONS = ["Context", "Choice", "Why", "What we gave up", "How we would notice that it is wrong"]


def _adrs() -> list[Path]:
    found = sorted(path for path in ADRS.glob("*.md") if path.name[:4].isdecimal())
    assert len(found) >= 19
    return found


def _links(markdown: str) -> Iterator[str]:
    """Targets of links, as they are written; not those in code."""
    yield from LINK.findall(CODE.sub("", FENCE.sub("", markdown)))


def _anchors(markdown: str) -> set[str]:
    """Anchors of headings as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", markdown), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _broken(page: Path, markdown: str) -> list[str]:
    """Relative links of a page that lead nowhere."""
    relative = [link for link in _links(markdown) if not ELSEWHERE.match(link)]
    return [link for link in relative if not _leads_somewhere(page, link, markdown)]


def _leads_somewhere(page: Path, link: str, markdown: str) -> bool:
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    if not target.exists():
        return False
    text = markdown if target == page else target.read_text("utf-8") if target.suffix == ".md" else ""
    return not anchor or anchor in _anchors(text)


def test_relative_links_resolve() -> None:
    pages = [path for path in tracked() if path.suffix == ".md"]
    broken = {str(page.relative_to(ROOT)): links for page in pages if (links := _broken(page, page.read_text("utf-8")))}

    assert len(pages) > 20
    assert broken == {}


@pytest.mark.parametrize(
    ("markdown", "broken"),
    [
        ("[a](STYLE.md) [b](adr/README.md#decisions) [c](../README.md)", []),
        ("[a](MISSING.md)", ["MISSING.md"]),
        ("[a](adr/README.md#no-such-heading)", ["adr/README.md#no-such-heading"]),
        ("# One `two`: three\n[a](#one-two-three) [b](#four)", ["#four"]),
        ("![picture](missing.png)", ["missing.png"]),
        ("[a](https://example.com/x) [b](mailto:a@example.com)", []),
        ("`[a](MISSING.md)`\n```text\n[a](MISSING.md)\n```", []),
    ],
)
def test_the_search_for_broken_links_finds_them_and_only_them(markdown: str, broken: list[str]) -> None:
    assert _broken(ROOT / "docs/STYLE.md", markdown) == broken


def test_paths_that_the_architecture_names_exist() -> None:
    named = set(NAMED_PATH.findall(ARCHITECTURE.read_text("utf-8")))

    assert len(named) > 30
    assert sorted(path for path in named if not (ROOT / path).exists()) == []


def test_the_search_for_named_paths_takes_files_and_folders() -> None:
    text = "see `streams/core/raw.py`, `streams/agents/`, tests/house/. Not `vpcflow/streams/x.py`"

    assert NAMED_PATH.findall(text) == ["streams/core/raw.py", "streams/agents/", "tests/house/"]


def _missing_tests(markdown: str) -> list[str]:
    """Test files, and tests in them, that a page names and that are not there."""
    return [f"{path}::{name}" if name else path for path, name in NAMED_TEST.findall(markdown) if not _is(path, name)]


def _is(path: str, name: str) -> bool:
    file = ROOT / path
    if not file.is_file():
        return False
    nodes = ast.parse(file.read_text("utf-8")).body
    return not name or name in {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_tests_that_a_page_names_exist() -> None:
    pages = {path: path.read_text("utf-8") for path in tracked() if path.suffix == ".md"}
    missing = {str(path.relative_to(ROOT)): found for path, text in pages.items() if (found := _missing_tests(text))}

    assert len(NAMED_TEST.findall(pages[ROOT / "README.md"])) > 5
    assert missing == {}


@pytest.mark.parametrize(
    ("markdown", "missing"),
    [
        ("`tests/house/test_docs.py::test_relative_links_resolve`, tests/house/test_docs.py", []),
        ("`tests/house/test_docs.py::test_of_nothing`", ["tests/house/test_docs.py::test_of_nothing"]),
        ("`tests/house/test_docs.py::_leads_somewhere and tests/nowhere.py.`", ["tests/nowhere.py"]),
        ("`tests/nowhere.py::test_it` of others/tests/x.py", ["tests/nowhere.py::test_it"]),
    ],
)
def test_the_search_for_missing_tests_finds_them_and_only_them(markdown: str, missing: list[str]) -> None:
    assert _missing_tests(markdown) == missing


def test_the_index_lists_every_decision_under_its_title() -> None:
    index = INDEX_ROW.findall((ADRS / "README.md").read_text("utf-8"))
    titles = [path.read_text("utf-8").partition("\n")[0] for path in _adrs()]

    assert [file for _, file, _ in index] == [path.name for path in _adrs()]
    assert [f"# {number} {title}" for number, _, title in index] == titles


def test_decisions_are_numbered_without_a_gap() -> None:
    assert [int(path.name[:4]) for path in _adrs()] == list(range(1, len(_adrs()) + 1))


@pytest.mark.parametrize("path", [*_adrs(), ADRS / "template.md"], ids=lambda path: path.stem)
def test_a_decision_says_what_it_costs_and_how_to_see_that_it_is_wrong(path: Path) -> None:
    headings = re.findall(r"^## (.+)$", path.read_text("utf-8"), re.MULTILINE)

    assert [heading for heading in headings if heading in SECTIONS] == SECTIONS
