"""The report of `vpcflow analyze` as a person reads it: from the object of `--json` to a terminal, and nothing else.

It shows what is in the object and never reads a clock, a file or an environment. Every text that came from the input
goes through `printable`: a log line must not move the reader's cursor.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal, NamedTuple, TypedDict

from rich.console import Console
from rich.table import Table
from rich.text import Text

from streams.core import tables
from streams.core.parse import REASONS
from streams.core.protocols import protocol_name

# --- What comes in --------------------------------------------------------------------------------


class Counts(TypedDict):
    """Sums over flow records. accepted and rejected count records; bytes and packets are of both."""

    flows: int
    packets: int
    bytes: int
    accepted: int
    rejected: int


class Lines(TypedDict):
    """What each line was. total is the sum of the others."""

    total: int
    flow: int
    nodata: int
    skipdata: int
    header: int
    blank: int
    reject: int


class Eni(Counts):
    """One ENI, None for records that name none. first: earliest `start`, last: latest `end` (epoch seconds)."""

    eni: str | None
    first: int | None
    last: int | None


class Port(Counts):
    """One service port. protocol: IANA number. None: the records don't tell."""

    port: int | None
    protocol: int | None


class Pane(Counts):
    """A window of event time, epoch seconds, end excluded."""

    start: int
    end: int


class Format(TypedDict):
    """Field names that lines were read with. confidence: 0..1, 1 or None = told by a header or the user."""

    fields: Sequence[str] | str
    lines: int
    confidence: float | None


class File(TypedDict):
    """An input. error: why it could not be read to its end, else None."""

    path: str
    lines: int
    error: str | None


class Report(TypedDict):
    """The object of `vpcflow analyze --json`."""

    lines: Lines
    rejects: Mapping[str, int]
    totals: Counts
    enis: Sequence[Eni]
    ports: Sequence[Port]
    panes: Sequence[Pane]
    findings: Sequence[object]
    formats: Sequence[Format]
    files: Sequence[File]


# --- Words for numbers ----------------------------------------------------------------------------

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB")
_MILLIONS = ("M", "G", "T", "P")
_STEP = 1000


def bytes_text(number: float) -> str:
    """`999 B`, `1.23 MB`, `45.6 GB`: decimal units, three digits."""
    size, unit = float(number), 0
    while abs(size) >= 999.5 and unit < len(_UNITS) - 1:  # noqa: PLR2004 - what three digits would round to 1,000
        size, unit = size / _STEP, unit + 1
    return f"{size:.0f} {_UNITS[unit]}" if unit == 0 else f"{_three_digits(size)} {_UNITS[unit]}"


def count_text(number: float) -> str:
    """`12,345`; from a million on `1.23 M`, `1.23 G`, `1.23 T`: at most seven characters."""
    if abs(number) < 999_999.5:  # noqa: PLR2004 - what rounds to a million
        return f"{number:,.0f}"
    size, unit = number / 1e6, 0
    while abs(size) >= 999.5 and unit < len(_MILLIONS) - 1:  # noqa: PLR2004
        size, unit = size / _STEP, unit + 1
    return f"{_three_digits(size)} {_MILLIONS[unit]}"


def _three_digits(number: float) -> str:
    digits = 2 if abs(number) < 9.995 else 1 if abs(number) < 99.95 else 0  # noqa: PLR2004 - where rounding adds a digit
    return f"{number:,.{digits}f}"


def share_text(part: float, whole: float) -> str:
    """`12.3 %`; `<0.1 %` for what would round to nothing; empty when there is no whole."""
    if not whole:
        return ""
    percent = 100 * part / whole
    return "<0.1 %" if 0 < percent < 0.05 else f"{percent:.1f} %"  # noqa: PLR2004 - the last digit shown


_SPANS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def duration_text(seconds: float) -> str:
    """`45 s`, `1 min 5 s`, `3 h 20 min`, `2 d 4 h`: the two largest units."""
    rest = max(0, round(seconds))
    words: list[str] = []
    for size, unit in _SPANS:
        if rest >= size and len(words) < 2:  # noqa: PLR2004 - the two largest
            words.append(f"{rest // size} {unit}")
            rest %= size
        elif words:
            break
    return " ".join(words) or "0 s"


def time_text(epoch: int, *, day: bool = True) -> str:
    """`2025-11-23 22:00:00`, in UTC; the number itself where a calendar ends."""
    try:
        moment = datetime.fromtimestamp(epoch, UTC)
    except (OverflowError, OSError, ValueError):
        return str(epoch)
    return moment.strftime("%Y-%m-%d %H:%M:%S" if day else "%H:%M")


def printable(text: str) -> str:
    """The text with every character that is not plainly visible (control, escape, line end) turned into `?`."""
    return "".join(character if character.isprintable() else "?" for character in text)


_SPECIAL_PORTS = {tables.OTHER_PORT: "all others", tables.EXPIRED_PORT: "not seen for long"}
_SPECIAL_ENIS = {
    tables.OTHER: "all others",
    tables.EXPIRED: "not seen for long",
    tables.UNKNOWN_ENI: "no interface",
}
_SERVICES: dict[str, str] = {
    "20/tcp": "ftp-data", "21/tcp": "ftp", "22/tcp": "ssh", "23/tcp": "telnet", "25/tcp": "smtp", "53/tcp": "dns",
    "53/udp": "dns", "80/tcp": "http", "123/udp": "ntp", "443/tcp": "https", "443/udp": "quic", "445/tcp": "smb",
    "587/tcp": "mail", "1433/tcp": "mssql", "2049/tcp": "nfs", "3306/tcp": "mysql", "3389/tcp": "rdp",
    "5432/tcp": "postgres", "6379/tcp": "redis", "8080/tcp": "http-alt", "9092/tcp": "kafka", "27017/tcp": "mongodb",
}  # fmt: skip


_WITH_PORTS = frozenset({6, 17, 33, 132, 136})
"""Protocols whose port 0 is a port: TCP, UDP, DCCP, SCTP, UDP-Lite."""


def port_text(port: int | None, protocol: int | None) -> str:
    """`443/tcp`; `icmp` for protocols that have no ports; `443/?` and `tcp, no port` where the record doesn't tell."""
    if port in _SPECIAL_PORTS:
        return _SPECIAL_PORTS[port]
    known = protocol is not None and protocol >= 0
    name = protocol_name(protocol) if protocol is not None and known else "?"
    if port is None or port < 0:
        return f"{name}, no port" if known else "no port"
    return name if not port and known and protocol not in _WITH_PORTS else f"{port}/{name}"


def service_name(port: str) -> str:
    """What usually speaks on `443/tcp`; empty for what has no name that everybody knows."""
    return _SERVICES.get(port, "")


def eni_text(eni: str | None) -> str:
    """An ENI's id, or plain words for the rows that are no ENI."""
    name = tables.UNKNOWN_ENI if eni is None else eni
    return _SPECIAL_ENIS.get(name) or printable(name)


# --- Pictures -------------------------------------------------------------------------------------


class Glyphs(NamedTuple):
    """Characters to draw with."""

    levels: str  # of a sparkline: nothing, then lowest to highest
    eighths: str  # of a bar's last cell: nothing to almost full
    full: str


UNICODE = Glyphs(" ▁▂▃▄▅▆▇█", " ▏▎▍▌▋▊▉", "█")
ASCII = Glyphs(" .:-=+*#@", "  ......", "#")


def glyphs(console: Console) -> Glyphs:
    """What the terminal can show."""
    return UNICODE if console.encoding.lower().startswith("utf") else ASCII


def bar(part: float, whole: float, width: int, marks: Glyphs = UNICODE) -> str:
    """A bar of at most `width` cells, full when part is the whole. What is not nothing shows at least a sliver."""
    if part <= 0 or whole <= 0:
        return ""
    eighths = max(1, round(min(1.0, part / whole) * width * 8))
    return (marks.full * (eighths // 8) + marks.eighths[eighths % 8]).rstrip()


def sparkline(values: Iterable[float | None], marks: Glyphs = UNICODE) -> str:
    """A cell a value, from zero to the highest. None (nothing known) is blank, zero is the lowest level."""
    known = list(values)
    top = max((value for value in known if value is not None), default=0)
    steps = len(marks.levels) - 1
    return "".join(
        " " if value is None else marks.levels[1 + int((steps - 1) * value / top) if top > 0 else 1] for value in known
    )


def timeline(
    panes: Sequence[Pane], column: Literal["bytes", "flows", "rejected"], width: int
) -> tuple[list[float | None], bool]:
    """Means of `column` a pane, in at most `width` cells, None where no pane is; and whether gaps were left out.

    Each cell stands for the same number of panes, else some would look like peaks. A stray record years away would
    squeeze everything into one cell: where panes are rare, they stand side by side and gaps are left out.
    """
    ordered = sorted(panes, key=lambda pane: pane["start"])
    length = max(1, ordered[0]["end"] - ordered[0]["start"])
    slots = [(pane["start"] - ordered[0]["start"]) // length for pane in ordered]
    squeezed = slots[-1] > _RARE * len(ordered)
    places = list(range(len(ordered))) if squeezed else slots
    panes_a_cell = -(-(places[-1] + 1) // width)
    cells: list[list[int]] = [[] for _ in range(places[-1] // panes_a_cell + 1)]
    for place, pane in zip(places, ordered, strict=True):
        cells[place // panes_a_cell].append(pane[column])
    return [sum(cell) / len(cell) if cell else None for cell in cells], squeezed


_RARE = 20


# --- The report -----------------------------------------------------------------------------------

TOP = 10
"""ENIs and ports shown."""

_HEADING, _DIM, _WARN, _BAD = "bold", "dim", "yellow", "bold red"


def render(report: Report, console: Console, reasons: Mapping[str, str] = REASONS) -> None:
    """Print the report. reasons: reject reason -> plain words."""
    if not report["lines"]["total"]:
        _say_empty(report, console)
        return
    for part in (_summary, _timelines, _enis, _ports):
        part(report, console)
    _lines(report, console, reasons)
    _notes(report, console)


def _say_empty(report: Report, console: Console) -> None:
    files = report["files"]
    where = f" in {_files_text(len(files))}" if files else ""
    console.print(Text(f"No lines to read{where}.", style=_HEADING))
    for file in files[:TOP]:
        console.print(Text(f"  {printable(file['path'])}: {printable(file['error'] or 'empty')}", style=_DIM))
    console.print(
        "Give files, folders or - (text, gzip, zstd or Parquet):\n"
        "  vpcflow analyze flows.log.gz\n"
        "  aws s3 cp s3://BUCKET/KEY - | vpcflow analyze -",
        highlight=False,
        markup=False,
    )


def _heading(console: Console, text: str, aside: str = "") -> None:
    console.print()
    console.print(Text.assemble((text, _HEADING), (f"  {aside}" if aside else "", _DIM)))


def _summary(report: Report, console: Console) -> None:
    totals, lines = report["totals"], report["lines"]
    whole = _period(report)
    facts = [("read", f"{lines['total']:,} lines from {_files_text(len(report['files']))}", "")]
    if whole:
        facts.append(("period", f"{_period_text(*whole)} UTC", f"({duration_text(whole[1] - whole[0])})"))
    if totals["flows"]:
        traffic = f"{bytes_text(totals['bytes'])} in {count_text(totals['packets'])} packets"
        facts.append(("traffic", traffic, f"({totals['flows']:,} flow records)"))
        refused = share_text(totals["rejected"], totals["flows"])
        facts.append(("refused", refused, f"({totals['rejected']:,} records)"))
    else:
        facts.append(("traffic", "no flow records", ""))
    for name, fact, aside in facts:
        console.print(Text.assemble((f"{name:<9}", _DIM), (fact, _HEADING), (f" {aside}" if aside else "", "")))


def _files_text(count: int) -> str:
    return "one file" if count == 1 else f"{count_text(count)} files"


def _period(report: Report) -> tuple[int, int] | None:
    """Earliest start and latest end of any record; where ENIs don't tell, of the panes."""
    firsts = [eni["first"] for eni in report["enis"] if eni["first"] is not None]
    lasts = [eni["last"] for eni in report["enis"] if eni["last"] is not None]
    if not (firsts and lasts):
        firsts, lasts = [pane["start"] for pane in report["panes"]], [pane["end"] for pane in report["panes"]]
    return (min(firsts), max(lasts)) if firsts and lasts else None


def _period_text(first: int, last: int) -> str:
    start, end = time_text(first), time_text(last)
    same_day = start[:10] == end[:10]
    return f"{start} to {end[11:] if same_day else end}"


def _timelines(report: Report, console: Console) -> None:
    panes = report["panes"]
    if not panes:
        return
    length = panes[0]["end"] - panes[0]["start"]
    _heading(console, "Over time", f"in windows of {duration_text(length)}")
    _timeline(console, panes, "bytes", "bytes")
    _timeline(console, panes, "rejected", "refused")


def _timeline(console: Console, panes: Sequence[Pane], column: Literal["bytes", "rejected"], name: str) -> None:
    peak = max(panes, key=lambda pane: pane[column])
    if not peak[column]:
        return
    amount = bytes_text(peak[column]) if column == "bytes" else f"{count_text(peak[column])} records"
    cells, squeezed = timeline(panes, column, max(10, console.width - 45))
    aside = f"peak {amount} at {time_text(peak['start'], day=False)}" + (" (gaps cut)" if squeezed else "")
    style = "cyan" if column == "bytes" else "red"
    console.print(Text.assemble((f"  {name:<9}", _DIM), (sparkline(cells, glyphs(console)), style), f"  {aside}"))


class _Row(NamedTuple):
    """A row of a top list: its name in columns, and what is counted."""

    names: tuple[str, ...]
    counts: Counts


def _enis(report: Report, console: Console) -> None:
    ordered = sorted(report["enis"], key=lambda eni: (-eni["bytes"], eni["eni"] or ""))
    _top(report, console, "Interfaces", [_Row((eni_text(eni["eni"]),), eni) for eni in ordered])


def _ports(report: Report, console: Console) -> None:
    named = [(port_text(port["port"], port["protocol"]), port) for port in report["ports"]]
    ordered = sorted(named, key=lambda pair: (-pair[1]["bytes"], pair[1]["port"] or 0, pair[0]))
    _top(report, console, "Service ports", [_Row((name, service_name(name)), port) for name, port in ordered])


_NUMBERS = 43
"""Columns that share, bytes, packets, records and refused take, with their gaps."""


def _top(report: Report, console: Console, title: str, rows: Sequence[_Row]) -> None:
    if not rows:
        return
    shown, total = rows[:TOP], report["totals"]["bytes"]
    _heading(console, title, f"by bytes, {len(shown)} of {count_text(len(rows))}")
    names = sum(min(_NAME, max(len(row.names[n]) for row in shown)) + 2 for n in range(len(shown[0].names)))
    width = min(40, console.width - names - _NUMBERS - 2)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style=_DIM, show_edge=False)
    for _ in shown[0].names:
        table.add_column("", no_wrap=True, overflow="ellipsis", max_width=_NAME)
    table.add_column("", no_wrap=True, style="cyan", width=max(0, width))
    for name in ("share", "bytes", "packets", "records", "refused"):
        table.add_column(name, justify="right", no_wrap=True, overflow="ellipsis")
    for row in shown:
        table.add_row(*_cells(row, total, shown[0].counts["bytes"], width, glyphs(console)))
    console.print(table)


_NAME = 24


def _cells(row: _Row, total: int, most: int, width: int, marks: Glyphs) -> list[Text]:
    counts = row.counts
    refused = share_text(counts["rejected"], counts["flows"]) if counts["rejected"] else "-"
    return [
        *(Text(name) for name in row.names),
        Text(bar(counts["bytes"], most, width, marks)),
        Text(share_text(counts["bytes"], total)),
        Text(bytes_text(counts["bytes"])),
        Text(count_text(counts["packets"])),
        Text(count_text(counts["flows"])),
        Text(refused, style="red" if counts["rejected"] else _DIM),
    ]


_KINDS: tuple[tuple[Literal["flow", "nodata", "skipdata", "header", "blank", "reject"], str, str], ...] = (
    ("flow", "flow records", ""),
    ("nodata", "NODATA", "an interface had no traffic"),
    ("skipdata", "SKIPDATA", "AWS could not record everything"),
    ("header", "header lines", ""),
    ("blank", "blank lines", ""),
    ("reject", "not understood", ""),
)
"""Kinds of lines, with what a person calls them."""


def _lines(report: Report, console: Console, reasons: Mapping[str, str]) -> None:
    lines = report["lines"]
    missing = lines["total"] - sum(lines[kind] for kind, _, _ in _KINDS)
    if missing:
        _heading(console, "Lines")
        console.print(Text(f"  {missing:,} lines are NOT accounted for: please report this", style=_BAD))
    else:
        _heading(console, "Lines", "every one is accounted for")
    for kind, name, meaning in _KINDS:
        style = _WARN if kind in {"skipdata", "reject"} else ""
        if lines[kind]:
            label = f"{name:<15}" if meaning else name
            console.print(Text.assemble((f"{lines[kind]:>12,}  {label}", style), (meaning, _DIM)))
    for reason, count in sorted(report["rejects"].items(), key=lambda pair: (-pair[1], pair[0])):
        plain, words = printable(reason.replace("_", " ")), reasons.get(reason, "")
        label = f"{plain:<16}" if words else plain
        console.print(Text.assemble(f"{count:>16,}  {label}", (words, _DIM)))


def _notes(report: Report, console: Console) -> None:
    notes = [*_coverage_notes(report), *_format_notes(report), *_file_notes(report)]
    if report["findings"]:
        notes.append(f"{count_text(len(report['findings']))} findings: --json shows them.")
    if not notes:
        return
    _heading(console, "Notes")
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, show_header=False)
    for note in notes:
        table.add_row(Text("  *", style=_WARN), Text(note, overflow="fold"))
    console.print(table)


def _coverage_notes(report: Report) -> Iterable[str]:
    lines, totals = report["lines"], report["totals"]
    if lines["skipdata"]:
        yield f"{count_text(lines['skipdata'])} SKIPDATA: AWS lost records there. The true sums are higher."
    if lines["reject"]:
        yield f"{count_text(lines['reject'])} lines were not understood. To see them: vpcflow parse --rejects FILE PATH"
    if lines["flow"] and not totals["bytes"]:
        yield "The records carry no bytes: shares and order say nothing here."
    unknown = totals["flows"] - totals["accepted"] - totals["rejected"]
    if unknown:
        yield f"{count_text(unknown)} records don't say whether they were accepted or refused."
    if len(report["enis"]) > 1:
        yield "What two of these interfaces said to each other is in the log twice, once at each."


_SURE = 0.9


def _format_notes(report: Report) -> Iterable[str]:
    for guess in report["formats"]:
        confidence = guess["confidence"]
        if confidence is not None and confidence < _SURE:
            fields = guess["fields"]
            names = printable(fields if isinstance(fields, str) else " ".join(fields))
            yield (
                f"The format of {count_text(guess['lines'])} lines is a guess ({share_text(confidence, 1)} sure). "
                f"If it is wrong, name the fields with --format. Guessed: {names}"
            )


def _file_notes(report: Report) -> Iterable[str]:
    broken = [file for file in report["files"] if file["error"]]
    for file in broken[:TOP]:
        error = printable(file["error"] or "")
        yield f"{printable(file['path'])}: {error} (after {count_text(file['lines'])} lines)"
    if len(broken) > TOP:
        yield f"{count_text(len(broken) - TOP)} more files could not be read to their end."
