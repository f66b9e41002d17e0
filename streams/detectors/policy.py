"""Policy: who may talk to whom, as you declared it, held against who does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import polars as pl

from streams.core import statuses
from streams.core.contacts import TCP, UDP, Contacts, Limits, failed
from streams.core.detection import Detected, Detector, Memory, Minute, setting
from streams.core.findings import ABOUT, no_hits
from streams.core.networks import Networks
from streams.detectors.common import hits, severity
from streams.detectors.examples import INSIDE, PUBLIC, answered, fires, quiet, refused

OUTSIDE = "outside"
"""The group of everything that is in no other, and no interface's own and no private address."""


@dataclass(frozen=True)
class Allow:
    """Clients of group `client` may reach group `server`. ports: first and last of each range, none: all. protocol:
    IANA's number, None: any.
    """

    client: str
    server: str
    ports: Sequence[tuple[int, int]] = ()
    protocol: int | None = TCP

    def __str__(self) -> str:
        """As people say it."""
        ports = (
            ", ".join(f"{first}-{last}" if last > first else str(first) for first, last in self.ports) or "all ports"
        )
        protocol = {TCP: "tcp", UDP: "udp", None: "any protocol"}.get(self.protocol, str(self.protocol))
        return f"{self.client} to {self.server}, {ports}, {protocol}"


@dataclass(frozen=True)
class Matrix:
    """groups: name -> CIDRs; an address is in the one with the longest prefix. protected: groups that nobody may reach
    but by a rule of `allow`.
    """

    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    allow: Sequence[Allow] = ()
    protected: Sequence[str] = ()

    def unused(self, talks: pl.DataFrame) -> list[Allow]:
        """The rules that none of these conversations (core.conversations.SCHEMA, directions told) needed and got an
        answer by: they can be taken out. Raises ValueError.
        """
        if not self.allow:
            return []
        minute = Minute.of(0, talks, Contacts.none().after(0, talks, Limits()), statuses.empty())
        answered_ones = _grouped(minute, self, self.networks()).filter((pl.col("flows") > 0) & ~failed())
        used = answered_ones.select(_allows(rule).any().alias(str(n)) for n, rule in enumerate(self.allow)).row(0)
        return [rule for rule, is_used in zip(self.allow, used, strict=True) if not is_used]

    def networks(self) -> Networks:
        """Labels are places in `groups`. Raises ValueError."""
        return Networks.of((text, label) for label, cidrs in enumerate(self.groups.values()) for text in cidrs)


@dataclass(frozen=True)
class Settings:
    """What is declared stands in a file of its own: `detection.policy`."""

    tries: bool = setting(False, "whether tries that failed are told too")  # noqa: FBT003 - its default


def with_matrix(matrix: Matrix) -> Detector:
    """The detector with what was declared."""
    return Detector(
        name="policy",
        title="Somebody reaches what your policy does not let them",
        attack=("T1021", "T1210"),
        explanation="A host got an answer from a group that your policy protects, and no rule of it allows that.",
        runbook="Take the way out of the security group, or put a rule for it into the policy, with its reason.",
        settings=Settings(),
        detect=partial(_detect, matrix, matrix.networks()),
        cool_down=86_400,
        examples=_EXAMPLES,
    )


def _detect(matrix: Matrix, networks: Networks, minute: Minute, memory: Memory, settings: Settings) -> Detected:
    if not matrix.protected:
        return no_hits(), memory
    talks = _grouped(minute, matrix, networks)
    told = pl.lit(value=True) if settings.tries else ~failed()
    wrong = talks.filter(
        (pl.col("flows") > 0) & pl.col("protocol").is_in([TCP, UDP]) & told
        & pl.col("to").is_in(list(matrix.protected)) & (pl.col("from") != pl.col("to")).fill_null(value=True)
        & ~_allowed(matrix)
    )  # fmt: skip
    found = wrong.rename({"client": "source", "server": "target"}).group_by(*ABOUT).agg(
        pl.col("from", "to").first(), pl.col("flows", "rejected", "bytes", "reply_bytes").sum(),
        pl.col("first").min(), pl.col("last").max(),
    )  # fmt: skip
    return _hits(found), memory


def _grouped(minute: Minute, matrix: Matrix, networks: Networks) -> pl.DataFrame:
    """With the groups of client (`from`) and server (`to`), null: of none."""
    talks = minute.talks
    addresses = pl.concat([talks.get_column("client"), talks.get_column("server")]).unique()
    names = pl.DataFrame({"label": range(len(matrix.groups)), "group": list(matrix.groups)}, schema=_NAMES)
    groups = networks.look_up(addresses).join(names, on="label").select("address", "group")
    for side, name in (("client", "from"), ("server", "to")):
        outside = pl.when(minute.outside(side)).then(pl.lit(OUTSIDE))
        joined = talks.join(groups.rename({"address": side, "group": name}), on=side, how="left", maintain_order="left")
        talks = joined.with_columns(pl.coalesce(name, outside).alias(name))
    return talks


_NAMES = {"label": pl.Int64, "group": pl.String}


def _allowed(matrix: Matrix) -> pl.Expr:
    rules = [_allows(rule) for rule in matrix.allow]
    return pl.any_horizontal(rules) if rules else pl.lit(value=False)


def _allows(rule: Allow) -> pl.Expr:
    fits = (pl.col("from") == rule.client) & (pl.col("to") == rule.server)
    if rule.protocol is not None:
        fits &= pl.col("protocol") == rule.protocol
    ports = [pl.col("port").is_between(first, last) for first, last in rule.ports]
    return (fits & pl.any_horizontal(ports) if ports else fits).fill_null(value=False)


def _hits(found: pl.DataFrame) -> pl.DataFrame:
    sentence = pl.format(
        "{} ({}) reached {} ({}) on port {}, which no rule of the policy allows; {} bytes there, {} back",
        "source", pl.col("from").fill_null("in no group"), "target", "to", "port", "bytes", "reply_bytes",
    )  # fmt: skip
    worse = pl.when(pl.col("from") == OUTSIDE).then(severity("high")).otherwise(severity("medium"))
    rows = found.with_columns(worse.alias("severity"), pl.col("flows").alias("count"))
    return hits(rows, sentence, "from", "to", "flows", "rejected", "bytes", "reply_bytes")


EXAMPLE_MATRIX = Matrix(
    groups={"app": ("10.0.1.0/24",), "database": ("10.0.0.0/24",)},
    allow=(Allow("app", "database", ((5432, 5439),)), Allow(OUTSIDE, "app", ((443, 443),))),
    protected=("database", "app"),
)
"""What the examples are held against."""

_APP = "10.0.1.9"
_EXAMPLES = (
    fires("the application on another port", answered(0, _APP, INSIDE, 22)),
    fires("the Internet reaches the database", answered(0, PUBLIC, INSIDE, 5432)),
    fires("somebody of no group does", answered(0, "10.9.9.9", INSIDE, 5432)),
    fires("over UDP, where TCP is allowed", answered(0, _APP, INSIDE, 5432, protocol=UDP)),
    quiet("what is allowed", answered(0, _APP, INSIDE, 5432), answered(1, _APP, INSIDE, 5439)),
    quiet("what is refused", refused(0, PUBLIC, INSIDE, 5432)),
    quiet("to a group that is not protected", answered(0, INSIDE, "10.9.9.9", 22)),
    quiet("within a group", answered(0, "10.0.0.9", INSIDE, 22)),
    quiet("the Internet reaches the application", answered(0, PUBLIC, _APP, 443)),
)

POLICY = with_matrix(Matrix())
