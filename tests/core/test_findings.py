"""Findings: what is seen again and again is one episode, and has the same id whoever sees it."""

from __future__ import annotations

from typing import Any

import polars as pl

from streams.core.findings import HITS, MOST_HITS, Episodes, finding_id

HIT: dict[str, Any] = {
    "eni": "eni-0a", "source": "192.0.2.1", "target": None, "port": None, "protocol": None,
    "severity": 2, "first": 100, "last": 130, "count": 5, "sentence": "seen", "evidence": "{}",
}  # fmt: skip


def hits(*changes: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame([HIT | change for change in changes], schema=HITS)


def test_what_is_seen_again_is_the_same_finding() -> None:
    """It has the first time, the last, and the worst severity; it was detected when it was told first."""
    episodes = Episodes("port-scan", cool_down=600)
    [first] = episodes.update(hits({}), 160)
    [again] = episodes.update(hits({"first": 170, "last": 190, "severity": 1, "count": 2, "sentence": "more"}), 220)

    assert first.id == again.id == finding_id("port-scan", first.about, 100)
    assert (again.first, again.last, again.detected, again.severity) == (100, 190, 160, 2)
    assert (again.count, again.updates, again.sentence) == (7, 2, "more")


def test_one_that_is_not_seen_for_its_cool_down_closes_and_another_begins() -> None:
    # 0       100-130      730   731       800
    #         [ first )  open | closed     [ second
    episodes = Episodes("port-scan", cool_down=600)
    [first] = episodes.update(hits({}), 160)

    assert episodes.update(hits(), 730) == []
    [closed] = episodes.update(hits(), 731)
    assert (closed.id, closed.closed) == (first.id, True)
    [second] = episodes.update(hits({"first": 800, "last": 800}), 860)
    assert second.id != first.id
    assert not second.closed


def test_what_is_about_something_else_is_another_finding() -> None:
    found = Episodes("port-scan", cool_down=600).update(hits({}, {"source": "192.0.2.2"}, {"port": 22}), 160)

    assert len({one.id for one in found}) == 3


def test_only_so_many_are_open_and_the_rest_is_counted() -> None:
    episodes = Episodes("port-scan", cool_down=600, limit=2)
    found = episodes.update(hits(*({"source": f"192.0.2.{n}"} for n in range(5))), 160)

    assert (len(found), episodes.over) == (2, 3)
    assert len(episodes.update(hits({"source": "192.0.2.0"}), 220)) == 1


def test_of_very_many_hits_in_a_minute_the_worst_are_taken_in_whatever_order_they_come() -> None:
    many = hits(*({"source": f"{n}", "severity": int(n == 1500), "count": n} for n in range(2 * MOST_HITS)))
    episodes = Episodes("flood", cool_down=600)
    found = episodes.update(many, 160)

    assert (len(found), episodes.over) == (MOST_HITS, MOST_HITS)
    assert found[0].source == "1500"
    assert Episodes("flood", cool_down=600).update(many.reverse(), 160) == found


def test_an_id_depends_on_all_that_tells_findings_apart() -> None:
    ids = {
        finding_id(detector, about, first)
        for detector in ("a", "b") for about in (("x", None), (None, "x")) for first in (1, 2)
    }  # fmt: skip

    assert len(ids) == 8
    assert all(len(one) == 32 for one in ids)
