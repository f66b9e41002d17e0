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
from streams.core.findings import SEVERITIES
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
    """One ENI, None for records that name none. first: earliest `start`, last: latest `end` (epoch seconds).

    None: no record of it has a time.
    """

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
    """An input. error: why it could not be read to its end (a reject reason), else None."""

    path: str
    lines: int
    error: str | None


class Found(TypedDict):
    """What a detector saw. first_seen, last_seen: epoch seconds. severity: a word, worst critical."""

    detector: str
    severity: str
    first_seen: int
    last_seen: int
    sentence: str


class Report(TypedDict):
    """The object of `vpcflow analyze --json`. undated: flow records without a time, which are in no pane.

    unwatched_from: epoch seconds of the first minute in which nothing was looked for, None: all were.
    """

    lines: Lines
    rejects: Mapping[str, int]
    totals: Counts
    enis: Sequence[Eni]
    ports: Sequence[Port]
    panes: Sequence[Pane]
    undated: int
    unwatched_from: int | None
    findings: Sequence[Found]
    suppressed: int
    passed_over: int
    unused_rules: Sequence[str]
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


def counted(number: float, thing: str) -> str:
    """`1 line`, `12,345 lines`: the thing is a word in the singular that takes an s."""
    return f"{count_text(number)} {_named(number, thing)}"


def _named(number: float, thing: str) -> str:
    return thing if number == 1 else f"{thing}s"


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
            words.append(f"{rest // size:,} {unit}")
            rest %= size
        elif words:
            break
    return " ".join(words) or "0 s"


_DAY, _MINUTE = "%Y-%m-%d", "%H:%M"


def time_text(epoch: int, form: str = f"{_DAY} {_MINUTE}:%S") -> str:
    """`2025-11-23 22:00:00`, in UTC; the number itself where a calendar ends."""
    try:
        moment = datetime.fromtimestamp(epoch, UTC)
    except (OverflowError, OSError, ValueError):
        return str(epoch)
    return moment.strftime(form)


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
        " " if value is None else marks.levels[1 + int((steps - 1) * (value / top)) if top > 0 else 1]
        for value in known
    )


class Timeline(NamedTuple):
    """cells: means of a column a pane, None where no pane is. each: panes a cell. squeezed: gaps were left out."""

    cells: list[float | None]
    each: int
    squeezed: bool


def timeline(panes: Sequence[Pane], column: Literal["bytes", "flows", "rejected"], width: int) -> Timeline:
    """`column` over time, in at most `width` cells.

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
    return Timeline([sum(cell) / len(cell) if cell else None for cell in cells], panes_a_cell, squeezed)


_RARE = 20


# --- The report -----------------------------------------------------------------------------------

TOP = 10
"""ENIs and ports shown."""

_HEADING, _DIM, _WARN, _BAD = "bold", "dim", "yellow", "bold red"
_URGENT = ("high", "critical")


def render(report: Report, console: Console, reasons: Mapping[str, str] = REASONS) -> None:
    """Print the report. reasons: reject reason -> plain words."""
    if not report["lines"]["total"]:
        _say_empty(report, console)
        return
    for part in (_summary, _timelines, _enis, _ports, _findings):
        part(report, console)
    _lines(report, console, reasons)
    _notes(report, console, reasons)


def _say_empty(report: Report, console: Console) -> None:
    files = report["files"]
    nothing = f"No lines to read in {_files_text(len(files))}." if files else "No files to read."
    console.print(Text(nothing, style=_HEADING))
    for file in files[:TOP]:
        console.print(Text(f"  {printable(file['path'])}: {printable(file['error'] or 'empty')}", style=_DIM))
    if len(files) > TOP:
        console.print(Text(f"  and {counted(len(files) - TOP, 'more file')}", style=_DIM))
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
    read = f"{lines['total']:,} {_named(lines['total'], 'line')} from {_files_text(len(report['files']))}"
    facts = [("read", read, ""), *_period_fact(report)]
    if totals["flows"]:
        traffic = f"{bytes_text(totals['bytes'])} in {counted(totals['packets'], 'packet')}"
        facts.append(("traffic", traffic, f"({totals['flows']:,} {_named(totals['flows'], 'flow record')})"))
        refused = share_text(totals["rejected"], totals["flows"])
        facts.append(("refused", refused, f"({totals['rejected']:,} {_named(totals['rejected'], 'record')})"))
    else:
        facts.append(("traffic", "no flow records", ""))
    for name, fact, aside in facts:
        console.print(Text.assemble((f"{name:<9}", _DIM), (fact, _HEADING), (f" {aside}" if aside else "", "")))


def _files_text(count: int) -> str:
    return "one file" if count == 1 else f"{count_text(count)} files"


def _period_fact(report: Report) -> list[tuple[str, str, str]]:
    whole = _period(report)
    if whole:
        return [("period", f"{_period_text(*whole)} UTC", f"({duration_text(whole[1] - whole[0])})")]
    return [("period", "unknown", "(the records carry no time)")] if report["undated"] else []


def _period(report: Report) -> tuple[int, int] | None:
    """Earliest start and latest end of any record that has a time; where ENIs don't tell, of the panes."""
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
    shown = [line for line in _DRAWN if any(pane[line.column] for pane in panes)]
    if not shown:
        return
    peaks = [_peak_text(panes, line.column) for line in shown]
    width = max(10, console.width - 13 - max(map(len, peaks)))
    drawn = [timeline(panes, line.column, width) for line in shown]
    _heading(console, "Over time", _scale_text(panes, drawn[0]))
    for line, one, peak in zip(shown, drawn, peaks, strict=True):
        marks = sparkline(one.cells, glyphs(console))
        console.print(Text.assemble((f"  {line.name:<9}", _DIM), (marks, line.style), f"  {peak}"))


class _Drawn(NamedTuple):
    """A line over time."""

    column: Literal["bytes", "rejected"]
    name: str
    style: str


_DRAWN = (_Drawn("bytes", "bytes", "cyan"), _Drawn("rejected", "refused", "red"))


def _scale_text(panes: Sequence[Pane], drawn: Timeline) -> str:
    """How much time a mark is, and a peak."""
    length = panes[0]["end"] - panes[0]["start"]
    scale = f"each mark is {duration_text(drawn.each * length)}"
    if drawn.each > 1:
        scale += f", the peak is of {duration_text(length)}"
    return scale + (", gaps are cut" if drawn.squeezed else "")


def _peak_text(panes: Sequence[Pane], column: Literal["bytes", "rejected"]) -> str:
    peak = max(panes, key=lambda pane: pane[column])
    amount = bytes_text(peak[column]) if column == "bytes" else counted(peak[column], "record")
    starts = [pane["start"] for pane in panes]
    one_day = time_text(min(starts), _DAY) == time_text(max(starts), _DAY)
    return f"peak {amount} at {time_text(peak['start'], _MINUTE if one_day else f'{_DAY} {_MINUTE}')}"


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


_KINDS: tuple[tuple[Literal["flow", "nodata", "skipdata", "header", "blank", "reject"], str, str, str], ...] = (
    ("flow", "flow record", "flow records", ""),
    ("nodata", "NODATA", "NODATA", "an interface had no traffic"),
    ("skipdata", "SKIPDATA", "SKIPDATA", "AWS could not record everything"),
    ("header", "header line", "header lines", ""),
    ("blank", "blank line", "blank lines", ""),
    ("reject", "not understood", "not understood", ""),
)
"""Kinds of lines, with what a person calls one and many of them, and what that means."""


def _lines(report: Report, console: Console, reasons: Mapping[str, str]) -> None:
    lines = report["lines"]
    missing = lines["total"] - sum(lines[kind] for kind, *_ in _KINDS)
    if missing:
        _heading(console, "Lines")
        console.print(Text(f"  NOT accounted for: {missing:,} of {lines['total']:,}. Please report this", style=_BAD))
    else:
        _heading(console, "Lines", "every one is accounted for")
    for kind, one, many, meaning in _KINDS:
        style = _WARN if kind in {"skipdata", "reject"} else ""
        if lines[kind]:
            name = one if lines[kind] == 1 else many
            label = f"{name:<15}" if meaning else name
            console.print(Text.assemble((f"{lines[kind]:>12,}  {label}", style), (meaning, _DIM)))
    if report["rejects"]:
        console.print(_rejects(report["rejects"], reasons))


def _rejects(rejects: Mapping[str, int], reasons: Mapping[str, str]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
    table.add_column(justify="right", no_wrap=True, min_width=16)
    table.add_column(no_wrap=True)
    table.add_column(style=_DIM)
    for reason, count in sorted(rejects.items(), key=lambda pair: (-pair[1], pair[0])):
        table.add_row(f"{count:,}", Text(printable(reason.replace("_", " "))), Text(reasons.get(reason, "")))
    return table


def _findings(report: Report, console: Console) -> None:
    """The worst, then the latest."""
    ranked = sorted(report["findings"], key=lambda one: (-SEVERITIES.index(one["severity"]), -one["last_seen"]))
    if not ranked:
        return
    more = len(ranked) - TOP
    aside = f"the worst {TOP} of {len(ranked):,}; all of them: --json" if more > 0 else ""
    _heading(console, "Findings", aside)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, style=_DIM)
    table.add_column(overflow="fold")
    for one in ranked[:TOP]:
        style = _BAD if one["severity"] in _URGENT else _WARN
        told = Text(printable(one["sentence"]))
        table.add_row(Text(f"  {one['severity']}", style=style), one["detector"], time_text(one["first_seen"]), told)
    console.print(table)


def _notes(report: Report, console: Console, reasons: Mapping[str, str]) -> None:
    notes = [*_coverage_notes(report), *_format_notes(report), *_file_notes(report, reasons)]
    if not notes:
        return
    _heading(console, "Notes")
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, show_header=False)
    for note in notes:
        table.add_row(Text("  *", style=_WARN), Text(note, overflow="fold"))
    console.print(table)


def _detection_notes(report: Report) -> Iterable[str]:
    if report["suppressed"]:
        yield f"Suppressed, as you asked for: {counted(report['suppressed'], 'finding')}."
    if report["passed_over"]:
        yield f"Too much at once: {counted(report['passed_over'], 'sighting')} more are in no finding."
    if report["unused_rules"]:
        yield f"Nothing needed these rules of the policy: {'; '.join(report['unused_rules'])}."
    if report["unwatched_from"] is not None:
        yield f"Too many conversations: nothing was looked for from {time_text(report['unwatched_from'])} on."


def _coverage_notes(report: Report) -> Iterable[str]:
    lines, totals = report["lines"], report["totals"]
    if lines["skipdata"]:
        yield f"{count_text(lines['skipdata'])} SKIPDATA: AWS lost records there. The true sums are higher."
    if lines["reject"]:
        yield f"Not understood: {counted(lines['reject'], 'line')}. To see why: vpcflow parse --rejects FILE PATH"
    if report["undated"]:
        yield f"Without a time: {counted(report['undated'], 'record')}, in the sums but not in the period or over time."
    yield from _detection_notes(report)
    if lines["flow"] and not totals["bytes"]:
        yield "The records carry no bytes: shares and order say nothing here."
    unknown = totals["flows"] - totals["accepted"] - totals["rejected"]
    if unknown:
        yield f"No word whether accepted or refused: {counted(unknown, 'record')}."
    if len(report["enis"]) > 1:
        yield "What two of these interfaces said to each other is in the log twice, once at each."


_SURE = 0.9


def _format_notes(report: Report) -> Iterable[str]:
    unknown = report["rejects"].get("unknown_format")
    if unknown:
        yield f"Format unknown: {counted(unknown, 'line')}. Name the fields with --format '${{version}} ...'"
    guesses = [one for one in report["formats"] if one["confidence"] is not None and one["confidence"] < _SURE]
    if guesses:
        yield _guesses_note(guesses)


def _guesses_note(guesses: Sequence[Format]) -> str:
    """One note for all: a folder of mixed files has many."""
    lines = counted(sum(guess["lines"] for guess in guesses), "line")
    least = share_text(min(guess["confidence"] or 0 for guess in guesses), 1)
    fields = {_fields_text(guess["fields"]) for guess in guesses}
    if len(fields) > 1:
        return (
            f"The formats of {lines} are guesses ({len(fields)} formats, each at least {least} sure). "
            "If one is wrong, name its fields with --format. To see them: --json"
        )
    sure = least if len(guesses) == 1 else f"at least {least}"
    return (
        f"The format of {lines} is a guess ({sure} sure). "
        f"If it is wrong, name the fields with --format. Guessed: {fields.pop()}"
    )


def _fields_text(fields: Sequence[str] | str) -> str:
    return printable(fields if isinstance(fields, str) else " ".join(fields))


def _file_notes(report: Report, reasons: Mapping[str, str]) -> Iterable[str]:
    broken = [file for file in report["files"] if file["error"]]
    for file in broken[:TOP]:
        error = reasons.get(file["error"] or "") or printable(file["error"] or "")
        after = f" (after {counted(file['lines'], 'line')})" if file["lines"] else ""
        yield f"{printable(file['path'])}: {error}{after}"
    if len(broken) > TOP:
        yield f"{counted(len(broken) - TOP, 'more file')} could not be read to the end."
