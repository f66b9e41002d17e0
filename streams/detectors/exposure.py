"""Exposure: a port for administrators or a database that answers the Internet."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from streams.core.contacts import TCP
from streams.core.detection import Detected, Detector, Memory, Minute, setting
from streams.detectors.common import hits, is_inbound, severity
from streams.detectors.examples import INSIDE, PUBLIC, answered, fires, quiet, refused

ADMIN = (22, 23, 135, 139, 445, 2375, 2376, 2379, 3389, 5800, 5900, 5985, 5986, 6443, 10250)
DATABASES = (1433, 1521, 2181, 3306, 5432, 6379, 9042, 9092, 9200, 9300, 11211, 27017, 27018, 50000)


@dataclass(frozen=True)
class Settings:
    """TCP ports that no public address should get an answer from."""

    admin: tuple[int, ...] = setting(ADMIN, "ports of administrators")
    databases: tuple[int, ...] = setting(DATABASES, "ports of databases and brokers")


def _detect(minute: Minute, memory: Memory, settings: Settings) -> Detected:
    found = minute.talks.filter(
        (pl.col("protocol") == TCP) & pl.col("port").is_in([*settings.admin, *settings.databases])
        & is_inbound() & minute.outside("client") & (pl.col("rejected") < pl.col("flows"))
        & (pl.col("replies") > pl.col("refusals") + pl.col("reply_rejected"))
    ).sort("flows", "client", descending=[True, False]).group_by(
        "eni", pl.col("server").alias("target"), "port", "protocol", maintain_order=True
    ).agg(
        pl.col("flows").sum().alias("count"), pl.col("reply_bytes").sum(), pl.col("client").n_unique().alias("clients"),
        pl.col("client").first().alias("busiest"), pl.col("first").min(), pl.col("last").max(),
    ).with_columns(severity("high").alias("severity"))  # fmt: skip
    sentence = pl.format(
        "port {} of {} answers the Internet: {} public addresses, {} the busiest, got {} bytes",
        "port", "target", "clients", "busiest", "reply_bytes",
    )  # fmt: skip
    return hits(found, sentence, "clients", "busiest", "reply_bytes"), memory


_OTHER_SIX = answered(1, "2001:db8::8", "2600:1f18::5", 443)
"""Between two public addresses, only a third one tells which is the interface's."""

EXPOSURE = Detector(
    name="exposure",
    title="A port for administrators or a database answers the Internet",
    attack=("T1133", "T1190"),
    explanation="Public addresses get answers from a port that only your own people and machines should reach.",
    runbook="Take the rule that lets the Internet in out of the security group; reach such ports through a bastion, a "
    "VPN or Session Manager.",
    settings=Settings(),
    detect=_detect,
    cool_down=86_400,
    examples=(
        fires("a database answers", answered(0, PUBLIC, INSIDE, 5432)),
        fires("a shell answers over IPv6", answered(0, "2001:db8::7", "2600:1f18::5", 22), _OTHER_SIX),
        quiet("inside", answered(0, "10.0.0.9", INSIDE, 5432)),
        quiet("refused", refused(0, PUBLIC, INSIDE, 5432)),
        quiet("accepted, but nothing listens", answered(0, PUBLIC, INSIDE, 22, size=(1, 44), reply=(1, 40))),
        quiet("a web server", answered(0, PUBLIC, INSIDE, 443)),
        quiet("a client inside of a database outside", answered(0, INSIDE, PUBLIC, 5432)),
    ),
)
