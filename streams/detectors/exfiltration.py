"""Exfiltration: far more goes out to one address of the Internet than this interface sends to any."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from streams.core import keyed
from streams.core.detection import Detected, Detector, Memory, Minute, setting
from streams.core.findings import no_hits
from streams.detectors.common import hits, is_inbound, is_outbound, severity
from streams.detectors.examples import INSIDE, PUBLIC, answered, fires, quiet
from streams.detectors.memory import kept

PEERS = {
    "eni": pl.String, "target": pl.String, "sent": pl.Float64, "received": pl.Float64, "day": pl.Float64,
    "most": pl.Float64, "most_day": pl.Float64, "began": pl.Int64, "at": pl.Int64,
}  # fmt: skip
"""sent, day: bytes that fade by the hour, by the day. most, most_day: the most they were, findings left out."""
_KEY = ["eni", "target"]
_HOUR, _DAY = 3600, 86_400
_MIB = 1024 * 1024
_LITTLE = 0.01
"""Of `sent`: when no more is left of what was sent, what is sent next begins anew."""


@dataclass(frozen=True)
class Settings:
    """What was sent fades: half of it within an hour, and of the longer sum within a day."""

    sent: int = setting(300 * _MIB, "bytes to one address, in an hour or so")
    sent_day: int = setting(1024 * _MIB, "bytes to one address, in a day or so")
    ratio: float = setting(3.0, "times what came back")
    habit: float = setting(3.0, "times what the interface sends at most to each of two other addresses")
    learning_seconds: int = setting(3600, "before anything is said of an interface")
    peers: int = setting(50_000, "addresses known at most")


def _sent(minute: Minute) -> pl.DataFrame:
    """Bytes by peer, whoever opened the connection."""
    out = minute.talks.filter(is_outbound() & minute.outside("server")).select(
        "eni", pl.col("server").alias("target"), pl.col("client").alias("source"), "port", "protocol",
        pl.col("bytes").alias("out"), pl.col("reply_bytes").alias("back"), "flows", "first", "last",
    )  # fmt: skip
    served = minute.talks.filter(is_inbound() & minute.outside("client")).select(
        "eni", pl.col("client").alias("target"), pl.col("server").alias("source"), "port", "protocol",
        pl.col("reply_bytes").alias("out"), pl.col("bytes").alias("back"), "flows", "first", "last",
    )  # fmt: skip
    return pl.concat([out, served])


def _summed(sent: pl.DataFrame) -> pl.DataFrame:
    sums = pl.col("out", "back", "flows").sum()
    return keyed.grouped(sent, _KEY, sums, pl.col("first").min(), pl.col("last").max())


def _with_most(found: pl.DataFrame, sent: pl.DataFrame) -> pl.DataFrame:
    """With source, port and protocol of what sent most."""
    mine = keyed.semi(sent, found, _KEY).sort("out", "port", "source", descending=[True, False, False])
    most = mine.group_by(_KEY, maintain_order=True).agg(pl.col("source", "port", "protocol").first())
    return keyed.joined(found, most, _KEY)


def _detect(minute: Minute, memory: Memory, settings: Settings) -> Detected:
    sent = _sent(minute)
    if not sent.height:
        return no_hits(), memory
    now = keyed.joined(_summed(sent), memory["peers"], _KEY)
    age = (minute.start - pl.col("at")).fill_null(0)
    faded = {seconds: 0.5 ** (age / seconds) for seconds in (_HOUR, _DAY)}
    little = pl.col("day") * faded[_DAY] < _LITTLE * settings.sent
    now = now.with_columns(
        (pl.col("sent").fill_null(0.0) * faded[_HOUR] + pl.col("out")).alias("sent"),
        (pl.col("received").fill_null(0.0) * faded[_DAY] + pl.col("back")).alias("received"),
        (pl.col("day").fill_null(0.0) * faded[_DAY] + pl.col("out")).alias("day"),
        pl.when(little).then("first").otherwise("began").fill_null(pl.col("first")).alias("began"),
        pl.lit(minute.start, dtype=pl.Int64).alias("at"),
    )
    much = now.filter((pl.col("sent") >= settings.sent) | (pl.col("day") >= settings.sent_day))
    judged = _with_habits(much, memory["peers"]).join(minute.contacts.enis, on="eni", maintain_order="left")
    found = _with_most(judged.filter(_is_one(minute, settings)), sent)
    return _hits(found), {"peers": _learnt(memory["peers"], now, found, minute, settings)}


def _with_habits(now: pl.DataFrame, peers: pl.DataFrame) -> pl.DataFrame:
    """With `habit`, `habit_day`: what the interface sends at most to each of two other addresses than the row's.

    To two, for one may have been an incident that came before anything could be told of the interface.
    """
    mine = peers.join(now, on="eni", how="semi")
    for name, most in (("habit", "most"), ("habit_day", "most_day")):
        ranked = mine.sort(most, "target", descending=[True, False]).group_by("eni", maintain_order=True)
        tops = ranked.agg(
            pl.col("target").head(2).alias("tops"), pl.col(most).slice(1, 1).sum().alias("second"),
            pl.col(most).slice(2, 1).sum().alias("third"),
        )  # fmt: skip
        other = pl.when(pl.col("target").is_in(pl.col("tops"))).then("third").otherwise("second").fill_null(0.0)
        now = now.join(tops, on="eni", how="left", maintain_order="left").with_columns(other.alias(name))
        now = now.drop("tops", "second", "third")
    return now


def _is_one(minute: Minute, settings: Settings) -> pl.Expr:
    learnt = minute.start - pl.col("since") >= settings.learning_seconds
    fast = (pl.col("sent") >= settings.sent) & (pl.col("sent") > settings.habit * pl.col("habit"))
    slow = (pl.col("day") >= settings.sent_day) & (pl.col("day") > settings.habit * pl.col("habit_day"))
    return learnt & (fast | slow) & (pl.col("day") > settings.ratio * pl.col("received"))


def _learnt(
    peers: pl.DataFrame, now: pl.DataFrame, found: pl.DataFrame, minute: Minute, settings: Settings
) -> pl.DataFrame:
    told = found.select(*_KEY, pl.lit(value=True).alias("told"))
    usual = keyed.joined(now, told, _KEY).with_columns(
        pl.when(pl.col("told").is_null()).then(pl.max_horizontal(most, of)).otherwise(most).fill_null(0.0).alias(most)
        for most, of in (("most", "sent"), ("most_day", "day"))
    )
    return kept(peers, usual, _KEY, minute.start - 28 * _DAY, settings.peers)


def _hits(found: pl.DataFrame) -> pl.DataFrame:
    mib = {name: (pl.col(name) / _MIB).round(1) for name in ("sent", "day", "habit", "habit_day")}
    sentence = pl.format(
        "{} sent {} MiB to {} in an hour or so, {} MiB in a day; to all others but one it is {} and {} MiB at most",
        "source", mib["sent"], "target", mib["day"], mib["habit"], mib["habit_day"],
    )  # fmt: skip
    rows = found.with_columns(
        severity("high").alias("severity"), pl.col("flows").alias("count"), pl.col("began").alias("first")
    )
    return hits(rows, sentence, "sent", "day", "received", "habit", "habit_day")


def _sends(at: int, peer: str, size: int) -> list[str]:
    return answered(at, INSIDE, peer, 443, size=(size // 1400, size), reply=(size // 4000, size // 80), seconds=30)


_ORDINARY = [_sends(60 * n, "203.0.113.1", _MIB) for n in range(62)]
"""An hour of little."""

EXFILTRATION = Detector(
    name="exfiltration",
    title="Far more goes out to one address than usual",
    attack=("T1041", "T1048"),
    explanation="An interface sends many times more to one address of the Internet than it sends to any other.",
    runbook="Find out which program sends, and who owns the address. A new backup or an export is the harmless case.",
    settings=Settings(),
    detect=_detect,
    memory={"peers": PEERS},
    examples=(
        fires("300 MiB at once after a quiet hour", *_ORDINARY, _sends(3700, PUBLIC, 300 * _MIB)),
        quiet("299 MiB", *_ORDINARY, _sends(3700, PUBLIC, 299 * _MIB)),
        fires(
            "slowly, 20 MiB every 10 minutes",
            *_ORDINARY, *(_sends(3600 + 600 * n, PUBLIC, 20 * _MIB) for n in range(80)),
        ),
        quiet("an interface that was not watched before", _sends(0, PUBLIC, 900 * _MIB)),
        fires(
            "after another one that came too early to be told", _sends(0, "203.0.113.9", 900 * _MIB), *_ORDINARY,
            _sends(7200, PUBLIC, 900 * _MIB),
        ),
        quiet("inside", *_ORDINARY, _sends(3700, "10.0.0.9", 900 * _MIB)),
        quiet(
            "as it does every hour",
            *_ORDINARY, *(_sends(600 * n, f"203.0.113.{n % 7}", 300 * _MIB) for n in range(30)),
            _sends(19_000, PUBLIC, 600 * _MIB),
        ),
    ),
)  # fmt: skip
