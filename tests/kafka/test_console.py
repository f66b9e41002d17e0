"""The console in a real browser, in front of real workers: what it says, by keyboard, in the dark, on a phone.

What the page is made of comes from flow logs that a stranger can write into: it is shown as text, and runs nowhere.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import orjson
import pytest
from playwright.async_api import Browser, Locator, Page, expect

from streams.core.raw import Origin, RawMessage, digest
from streams.names import Names
from tests.conftest import missing
from tests.debian import MissingError
from tests.kafka.chromium import chromium
from tests.kafka.findings import environ, watched_to
from tests.kafka.process import Vpcflow, until
from tests.kafka.refusing import DATABASE, ENI, FORMAT, HOST, MINUTES, SCANNER, refusing
from tests.kafka.sending import publish

T0 = 1_700_000_040
END = T0 + 60 * MINUTES
HOSTILE = "<img/src=x/onerror=alert(document.domain)>"
SCAN = f"{SCANNER} tried 12 ports of {HOST}"
_PATIENCE_MS = 20_000
"""A picture is five seconds old at the most when it is told, and ten when it is seen."""

expect.set_options(timeout=_PATIENCE_MS)
_WATCH = "addEventListener('securitypolicyviolation', (event) => console.error('CSP', event.violatedDirective));"
_PHONE_WIDTH = 390


@dataclass
class Seen:
    """What a page did besides being shown."""

    complaints: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """Skips where there is no Chromium to be had."""
    try:
        async with chromium() as found:
            yield found
    except MissingError as error:
        missing(error)


async def opened(browser: Browser, url: str, **options: Any) -> tuple[Page, Seen]:
    """A page of its own; its complaints are those of the console, of scripts and of the content security policy."""
    page = await browser.new_page(**options)
    seen = Seen()
    page.on("console", lambda message: seen.complaints.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    page.on("dialog", lambda dialog: seen.complaints.append(f"dialog: {dialog.message}"))
    page.on("request", lambda request: seen.hosts.add(urlsplit(request.url).netloc))
    await page.add_init_script(_WATCH)
    await page.goto(url)
    return page, seen


def told(worker: Vpcflow) -> Any:
    """Its overview."""
    return orjson.loads(worker.get("/api/v1/overview")[1])


def knows_both(worker: Vpcflow) -> bool:
    """Whether a worker sees two that have looked twice: from then on traffic is a rate."""
    workers = told(worker)["workers"]
    return len(workers) == 2 and all(one["rates"] is not None for one in workers)


def hostile() -> RawMessage:
    """A record whose interface has a name that somebody made up, refused."""
    at = END + 8000
    text = f"{HOSTILE} 192.0.2.66 10.0.0.66 40000 23 6 9 900 {at} {at + 59} REJECT ingress".encode()
    return RawMessage(text, Origin("file", "g", "0", digest(text)), 1000 * (at + 70), FORMAT)


def cells(page: Page, table: str) -> Locator:
    """Of its body."""
    return page.locator(f"#{table} tbody td")


async def test_the_page_of_one_worker_shows_the_fleet_to_whoever_looks(
    apache_kafka: str, browser: Browser, tmp_path: Path
) -> None:
    names = Names(f"console-{uuid4().hex[:8]}")
    tokens = tmp_path / "tokens"
    tokens.write_text("sesame\n")
    given, then = refusing(T0)
    arguments = "worker", "--broker", f"kafka://{apache_kafka}"
    guarded = environ(names, VPCFLOW_CONSOLE__TOKEN_FILE=str(tokens))

    with Vpcflow(*arguments, environ=environ(names)) as one, Vpcflow(*arguments, environ=guarded) as other:
        await until("both workers know both", partial(knows_both, one))
        await publish(apache_kafka, names, [*given, hostile(), *then])
        await until("all minutes are closed", lambda: watched_to(one, END) or watched_to(other, END))
        page, seen = await opened(browser, one.url)
        await _says_what_there_is(page)
        await _opens_a_finding_by_keyboard(page)
        await _sorts_by_keyboard(page)
        await _answers_who_reaches_whom(page)
        await _fits_a_phone(page)
        await _is_dark_where_that_is_wanted(page)
        assert seen.complaints == []
        assert seen.hosts == {urlsplit(one.url).netloc}
        await _complains_of_what_the_policy_forbids(page, seen)
        await _asks_for_the_token(browser, other)


async def _says_what_there_is(page: Page) -> None:
    await expect(page.locator("#state")).to_have_text("ready: 2 workers")
    await expect(page.locator("#workers tbody tr")).to_have_count(2)
    await expect(cells(page, "enis").get_by_text(ENI)).to_be_visible()
    await expect(cells(page, "refused-enis").get_by_text(HOSTILE, exact=True)).to_be_visible()
    await expect(cells(page, "ports").get_by_text("5432/tcp")).to_be_visible()
    await expect(cells(page, "refused-ports").get_by_text("telnet")).to_be_visible()
    await expect(cells(page, "talkers").get_by_text(HOST).first).to_be_visible()
    await expect(page.locator("#tiles")).to_contain_text("open findings")
    await expect(page.locator("#flows-chart canvas")).to_be_visible()
    await expect(page.locator("#flows-chart")).to_have_attribute("aria-label", re.compile(r"accepted, .* refused"))
    await expect(page.locator("#health")).to_contain_text("checkpoint of detect")
    assert await page.locator("td img").count() == 0


async def _opens_a_finding_by_keyboard(page: Page) -> None:
    """And it stays open, with the focus on it, when new figures come."""
    item = page.locator("#findings li", has_text=DATABASE)
    await expect(item.locator("dl").first).to_be_hidden()
    await item.locator("summary").focus()
    await page.keyboard.press("Enter")
    await expect(item).to_contain_text("What to do")
    await expect(item.get_by_role("heading", name="Evidence")).to_be_visible()
    asked = page.expect_response("**/api/v1/findings")
    async with asked:
        pass
    await expect(item.locator("dl").first).to_be_visible()
    await expect(item.locator("summary")).to_be_focused()


async def _sorts_by_keyboard(page: Page) -> None:
    head = page.locator("#refused-ports th", has_text="port").first
    await head.get_by_role("button").focus()
    await page.keyboard.press("Enter")
    await expect(head).to_have_attribute("aria-sort", "ascending")
    first = await page.locator("#refused-ports tbody td:first-child").all_text_contents()
    await page.keyboard.press("Enter")
    await expect(head).to_have_attribute("aria-sort", "descending")
    assert len(first) > 1
    assert await page.locator("#refused-ports tbody td:first-child").all_text_contents() == first[::-1]


async def _answers_who_reaches_whom(page: Page) -> None:
    answer = page.locator("#reach-answer")
    for a, b, said in ((HOST, DATABASE, DATABASE), (HOSTILE, "", HOSTILE), ("10.0.0", "", "Nothing here names 10.0.0")):
        await page.get_by_label("A", exact=True).fill(a)
        await page.get_by_label("B", exact=True).fill(b)
        await page.keyboard.press("Enter")
        await expect(answer).to_contain_text(said)


async def _fits_a_phone(page: Page) -> None:
    await page.set_viewport_size({"width": _PHONE_WIDTH, "height": 844})
    await expect(page.locator("#enis th", has_text="5 min")).to_be_hidden()
    assert await page.evaluate("document.documentElement.scrollWidth") == _PHONE_WIDTH


async def _is_dark_where_that_is_wanted(page: Page) -> None:
    shades = []
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme=scheme)
        shade = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        shades.append(sum(map(int, re.findall(r"\d+", shade))))
    light, dark = shades
    assert (light > 600, dark < 150) == (True, True)


async def _complains_of_what_the_policy_forbids(page: Page, seen: Seen) -> None:
    """So that a page without complaints means something."""
    await page.evaluate("document.body.append(Object.assign(document.createElement('script'), {text: 'alert(1)'}))")
    await page.evaluate("document.body.setAttribute('style', 'color: red')")
    await expect(page.locator("body")).not_to_have_css("color", "rgb(255, 0, 0)")
    assert any(line.startswith("error: CSP script-src") for line in seen.complaints)
    assert not any("dialog" in line for line in seen.complaints)


async def _asks_for_the_token(browser: Browser, worker: Vpcflow) -> None:
    """Refused without it, and with a wrong one; kept for the tab."""
    assert (await asyncio.to_thread(worker.get, "/api/v1/findings"))[0] == 401
    page, _ = await opened(browser, worker.url)
    field = page.get_by_label("Token")
    await expect(page.locator("main")).to_be_hidden()
    for token in ("wrong", "sesame"):
        await field.fill(token)
        await page.keyboard.press("Enter")
        await expect(field).to_have_value("")
        if token == "wrong":
            await expect(page.get_by_text("That token is not valid.")).to_be_visible()
    await expect(page.locator("#workers tbody tr")).to_have_count(2)
    await page.reload()
    await expect(page.locator("#state")).to_have_text("ready: 2 workers")


async def test_who_runs_no_worker_says_where_the_console_is(apache_kafka: str) -> None:
    names = Names(f"console-{uuid4().hex[:8]}")
    arguments = "--broker", f"kafka://{apache_kafka}"
    off = environ(names, VPCFLOW_CONSOLE__ENABLED="false")

    with Vpcflow("ingest", *arguments, environ=environ(names)) as ingest:
        assert await asyncio.to_thread(ingest.get, "/") == (404, "the console is at / of each worker\n")
    with Vpcflow("worker", *arguments, environ=off) as worker:
        assert await asyncio.to_thread(worker.get, "/") == (404, "the console is off (console.enabled)\n")
        assert (await asyncio.to_thread(worker.get, "/api/v1/overview"))[0] == 404


async def test_beyond_loopback_without_a_token_is_told(apache_kafka: str) -> None:
    names = Names(f"console-{uuid4().hex[:8]}")
    arguments = "worker", "--broker", f"kafka://{apache_kafka}"

    with Vpcflow(*arguments, environ=environ(names), listen="0.0.0.0:0") as open_worker:
        told = open_worker.printed()

    assert "no console token: anybody who reaches it can look" in told
