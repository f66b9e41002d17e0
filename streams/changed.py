"""Files that are read again when they change."""

from __future__ import annotations

from pathlib import Path

State = tuple[int, int, int] | None


def state(file: Path | None) -> State:
    """What changes when a file does. None: there is none."""
    try:
        found = file.stat() if file else None
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size, found.st_ino) if found else None
