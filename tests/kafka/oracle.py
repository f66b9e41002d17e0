"""What the totals must be, sharing no code with the core but the list of service ports.

DuckDB over lines of one format; and, for a few lines of any format, plain Python that splits and adds.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import duckdb

from streams.core.ports import SERVICES

Key = tuple[str, ...]
Sums = dict[Key, tuple[int, int, int]]
"""Labels -> flows, packets, bytes."""

_V2 = (
    "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status"
)
_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 47: "gre", 50: "esp", 132: "sctp"}
_PANE = '("end"::BIGINT // 60 * 60)::VARCHAR'
_RANK = "(CASE WHEN {0} < 1024 OR {0} IN ({1}) THEN 0 WHEN {0} < 32768 THEN 1 ELSE 2 END) * 65536 + {0}"


class Oracle:
    """Totals over `lines` (flow log lines of one format, no headers, no bad lines)."""

    def __init__(self, lines: Iterable[bytes], fields: str = _V2) -> None:
        """fields: the names, separated by spaces."""
        self._db = duckdb.connect()
        names = fields.split()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "lines")
            path.write_bytes(b"\n".join(line.strip() for line in lines) + b"\n")
            columns = dict.fromkeys(names, "VARCHAR")
            how = f"delim=' ', header=false, quote='', escape='', nullstr='-', auto_detect=false, columns={columns}"
            self._db.execute(f"CREATE TABLE lines AS SELECT * FROM read_csv('{path}', {how})")  # noqa: S608 - ours
        self._db.execute('CREATE VIEW flows AS SELECT * FROM lines WHERE "log-status" IS NULL OR "log-status" = \'OK\'')
        self._flags = "tcp-flags" in names

    def outcomes(self) -> dict[str, int]:
        """flow, nodata, skipdata -> lines."""
        rows = self._db.execute("SELECT coalesce(\"log-status\", 'OK'), count(*) FROM lines GROUP BY 1").fetchall()
        return {{"OK": "flow"}.get(status, status.lower()): count for status, count in rows}

    def enis(self) -> Sums:
        """(eni, action) -> sums: whatever the direction."""
        return self._sums("coalesce(\"interface-id\", '-')", "action")

    def enis_by_pane(self) -> Sums:
        """(start of the minute that the record ends in, eni, action) -> sums."""
        return self._sums(_PANE, "coalesce(\"interface-id\", '-')", "action")

    def enis_by_direction(self) -> Sums:
        """(eni, direction, action) -> sums, for formats with flow-direction."""
        return self._sums("coalesce(\"interface-id\", '-')", '"flow-direction"', "action")

    def ports(self) -> Sums:
        """(port, protocol, action) -> sums."""
        return self._sums(*self._port_keys())

    def ports_by_pane(self) -> Sums:
        """(start of the minute that the record ends in, port, protocol, action) -> sums."""
        return self._sums(_PANE, *self._port_keys())

    def _port_keys(self) -> tuple[str, str, str]:
        ranked = [
            _RANK.format(f"{name}::INT", ", ".join(map(str, sorted(SERVICES)))) for name in ("srcport", "dstport")
        ]
        port = f"least({ranked[0]}, {ranked[1]}) % 65536"
        if self._flags:
            flags = '("tcp-flags"::INT & 18)'
            port = f"CASE WHEN {flags} = 2 THEN dstport::INT WHEN {flags} = 18 THEN srcport::INT ELSE {port} END"
        names = " ".join(f"WHEN {number} THEN '{name}'" for number, name in _PROTOCOLS.items())
        return f"({port})::VARCHAR", f"CASE protocol::INT {names} ELSE protocol END", "action"

    def _sums(self, *keys: str) -> Sums:
        grouped = ", ".join(f"coalesce({key}, 'unknown') AS k{n}" for n, key in enumerate(keys))
        by = ", ".join(f"k{n}" for n in range(len(keys)))
        counted = "count(*), sum(packets::BIGINT)::BIGINT, sum(bytes::BIGINT)::BIGINT"
        rows = self._db.execute(f"SELECT {grouped}, {counted} FROM flows GROUP BY {by}").fetchall()  # noqa: S608 - ours
        return {tuple(row[:-3]): (row[-3], row[-2] or 0, row[-1] or 0) for row in rows}


def added(*tables: Sums) -> Sums:
    """The tables of several inputs as that of all of them."""
    found: Sums = {}
    for key, values in (item for table in tables for item in table.items()):
        flows, packets, octets = found.get(key, (0, 0, 0))
        found[key] = flows + values[0], packets + values[1], octets + values[2]
    return found


# -- plain Python ------------------------------------------------------------------------------------------------------

Record = Mapping[str, str]
"""Field -> its word; a field that is `-` is left out."""

KeyOf = Callable[[Record], Key]


def record(line: bytes, fields: str) -> Record:
    """A line, split. fields: the names, separated by spaces."""
    pairs = zip(fields.split(), line.decode().split(), strict=True)
    return {name: word for name, word in pairs if word != "-"}


def outcome(found: Record) -> str:
    """flow, nodata or skipdata."""
    status = found.get("log-status", "OK")
    return "flow" if status == "OK" else status.lower()


def added_up(records: Iterable[Record], key: KeyOf) -> Sums:
    """Sums of the flows among `records`."""
    flows = [one for one in records if outcome(one) == "flow"]
    return added(*({key(one): (1, int(one.get("packets", 0)), int(one.get("bytes", 0)))} for one in flows))


def eni(found: Record) -> Key:
    """(eni, action)."""
    names = ("interface-id", "resource-id", "tgw-attachment-id")
    return next((found[name] for name in names if name in found), "-"), found.get("action", "unknown")


def port(found: Record) -> Key:
    """(port, protocol, action)."""
    number = int(found.get("protocol", -1))
    return _service(found), _PROTOCOLS.get(number, found.get("protocol", "unknown")), found.get("action", "unknown")


def _service(found: Record) -> str:
    if not {"srcport", "dstport"} <= found.keys():
        return "unknown"
    flags = int(found.get("tcp-flags", 0)) & 18
    if flags in (2, 18):  # SYN alone is the client's, SYN with ACK the server's
        return found["dstport" if flags == 2 else "srcport"]
    return str(min(int(found["srcport"]), int(found["dstport"]), key=lambda at: (_rank(at), at)))


def _rank(port: int) -> int:
    return 0 if port < 1024 or port in SERVICES else 1 if port < 32768 else 2


def counted(records: Iterable[Record]) -> Counter[str]:
    """Outcome -> lines."""
    return Counter(map(outcome, records))
