"""What the rules of the house are checked on: the files that are, or could be, committed."""

from __future__ import annotations

import ast
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STREAMS = ROOT / "streams"


def tracked() -> list[Path]:
    """Files that git has or would take. Skips where there is no clone (a source archive)."""
    if not shutil.which("git") or not (ROOT / ".git").exists():
        pytest.skip("not a git clone: what is committed is not known")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    files = [ROOT / name for name in names if name and (ROOT / name).is_file()]
    assert len(files) > 30
    return files


def text(path: Path) -> str:
    """A file's text; empty for one that is not text."""
    content = path.read_bytes()
    return "" if b"\0" in content[:8192] else content.decode("utf-8", "replace")


def modules(folder: Path = STREAMS) -> list[Path]:
    """Python files below a folder that hold anything."""
    found = [path for path in sorted(folder.rglob("*.py")) if path.stat().st_size]
    assert found
    return found


def imports(path: Path) -> Iterator[str]:
    """Full names of what a module imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
