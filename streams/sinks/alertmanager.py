"""Open findings as Prometheus Alertmanager's alerts (API v2), sent again and again while they are open.

An alert that is not sent any more ends by itself: nothing has to be remembered, and a worker that was killed leaves no
alert behind that nobody closes. The labels are what the finding is about: they tell alerts apart.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

import aiohttp
import orjson

from streams.core.findings import SEVERITIES, Finding
from streams.detectors.registry import BY_NAME

log = logging.getLogger(__name__)

_PATH = "/api/v2/alerts"
_LASTING = 3
"""Rounds that may fail until an alert ends."""
_ANSWER_SECONDS = 10.0


def alerts(findings: Sequence[Finding], now: datetime, seconds: float) -> list[dict[str, Any]]:
    """As the API takes them; each ends `seconds` later, unless it is sent again."""
    ends = _time(now + timedelta(seconds=seconds))
    return [
        {
            "labels": {name: str(value) for name, value in _labels(one).items() if value is not None},
            "annotations": {
                "summary": one.sentence, "description": BY_NAME[one.detector].explanation,
                "runbook": BY_NAME[one.detector].runbook, "finding": one.id, "count": str(one.count),
            },
            "startsAt": _time(datetime.fromtimestamp(one.first, UTC)),
            "endsAt": ends,
        }
        for one in findings
    ]  # fmt: skip


def _labels(one: Finding) -> dict[str, object]:
    return {
        "alertname": one.detector.title().replace("-", ""), "detector": one.detector,
        "severity": SEVERITIES[one.severity], "eni": one.eni, "source": one.source, "target": one.target,
        "port": one.port, "protocol": one.protocol,
    }  # fmt: skip


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


async def push(
    url: str, seconds: float, findings: Callable[[], Sequence[Finding]], pushed: Callable[[str], None]
) -> None:
    """Send what `findings` gives to the Alertmanager at `url`, every so many seconds. pushed: told `ok` or `error`.

    A failure is told once, until the reason changes or it works again: the next round says the same alerts.
    """
    told = ""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_ANSWER_SECONDS)) as session:
        while True:
            problem = await _post(session, url, alerts(findings(), datetime.now(UTC), _LASTING * seconds))
            pushed("error" if problem else "ok")
            if problem and problem != told:
                log.warning("Alertmanager at %s did not take the findings: %s", url, problem)
            told = problem
            await asyncio.sleep(seconds)


async def _post(session: aiohttp.ClientSession, url: str, given: Sequence[dict[str, Any]]) -> str:
    """What went wrong; empty: nothing, or there was nothing to say."""
    if not given:
        return ""
    headers = {"Content-Type": "application/json"}
    try:
        async with session.post(url.rstrip("/") + _PATH, data=orjson.dumps(given), headers=headers) as answer:
            return "" if answer.status == HTTPStatus.OK else f"{answer.status} {(await answer.text())[:200]}"
    except (aiohttp.ClientError, TimeoutError, OSError) as problem:
        return " ".join(str(problem).split()) or "no answer in time"
