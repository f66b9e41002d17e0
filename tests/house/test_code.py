"""Rules for the code of the house, by reading it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.house.repo import ROOT, STREAMS, imports, modules, text, tracked

IMPURE = {
    "aiohttp", "aiokafka", "asyncio", "concurrent", "faust", "logging", "mode", "os", "pathlib", "prometheus_client",
    "random", "socket", "subprocess", "threading", "time",
}  # fmt: skip

REGISTRIES = [
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("repo", "maven", "apache", "org"),
        ("repo1", "maven", "org"),
        ("proxy", "golang", "org"),
        ("deb", "debian", "org"),
        ("docker", "io"),
    )
]
"""Hosts of package registries, in pieces: this file is read as well."""

MACHINE_PATHS = re.compile(r"(?<![\w.$}])/(?:wor[k]|roo[t]|hom[e]|User[s]|opt/wheel[s])/")
"""Folders of one machine, written so that this line is none itself."""


def _rooms(name: str) -> list[str]:
    return [str(path.relative_to(STREAMS)) for path in modules() if name in {_top(i) for i in imports(path)}]


def _top(name: str) -> str:
    return name.partition(".")[0]


@pytest.mark.parametrize("library", ["faust", "mode"])
def test_faust_is_imported_in_agents_and_app_only(library: str) -> None:
    outside = [name for name in _rooms(library) if not name.startswith("agents/") and name != "app.py"]

    assert outside == []


def test_faust_is_imported_somewhere() -> None:
    assert _rooms("faust")


def test_the_core_imports_nothing_that_waits_looks_or_talks() -> None:
    found = {
        str(path.relative_to(STREAMS)): impure
        for path in modules(STREAMS / "core")
        if (impure := {_top(name) for name in imports(path)} & IMPURE)
    }

    assert found == {}


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(STREAMS)))
def test_a_file_opens_with_its_rule(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))

    assert (ast.get_docstring(tree) or "").strip()


def test_no_file_names_a_package_registry() -> None:
    found = [(str(path.relative_to(ROOT)), host) for path in tracked() for host in REGISTRIES if host in text(path)]

    assert found == []


def test_no_file_names_a_path_of_the_machine_it_was_written_on() -> None:
    found = [
        (str(path.relative_to(ROOT)), hit.group()) for path in tracked() for hit in MACHINE_PATHS.finditer(text(path))
    ]

    assert found == []


@pytest.mark.parametrize("line", ["see /work" + "/main", "/home" + "/me/x", '"/root' + '/y"'])
def test_the_search_for_machine_paths_finds_one(line: str) -> None:
    assert MACHINE_PATHS.search(line)


@pytest.mark.parametrize("line", ["https://x.org/home" + "/", "a/work" + "/b", "$HOME/x", "../work" + "/x"])
def test_the_search_for_machine_paths_leaves_others_alone(line: str) -> None:
    assert not MACHINE_PATHS.search(line)


def test_no_test_patches_anything() -> None:
    words = ("unittest" + ".mock", "mocker" + ".", "monkeypatch" + ".setattr(")

    assert _with_words(modules(ROOT / "tests"), words) == []


def test_only_what_asks_another_process_pauses_between_its_questions() -> None:
    asking = ("kafka", "chaos", "bench", "load")
    alone = [path for path in modules(ROOT / "tests") if path.relative_to(ROOT / "tests").parts[0] not in asking]

    assert alone
    assert _with_words(alone, ("time" + ".sleep(", "asyncio" + ".sleep(")) == []


def _with_words(paths: list[Path], words: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(str(path.relative_to(ROOT)), word) for path in paths for word in words if word in text(path)]


def test_every_exemption_from_a_linter_has_its_reason_on_its_line() -> None:
    lines = (ROOT / "pyproject.toml").read_text("utf-8").splitlines()
    exemptions = [line for line in lines if re.match(r'\s+"[A-Z]+\d*",', line)]
    relaxed = [
        line for line in lines if re.match(r"(ignore|follow|implicit|allow_untyped|disallow)\w* = (true|false)", line)
    ]

    assert len(exemptions) > 10
    assert [line for line in exemptions + relaxed if not re.search(r"# \S.{10,}", line)] == []
