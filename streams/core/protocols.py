"""Names of IP protocols. A closed, lower-case set: the names are values of the Prometheus label `protocol`.

Source: IANA "Protocol Numbers"; `icmpv6` is IANA's `IPv6-ICMP` under the name that people use.
"""

from __future__ import annotations

PROTOCOLS: dict[int, str] = {
    0: "hopopt",
    1: "icmp",
    2: "igmp",
    3: "ggp",
    4: "ipip",
    5: "st",
    6: "tcp",
    8: "egp",
    9: "igp",
    12: "pup",
    17: "udp",
    22: "xns-idp",
    27: "rdp",
    29: "iso-tp4",
    33: "dccp",
    36: "xtp",
    41: "ipv6",
    43: "ipv6-route",
    44: "ipv6-frag",
    45: "idrp",
    46: "rsvp",
    47: "gre",
    50: "esp",
    51: "ah",
    57: "skip",
    58: "icmpv6",
    59: "ipv6-nonxt",
    60: "ipv6-opts",
    73: "rspf",
    81: "vmtp",
    88: "eigrp",
    89: "ospf",
    93: "ax.25",
    97: "etherip",
    98: "encap",
    103: "pim",
    108: "ipcomp",
    112: "vrrp",
    115: "l2tp",
    124: "isis",
    132: "sctp",
    133: "fc",
    135: "mobility-header",
    136: "udplite",
    137: "mpls-in-ip",
    138: "manet",
    139: "hip",
    140: "shim6",
    141: "wesp",
    142: "rohc",
}
"""IANA number -> name. Port-less ones are here too: what a record's `protocol` may be, 0..255."""


def protocol_name(number: int) -> str:
    """`tcp` for 6, `udp` for 17, ...; a number without a name is its own text: `253`."""
    return PROTOCOLS.get(number, str(number))
