"""Pictures of workers as one: rates add up, what has a name stands once, who is gone is not counted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streams.console import merge
from streams.console.fleet import GONE_SECONDS, MOST_WORKERS, Fleet
from streams.console.models import Counts, Eni, Found, Picture, Point, Port, Rates, Talker
from streams.console.picture import encode

NOW = 2000.0


def picture(name: str = "a", **more: object) -> Picture:
    return replace(Picture(name, NOW - 1, ready=True, reason="ready"), **more)  # type: ignore[arg-type]  # a test's own


def found(name: str, severity: str = "low", last: int = 100) -> Found:
    return Found(name, "port-scan", severity, "s", 40, last, 7, "eni-1", None, None, None, {})


def test_rates_of_workers_add_up_and_who_knows_none_says_nothing() -> None:
    pictures = [picture("a", rates=Rates(1, 10, 1, 0)), picture("b"), picture("c", rates=Rates(2, 20, 1, 1))]

    told = merge.overview(pictures, NOW)

    assert told.rates == Rates(3, 30, 2, 1)
    assert [(one.instance, one.age_seconds) for one in told.workers] == [("a", 1), ("b", 1), ("c", 1)]


def test_nobody_is_not_ready_and_no_rate_is_known() -> None:
    told = merge.overview([], NOW)

    assert (told.ready, told.rates, told.history, told.workers) == (False, None, (), ())


def test_the_fleet_is_ready_when_all_workers_are() -> None:
    pictures = [picture("a"), picture("b", ready=False, reason="recovering tables")]

    assert merge.overview(pictures[:1], NOW).ready
    assert not merge.overview(pictures, NOW).ready


def test_histories_add_up_moment_by_moment_as_far_as_all_have_told() -> None:
    # a: 10  15  20
    # b:     15  20  25
    one, other = (
        [Point(at, Rates(1, size, 1, 0)) for at in range(first, first + 15, 5)] for first, size in ((10, 1), (15, 5))
    )

    told = merge.overview([picture("a", history=tuple(one)), picture("b", history=tuple(other))], NOW)

    assert [(point.epoch, point.rates.bytes) for point in told.history] == [(10, 1), (15, 6), (20, 6)]


def test_what_many_workers_have_is_added_up_and_its_histories_end_together() -> None:
    pictures = [
        picture("a", enis=(Eni("other", 5, 2, 1, (1, 2, 3)), Eni("eni-1", 9, 1, 0))),
        picture("b", enis=(Eni("other", 6, 2, 0, (10, None)),)),
    ]

    told = merge.enis(pictures)

    assert told.enis == (Eni("other", 11, 4, 1, (1, 12, 3)), Eni("eni-1", 9, 1, 0))


def test_tops_are_cut_again_and_in_order() -> None:
    pictures = [
        picture(name, ports=tuple(Port(f"{name}{place}", "", place, 1, 0) for place in range(50, 0, -1)))
        for name in ("a", "b")
    ]

    told = merge.ports(pictures)

    assert len(told.ports) == 50
    assert [one.port for one in told.ports[:3]] == ["a50", "b50", "a49"]


def test_a_finding_that_two_workers_tell_is_one_and_the_worst_come_first() -> None:
    pictures = [
        picture("a", findings=(found("1"), found("2", "critical", 50)), open={"critical": 1, "low": 1}),
        picture("b", findings=(found("1"), found("3", "low", 200)), open={"low": 1, "high": 1}),
    ]

    told = merge.findings(pictures)

    assert [one.id for one in told.findings] == ["2", "3", "1"]
    assert list(told.open.items()) == [("critical", 1), ("high", 1), ("low", 2)]
    assert told.detectors["port-scan"].runbook


def test_talkers_are_of_the_latest_minute_and_each_conversation_stands_once() -> None:
    def row(client: str, size: int) -> Talker:
        return Talker(client, "s", "443/tcp", "https", size, 1, 0)

    pictures = [
        picture("a", talked=120, talkers=(row("x", 5), row("y", 7))),
        picture("b", talked=120, talkers=(row("x", 9),)),
        picture("c", talked=60, talkers=(row("old", 99),)),
    ]

    told = merge.talkers(pictures)

    assert (told.minute, [(one.client, one.bytes) for one in told.talkers]) == (120, [("x", 9), ("y", 7)])
    assert merge.talkers([picture()]).minute is None


def test_health_is_of_all_together_and_of_the_worst_checkpoint() -> None:
    pictures = [
        picture("a", counts=Counts(lag={"raw": 1}, folded=10, tabled=4), watermark=1900, checkpoints={"roll": 1990.0}),
        picture("b", counts=Counts(lag={"raw": 2}, tabled=5, late=3), watermark=1950, checkpoints={"roll": 1900.0}),
    ]

    told = merge.health(pictures, NOW)

    assert (told.counts.lag, told.counts.late, told.conservation_difference) == ({"raw": 3}, 3, 1)
    assert (told.watermark_age_seconds, told.checkpoint_age_seconds) == (50, {"roll": 100})
    assert merge.health([picture()], NOW).watermark_age_seconds is None


# -- who is there -----------------------------------------------------------------------------------------------------


def fleet(*pictures: Picture) -> Fleet:
    made = Fleet("127.0.0.1:1", {}, "t")
    for one in pictures:
        made.take(one.instance.encode(), encode(one))
    return made


def test_a_worker_that_told_nothing_for_half_a_minute_is_gone() -> None:
    made = fleet(picture("a", epoch=NOW), picture("b", epoch=NOW - GONE_SECONDS + 1))

    assert [one.instance for one in made.pictures(NOW)] == ["a", "b"]
    assert [one.instance for one in made.pictures(NOW + 2)] == ["a"]


def test_an_older_picture_does_not_replace_a_newer_one() -> None:
    made = fleet(picture(reason="new"), picture(reason="old", epoch=NOW - 10))

    assert [one.reason for one in made.pictures(NOW)] == ["new"]


def test_a_worker_that_says_goodbye_is_gone_at_once() -> None:
    made = fleet(picture("a"), picture("b"))
    made.take(b"a", None)
    made.take(b"\xff", None)

    assert [one.instance for one in made.pictures(NOW)] == ["b"]


@pytest.mark.parametrize("value", [b"", b"\xff", b"[]", b'{"instance": 1}', b"null"])
def test_what_is_no_picture_is_passed_over(value: bytes) -> None:
    made = fleet(picture())
    made.take(b"a", value)

    assert len(made.pictures(NOW)) == 1


def test_a_picture_of_another_release_is_passed_over() -> None:
    assert fleet(picture(version=2)).pictures(NOW) == []


def test_workers_are_bounded() -> None:
    made = fleet(*(picture(str(place)) for place in range(MOST_WORKERS + 1)))

    assert len(made.pictures(NOW)) == MOST_WORKERS
