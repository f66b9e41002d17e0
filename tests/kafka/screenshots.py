"""`make screenshots`: the console's picture in docs/img, of generated traffic and real detectors. Takes six minutes."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import orjson

from tests.kafka.chromium import chromium
from tests.kafka.process import Vpcflow, until

TARGET = Path(__file__).parents[2] / "docs/img/console.png"
_SECONDS = 600.0
_VIEW = {"width": 1280, "height": 1150}


def _is_full(console: Vpcflow) -> bool:
    """Five minutes of curves, findings and talkers."""
    overview, talkers = (orjson.loads(console.get(f"/api/v1/{part}")[1]) for part in ("overview", "talkers"))
    return len(overview["history"]) >= 55 and len(overview["open"]) > 1 and bool(talkers["talkers"])


async def main() -> None:
    """Take it."""
    with Vpcflow("up", "--rate", "500") as console:
        await until("there is something to see", partial(_is_full, console), _SECONDS)
        async with chromium() as browser:
            page = await browser.new_page(viewport=_VIEW)  # type: ignore[arg-type]  # a dict of the two is what it wants
            await page.goto(console.url)
            await page.locator("#talkers td.number").first.wait_for()
            await page.screenshot(path=TARGET)
    print(f"{TARGET}: {TARGET.stat().st_size:,} bytes")


if __name__ == "__main__":
    asyncio.run(main())
