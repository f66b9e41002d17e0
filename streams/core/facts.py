"""Parsed records -> facts: what the tables count, in one shape whatever the format was.

Columns: eni String, direction UInt8, port Int32, protocol Int16, action UInt8, replay Boolean, packets Int64,
bytes Int64, first Int64, last Int64 (epoch seconds), line UInt32 (in the input, from 0); then, String, those of
INFO_FIELDS that the format has.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from streams.core import conversations, direction, ports, tables
from streams.core.parse import is_flow, is_nodata, is_skipdata

INFO_FIELDS = (
    "account-id", "vpc-id", "subnet-id", "instance-id", "region", "az-id", "interface-type",
)  # fmt: skip
"""Fields that describe an ENI itself, where the format has them: the labels of `vpcflow_eni_info`."""

LONGEST_NAME = 255
"""Bytes of an id that is a key or a label: AWS's have 40. What is longer is none, or keys had no bounded size."""

_ENI_FIELDS = ("interface-id", "resource-id", "tgw-attachment-id", "tgw-id")
_ACTION_CODES = {name: code for code, name in enumerate(tables.ACTIONS) if code}


@dataclass(frozen=True)
class Facts:
    """rows: the facts, one per flow; nodata, skipdata: records that count no flow; owners: see core.direction.

    silent: those records (eni, start, skipped, line), where `parties` are asked for.
    """

    rows: pl.DataFrame
    nodata: int
    skipdata: int
    owners: pl.DataFrame
    silent: pl.DataFrame


def facts(records: pl.DataFrame, owners: pl.DataFrame, arrival: int, *, replay: bool, parties: bool = False) -> Facts:
    """Facts of `records` (see core.parse), the ENIs' own addresses learnt on the way (see core.direction).

    `arrival` (epoch seconds) is the time of records whose format has none. NODATA and SKIPDATA records count as such,
    by their log-status alone, whatever else they carry. parties: with the columns of core.conversations.parties.
    """
    nodata, skipdata = _count(records, is_nodata(records)), _count(records, is_skipdata(records))
    flows, silent = records, records.clear()
    if nodata or skipdata:
        flows, silent = records.filter(is_flow(records)), records.filter(~is_flow(records))
    flows = _short_names(flows)
    flows = flows.with_columns(_eni(flows).alias("eni"))
    if "flow-direction" not in flows.columns or flows.get_column("flow-direction").null_count():
        codes, owners = direction.follow(_sides(flows), owners)
        flows = flows.with_columns(codes.alias("_code"))
    rows = flows.select(
        "eni",
        _direction(flows).alias("direction"),
        _port(flows).alias("port"),
        _number(flows, "protocol", ports.UNKNOWN).cast(pl.Int16).alias("protocol"),
        _action(flows).alias("action"),
        pl.lit(replay).alias("replay"),
        _number(flows, "packets", 0).alias("packets"),
        _number(flows, "bytes", 0).alias("bytes"),
        _time(flows, ("start", "end"), arrival).alias("first"),
        _time(flows, ("end", "start"), arrival).alias("last"),
        "line",
        *(name for name in INFO_FIELDS if name in flows.columns),
        *(conversations.parties(flows, _text(flows, "action") == "REJECT") if parties else ()),
    )
    return Facts(rows, nodata, skipdata, owners, _silent(silent if parties else silent.clear(), arrival))


def _silent(records: pl.DataFrame, arrival: int) -> pl.DataFrame:
    named = _short_names(records)
    return named.select(
        _eni(named).alias("eni"), _time(named, ("start", "end"), arrival).alias("start"),
        is_skipdata(named).alias("skipped"), "line",
    )  # fmt: skip


def _count(records: pl.DataFrame, where: pl.Expr) -> int:
    return int(records.select(where.sum()).item() or 0) if records.height else 0


def _sides(flows: pl.DataFrame) -> pl.DataFrame:
    """The addresses that direction is learnt from: none where flow-direction tells, whatever else is in the batch."""
    sides = flows.select("eni", *(_text(flows, name).alias(name) for name in ("srcaddr", "dstaddr")))
    if "flow-direction" not in flows.columns:
        return sides
    blind = flows.get_column("flow-direction").is_null()
    return sides.with_columns(pl.when(blind).then(pl.col("srcaddr", "dstaddr")))


def _text(flows: pl.DataFrame, name: str) -> pl.Expr:
    return pl.col(name) if name in flows.columns else pl.lit(None, dtype=pl.String)


def _number(flows: pl.DataFrame, name: str, missing: int) -> pl.Expr:
    return pl.col(name).fill_null(missing) if name in flows.columns else pl.lit(missing, dtype=pl.Int64)


def _short_names(flows: pl.DataFrame) -> pl.DataFrame:
    """`flows`, of the fields that are keys or labels no value longer than LONGEST_NAME."""
    names = [name for name in (*_ENI_FIELDS, *INFO_FIELDS) if name in flows.columns]
    longest = flows.select(pl.col(name).str.len_bytes().max() for name in names)
    long = [name for name in names if (longest.item(0, name) or 0) > LONGEST_NAME]
    return flows.with_columns(pl.when(pl.col(name).str.len_bytes() <= LONGEST_NAME).then(name) for name in long)


def _eni(flows: pl.DataFrame) -> pl.Expr:
    present = [name for name in _ENI_FIELDS if name in flows.columns]
    if present and not flows.get_column(present[0]).null_count():
        return pl.col(present[0])
    return pl.coalesce(*present, pl.lit(tables.UNKNOWN_ENI))


def _direction(flows: pl.DataFrame) -> pl.Expr:
    learnt = pl.col("_code") if "_code" in flows.columns else pl.lit(direction.UNKNOWN)
    if "flow-direction" not in flows.columns:
        return learnt.cast(pl.UInt8)
    told = pl.col("flow-direction")
    return (
        pl.when(told == "ingress").then(direction.INGRESS)
        .when(told == "egress").then(direction.EGRESS)
        .otherwise(learnt).cast(pl.UInt8)
    )  # fmt: skip


def _action(flows: pl.DataFrame) -> pl.Expr:
    action = _text(flows, "action")
    accept, reject = (_ACTION_CODES[name] for name in ("ACCEPT", "REJECT"))
    rule = pl.when(action == "ACCEPT").then(accept).when(action == "REJECT").then(reject)
    return rule.otherwise(0).cast(pl.UInt8)


def _port(flows: pl.DataFrame) -> pl.Expr:
    if not {"srcport", "dstport"} <= set(flows.columns):
        return pl.lit(ports.UNKNOWN, dtype=pl.Int32)
    flags = pl.col("tcp-flags") if "tcp-flags" in flows.columns else None
    return ports.service_port(pl.col("srcport"), pl.col("dstport"), flags)


def _time(flows: pl.DataFrame, names: tuple[str, ...], arrival: int) -> pl.Expr:
    present = [pl.col(name) for name in names if name in flows.columns]
    return pl.coalesce(*present, pl.lit(arrival, dtype=pl.Int64))
