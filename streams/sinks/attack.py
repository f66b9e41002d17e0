"""Names of the MITRE ATT&CK (enterprise) techniques that detectors speak of. Source: attack.mitre.org, v16."""

from __future__ import annotations

from typing import NamedTuple

VERSION = "16"
TECHNIQUES = {
    "T1018": "Remote System Discovery",
    "T1021": "Remote Services",
    "T1021.001": "Remote Desktop Protocol",
    "T1021.002": "SMB/Windows Admin Shares",
    "T1021.004": "SSH",
    "T1030": "Data Transfer Size Limits",
    "T1041": "Exfiltration Over C2 Channel",
    "T1046": "Network Service Discovery",
    "T1048": "Exfiltration Over Alternative Protocol",
    "T1071": "Application Layer Protocol",
    "T1071.001": "Web Protocols",
    "T1090": "Proxy",
    "T1090.003": "Multi-hop Proxy",
    "T1110": "Brute Force",
    "T1110.001": "Password Guessing",
    "T1133": "External Remote Services",
    "T1190": "Exploit Public-Facing Application",
    "T1210": "Exploitation of Remote Services",
    "T1498": "Network Denial of Service",
    "T1498.001": "Direct Network Flood",
    "T1498.002": "Reflection Amplification",
    "T1499": "Endpoint Denial of Service",
    "T1499.002": "Service Exhaustion Flood",
    "T1571": "Non-Standard Port",
    "T1595": "Active Scanning",
    "T1595.001": "Scanning IP Blocks",
}


class Technique(NamedTuple):
    """sub: id and name of a sub-technique, where it is one."""

    id: str
    name: str
    sub: tuple[str, str] | None


def technique(attack_id: str) -> Technique:
    """Of an id such as T1046 or T1498.002. Raises KeyError."""
    parent, dot, _ = attack_id.partition(".")
    return Technique(parent, TECHNIQUES[parent], (attack_id, TECHNIQUES[attack_id]) if dot else None)
