"""Real Chromium for tests: Debian's, unpacked with the libraries and fonts that this machine has not; no window."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, async_playwright

from tests.debian import this_release, unpacked

PACKAGES = ("chromium", "fonts-liberation")
_FLAGS = (
    "--no-sandbox",  # it has no setuid helper where it is unpacked, and sees our own page only
    "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
_FAMILIES = ("system-ui", "sans-serif", "sans")
_ALIAS = "<alias><family>{}</family><prefer><family>Liberation Sans</family></prefer></alias>"
_FONTS = '<?xml version="1.0"?><fontconfig><dir>{fonts}</dir><cachedir>{cache}</cachedir>{aliases}</fontconfig>'


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Raises MissingError."""
    root = unpacked(this_release(), *PACKAGES, needs=True)
    with tempfile.TemporaryDirectory() as folder:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=root / "usr/lib/chromium/chromium",
                args=list(_FLAGS),
                env=_environ(root, Path(folder)),
            )
            yield browser
            await browser.close()


def _environ(root: Path, folder: Path) -> dict[str, str | float | bool]:
    """Its own libraries, and its own fonts: a screenshot is the same on any machine."""
    config = folder / "fonts.conf"
    aliases = "".join(map(_ALIAS.format, _FAMILIES))
    text = _FONTS.format(fonts=root / "usr/share/fonts", cache=folder / "fonts", aliases=aliases)
    config.write_text(text, "utf-8")
    libraries = sorted({str(path.parent) for path in (root / "usr/lib").rglob("*.so*")})
    inherited = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    return {**inherited, "LD_LIBRARY_PATH": ":".join(libraries), "FONTCONFIG_FILE": str(config)}
