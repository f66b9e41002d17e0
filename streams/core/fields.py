"""The table of AWS flow log fields, one row each: the single source for the parser, the inference and the docs.

A format is a tuple of field names, in the order of the columns of a line. A field that AWS adds tomorrow is a row here;
until then it is read as text under the name that it came with.
https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html
https://docs.aws.amazon.com/vpc/latest/tgw/tgw-flow-logs.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

import polars as pl

Format = tuple[str, ...]

Kind = Literal["text", "number", "port", "octet", "time", "address", "action", "log-status", "direction"]
"""How a field is read and checked, see core.parse: octet is a number up to 255, time seconds since the epoch."""

NUMERIC: frozenset[Kind] = frozenset({"number", "port", "octet", "time"})
NEWEST = 11
"""The newest version of VPC flow logs in the table."""

FEWEST = 2
"""Fields that a header has at least: a single word proves nothing."""

RESERVED = "line"
"""The column that the parser adds: no field can have this name."""

TGW_VERSION = 6


@dataclass(frozen=True)
class Field:
    """One field. version: the flow log version that brought it (6: Transit Gateway only).

    tgw: whether Transit Gateway flow logs carry it. looks: what its values look like, for the inference (a regular
    expression for the whole value); empty where anything goes.
    """

    name: str
    version: int
    kind: Kind
    meaning: str
    looks: str = ""
    tgw: bool = False

    @property
    def dtype(self) -> type[pl.DataType]:
        """Its column's type in a frame: Int64 or String. `-` is null."""
        return pl.Int64 if self.kind in NUMERIC else pl.String


_ADDRESS = r"[0-9A-Fa-f]{0,4}[.:][0-9A-Fa-f.:]+"
_PORT = r"[0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"
_COUNT = r"[0-9]{1,18}"
_TIME = r"[0-9]{9,10}|[0-9]{13}"
_ACCOUNT = r"[0-9]{11,12}|unknown"
_REGION = r"[a-z]{2}(?:-[a-z]+)+-[0-9]"
_ZONE = r"[a-z]{2,5}[0-9]-az[0-9]+|[a-z]{2}(?:-[a-z]+)+-[0-9][a-z]"
_SERVICE = r"AMAZON|S3|EC2|[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*"
_ENI, _VPC, _SUBNET = r"eni-[0-9A-Za-z]+", r"vpc-[0-9A-Za-z]+", r"subnet-\S+"
_TGW_RESOURCE, _ATTACHMENT = r"TransitGateway(?:Attachment)?", r"tgw-attach-[0-9A-Za-z]+"
_ARN = r"arn:aws[a-z-]*:ecs:[^:]*:[0-9]*:"
_INTERFACE = r"(?:regional_)?nat_gateway|network_load_balancer|transit_gateway|vpc_endpoint"

_ROWS = (
    Field("version", 2, "number", "Highest version among the fields of the flow log.", "[2-9]|1[0-9]", tgw=True),
    Field("account-id", 2, "text", "Account that owns the network interface; can be `unknown`.", _ACCOUNT, tgw=True),
    Field("interface-id", 2, "text", "Network interface that the record is about.", _ENI),
    Field("srcaddr", 2, "address", "Sender; of outgoing traffic: the primary address.", _ADDRESS, tgw=True),
    Field("dstaddr", 2, "address", "Receiver; of incoming traffic: the primary address.", _ADDRESS, tgw=True),
    Field("srcport", 2, "port", "Port of the sender; 0 where the protocol has none.", _PORT, tgw=True),
    Field("dstport", 2, "port", "Port of the receiver; 0 where the protocol has none.", _PORT, tgw=True),
    Field("protocol", 2, "octet", "IANA number of the protocol: 6 is TCP, 17 UDP, 1 ICMP.", "[0-9]{1,3}", tgw=True),
    Field("packets", 2, "number", "Packets in this record, one direction.", _COUNT, tgw=True),
    Field("bytes", 2, "number", "Bytes in this record, one direction.", _COUNT, tgw=True),
    Field("start", 2, "time", "When the first packet of the record was seen, epoch seconds.", _TIME, tgw=True),
    Field("end", 2, "time", "When the last packet of the record was seen, epoch seconds.", _TIME, tgw=True),
    Field("action", 2, "action", "`ACCEPT`, or `REJECT`: blocked by a security group or network ACL.", "ACCEPT|REJECT"),
    Field(
        "log-status", 2, "log-status", "`OK`; `NODATA`: no traffic; `SKIPDATA`: records were lost.",
        "OK|NODATA|SKIPDATA", tgw=True,
    ),
    Field("vpc-id", 3, "text", "VPC of the interface.", _VPC),
    Field("subnet-id", 3, "text", "Subnet of the interface.", _SUBNET),
    Field("instance-id", 3, "text", "Instance of the interface, when your account owns it.", "i-[0-9A-Za-z]+"),
    Field("tcp-flags", 3, "number", "TCP flags seen, OR-ed: 1 FIN, 2 SYN, 4 RST, 18 SYN-ACK.", "[0-9]{1,3}", tgw=True),
    Field("type", 3, "text", "`IPv4`, `IPv6` or `EFA`.", "IPv[46]|EFA", tgw=True),
    Field("pkt-srcaddr", 3, "address", "Sender in the packet's own header.", _ADDRESS),
    Field("pkt-dstaddr", 3, "address", "Receiver in the packet's own header.", _ADDRESS),
    Field("region", 4, "text", "Region of the interface.", _REGION, tgw=True),
    Field("az-id", 4, "text", "Id of the availability zone of the interface.", _ZONE),
    Field("sublocation-type", 4, "text", "`wavelength`, `outpost` or `localzone`.", "wavelength|outpost|localzone"),
    Field("sublocation-id", 4, "text", "Id of that sublocation."),
    Field("pkt-src-aws-service", 5, "text", "AWS service that owns `pkt-srcaddr`.", _SERVICE, tgw=True),
    Field("pkt-dst-aws-service", 5, "text", "AWS service that owns `pkt-dstaddr`.", _SERVICE, tgw=True),
    Field(
        "flow-direction", 5, "direction", "`ingress` or `egress`, as the interface sees it.",
        "ingress|egress", tgw=True,
    ),
    Field("traffic-path", 5, "number", "Way that outgoing traffic takes, 1 to 8.", "[1-8]"),
    Field("ecs-cluster-arn", 7, "text", "ECS cluster of the task, as an ARN.", _ARN + "cluster/.+"),
    Field("ecs-cluster-name", 7, "text", "Name of that cluster."),
    Field("ecs-container-instance-arn", 7, "text", "Container instance, as an ARN.", _ARN + "container-instance/.+"),
    Field("ecs-container-instance-id", 7, "text", "Id of that container instance."),
    Field("ecs-container-id", 7, "text", "Docker id of the task's first container."),
    Field("ecs-second-container-id", 7, "text", "Docker id of the task's second container."),
    Field("ecs-service-name", 7, "text", "ECS service that started the task."),
    Field("ecs-task-definition-arn", 7, "text", "Definition of the task, as an ARN.", _ARN + "task-definition/.+"),
    Field("ecs-task-arn", 7, "text", "The task, as an ARN.", _ARN + "task/.+"),
    Field("ecs-task-id", 7, "text", "Id of the task."),
    Field("reject-reason", 8, "text", "Why it was blocked, for example `BPA`: block public access.", "BPA|EC|Accepted"),
    Field("resource-id", 9, "text", "Regional NAT gateway, where there is no interface.", "nat-[0-9A-Za-z]+"),
    Field("encryption-status", 10, "number", "0 none, 1 by the hardware, 2 by the application, 3 both.", "[0-3]"),
    Field("instance-tag", 11, "text", "Value of a tag of the instance, percent-encoded."),
    Field("instance-tag-2", 11, "text", "Value of a second tag of the instance, percent-encoded."),
    Field("interface-tag", 11, "text", "Value of a tag of the interface, percent-encoded."),
    Field("interface-tag-2", 11, "text", "Value of a second tag of the interface, percent-encoded."),
    Field("asg-tag", 11, "text", "Value of a tag of the auto-scaling group, percent-encoded."),
    Field("asg-tag-2", 11, "text", "Value of a second tag of the auto-scaling group, percent-encoded."),
    Field("interface-type", 11, "text", "Kind of the interface, for example `nat_gateway`.", _INTERFACE),
    Field("next-hop-interface-id", 11, "text", "Interface at the other end of this hop.", _ENI),
    Field("next-hop-subnet-id", 11, "text", "Subnet of that interface.", _SUBNET),
    Field("next-hop-az-id", 11, "text", "Availability zone of that interface.", _ZONE),
    Field("next-hop-vpc-id", 11, "text", "VPC of that interface.", _VPC),
    Field("next-hop-interface-type", 11, "text", "Kind of that interface.", _INTERFACE),
    Field("resource-type", 6, "text", "`TransitGateway` or `TransitGatewayAttachment`.", _TGW_RESOURCE, tgw=True),
    Field("tgw-id", 6, "text", "The transit gateway.", "tgw-(?!attach)[0-9A-Za-z]+", tgw=True),
    Field("tgw-attachment-id", 6, "text", "Attachment that the record is about.", _ATTACHMENT, tgw=True),
    Field("tgw-src-vpc-account-id", 6, "text", "Account of the VPC that traffic comes from.", _ACCOUNT, tgw=True),
    Field("tgw-dst-vpc-account-id", 6, "text", "Account of the VPC that traffic goes to.", _ACCOUNT, tgw=True),
    Field("tgw-src-vpc-id", 6, "text", "VPC that traffic comes from.", _VPC, tgw=True),
    Field("tgw-dst-vpc-id", 6, "text", "VPC that traffic goes to.", _VPC, tgw=True),
    Field("tgw-src-subnet-id", 6, "text", "Subnet that traffic comes from.", _SUBNET, tgw=True),
    Field("tgw-dst-subnet-id", 6, "text", "Subnet that traffic goes to.", _SUBNET, tgw=True),
    Field("tgw-src-eni", 6, "text", "Interface of the source's attachment.", _ENI, tgw=True),
    Field("tgw-dst-eni", 6, "text", "Interface of the destination's attachment.", _ENI, tgw=True),
    Field("tgw-src-az-id", 6, "text", "Availability zone that traffic comes from.", _ZONE, tgw=True),
    Field("tgw-dst-az-id", 6, "text", "Availability zone that traffic goes to.", _ZONE, tgw=True),
    Field("tgw-pair-attachment-id", 6, "text", "Attachment on the other side of the gateway.", _ATTACHMENT, tgw=True),
    Field("packets-lost-no-route", 6, "number", "Packets lost: no route.", _COUNT, tgw=True),
    Field("packets-lost-blackhole", 6, "number", "Packets lost: the route is a black hole.", _COUNT, tgw=True),
    Field("packets-lost-mtu-exceeded", 6, "number", "Packets lost: larger than the MTU.", _COUNT, tgw=True),
    Field("packets-lost-ttl-expired", 6, "number", "Packets lost: time to live was up.", _COUNT, tgw=True),
)  # fmt: skip

FIELDS: dict[str, Field] = {field.name: field for field in _ROWS}
"""Name -> field. VPC fields in AWS's own order (v2 to v11), then those of Transit Gateway flow logs."""

TAG_FIELDS = tuple(name for name in FIELDS if "-tag" in name)
"""Fields whose values are percent-encoded."""


def cumulative(version: int) -> Format:
    """Every VPC field up to `version`, in AWS's order."""
    return tuple(f.name for f in FIELDS.values() if f.version <= version and f.version != TGW_VERSION)


V2_DEFAULT: Format = cumulative(2)
"""What a flow log has when nobody chose its fields."""

_SEPARATORS = re.compile(r"[\s,]+")
_BLANKS = re.compile(r"[ \t]+")
_HUMPS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


def squash(name: str) -> str:
    """A name without what spellings differ in: `pktSrcAddr`, `pkt_srcaddr` and `pkt-srcaddr` are one."""
    return name.lower().replace("-", "").replace("_", "")


# CloudWatch Logs Insights says startTime and endTime for start and end.
SQUASHED: dict[str, str] = {squash(name): name for name in FIELDS} | {"starttime": "start", "endtime": "end"}
"""Squashed name -> AWS's own."""


def canonical(name: str) -> str:
    """AWS's own spelling of a field's name. A name that AWS does not have gets hyphens and lower case."""
    known = SQUASHED.get(squash(name))
    return known or _HUMPS.sub("-", name.strip()).replace("_", "-").lower()


def kind(name: str) -> Kind:
    """How the field `name` is read; a name that is not in the table is text."""
    return FIELDS[name].kind if name in FIELDS else "text"


def dtype(name: str) -> type[pl.DataType]:
    """Int64 or String: the type of the column `name`; a name that is not in the table is text."""
    return FIELDS[name].dtype if name in FIELDS else pl.String


def parse_format(text: str) -> Format:
    """Read a format as people write it: `${version} ${account-id}`, `version account-id`, `version,accountId`.

    Names that AWS does not have are kept (see `unknown_names`). Raises ValueError when there is no field, when one
    comes twice, and for the name `line`, which is the parser's own.
    """
    words = [word.removeprefix("${").removesuffix("}") for word in _SEPARATORS.split(text) if word]
    fmt = tuple(canonical(word) for word in words)
    if not fmt or "" in fmt:
        raise ValueError(f"a format needs field names separated by spaces, got {text!r}")
    twice = next((name for n, name in enumerate(fmt) if name in fmt[:n]), None)
    if twice is not None:
        near = [name for name in get_close_matches(twice, FIELDS, n=3) if name not in fmt]
        hint = f" (is one of them {near[0]!r}?)" if near else ""
        raise ValueError(f"field {twice!r} comes twice in the format{hint}")
    if RESERVED in fmt:
        raise ValueError(f"a field cannot be called {RESERVED!r}: the parser's own column has that name")
    return fmt


TGW_DEFAULT: Format = parse_format(
    """version resource-type account-id tgw-id tgw-attachment-id tgw-src-vpc-account-id tgw-dst-vpc-account-id
    tgw-src-vpc-id tgw-dst-vpc-id tgw-src-subnet-id tgw-dst-subnet-id tgw-src-eni tgw-dst-eni tgw-src-az-id
    tgw-dst-az-id tgw-pair-attachment-id srcaddr dstaddr srcport dstport protocol packets bytes start end log-status
    type packets-lost-no-route packets-lost-blackhole packets-lost-mtu-exceeded packets-lost-ttl-expired tcp-flags
    region flow-direction pkt-src-aws-service pkt-dst-aws-service"""
)
"""What a Transit Gateway flow log has when nobody chose its fields."""


def unknown_names(fmt: Format) -> dict[str, str | None]:
    """The names in `fmt` that AWS does not have, each with the nearest one that it has (or None): likely slips."""
    strange = [name for name in fmt if name not in FIELDS]
    return {name: next(iter(get_close_matches(name, FIELDS, n=1)), None) for name in strange}


def header_format(text: str) -> Format | None:
    """The format that a line names if it is a header, else None.

    A header is two or more words that are all shaped like names, more than half of them fields of AWS: new fields in it
    are kept, and no record looks like that.
    """
    words = _BLANKS.split(text.strip(" \t"))
    if len(words) < FEWEST or not all(_NAME.fullmatch(word) for word in words):
        return None
    known = sum(squash(word) in SQUASHED for word in words)
    if known < FEWEST or known * 2 <= len(words):
        return None
    try:
        return parse_format(text)
    except ValueError:
        return None


def fields_markdown() -> str:
    """The page docs/FIELDS.md: the table above, for readers."""
    head = (
        "# Fields\n\nGenerated from `streams/core/fields.py`. Numbers are 64-bit integers, everything else is text,"
        " `-` is null. v6 is Transit Gateway only; TGW marks what Transit Gateway flow logs carry.\n\n"
        "| v | Field | Type | TGW | Meaning |\n|---|---|---|---|---|\n"
    )
    return head + "".join(_table_row(field) for field in FIELDS.values())


def _table_row(field: Field) -> str:
    number = "integer" if field.kind in NUMERIC else "text"
    return f"| {field.version} | `{field.name}` | {number} | {'yes' if field.tgw else ''} | {field.meaning} |\n"
