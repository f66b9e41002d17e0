"""The report says what is in the object, in words and units a person reads, and fits the terminal."""

from __future__ import annotations

import io
import re
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from streams import report
from streams.core.parse import REASONS
from streams.core.protocols import PROTOCOLS, protocol_name
from streams.report import Counts, Eni, File, Format, Pane, Port, Report

T0 = 1_763_938_800  # 2025-11-23 23:00:00 UTC


def counts(flows: int, octets: int, rejected: int = 0) -> Counts:
    return Counts(flows=flows, packets=2 * flows, bytes=octets, accepted=flows - rejected, rejected=rejected)


def eni(name: str, octets: int, rejected: int = 0) -> Eni:
    return Eni(**counts(10, octets, rejected), eni=name, first=T0 + 5, last=T0 + 300)


def port(number: int, protocol: int, octets: int, rejected: int = 0) -> Port:
    return Port(**counts(10, octets, rejected), port=number, protocol=protocol)


def pane(number: int, octets: int, rejected: int = 0) -> Pane:
    return Pane(**counts(10, octets, rejected), start=T0 + 60 * number, end=T0 + 60 * number + 60)


FOUND = report.Found(
    detector="port-scan", severity="medium", first_seen=T0, last_seen=T0 + 60, sentence="192.0.2.1 tried 10 ports"
)


def example(**parts: object) -> Report:
    """A small healthy report; `parts` replace its parts."""
    whole = {
        "lines": lines(flow=1204, header=1),
        "rejects": {},
        "totals": counts(1204, 5_000_000, 120),
        "enis": [eni("eni-0a", 1_000_000), eni("eni-0b", 4_000_000, 5)],
        "ports": [port(53, 17, 1_000_000), port(443, 6, 4_000_000, 5)],
        "panes": [pane(0, 1_000_000), pane(1, 4_000_000, 5)],
        "undated": 0,
        "unwatched_from": None,
        "suppressed": 0,
        "passed_over": 0,
        "unused_rules": [],
        "findings": [],
        "formats": [Format(fields=["version", "account-id"], lines=1204, confidence=1.0)],
        "files": [File(path="a.log", lines=1205, error=None)],
    }
    assert not parts.keys() - whole.keys()
    return cast("Report", whole | parts)


def lines(**kinds: int) -> report.Lines:
    every = dict.fromkeys(("flow", "nodata", "skipdata", "header", "blank", "reject"), 0) | kinds
    return cast("report.Lines", {"total": sum(every.values())} | every)


def text(whole: Report, width: int = 80, reasons: dict[str, str] | None = None) -> str:
    console = Console(width=width, file=io.StringIO(), record=True)
    report.render(whole, console, *([reasons] if reasons else []))
    return console.export_text()


def test_the_summary_tells_lines_period_traffic_and_what_was_refused() -> None:
    shown = text(example())

    assert "1,205 lines from one file" in shown
    assert "2025-11-23 23:00:05 to 23:05:00 UTC (4 min 55 s)" in shown
    assert "5.00 MB in 2,408 packets (1,204 flow records)" in shown
    assert "10.0 % (120 records)" in shown
    assert "every one is accounted for" in shown


def test_a_period_over_midnight_shows_both_days() -> None:
    late = Eni(**counts(1, 1), eni="eni-0a", first=T0, last=T0 + 7200)

    assert "2025-11-23 23:00:00 to 2025-11-24 01:00:00 UTC (2 h)" in text(example(enis=[late]))


def test_one_of_a_thing_is_not_many() -> None:
    one = {"total": 4, "flow": 1, "header": 1, "blank": 1, "reject": 1}
    single = Counts(flows=1, packets=1, bytes=9, accepted=0, rejected=0)
    shown = text(
        example(
            lines=lines() | one,
            totals=single,
            panes=[Pane(**single | {"rejected": 1}, start=T0, end=T0 + 60)],
            rejects={"unknown_format": 1},
            undated=1,
            findings=[FOUND],
            formats=[Format(fields=["version"], lines=1, confidence=0.7)],
            files=[File(path="b.gz", lines=1, error="cut")] * 11,
        ),
        120,
    )

    for said in ("in 1 packet (1 flow record)", "peak 1 record at", "1  flow record\n", "1  header line\n"):
        assert said in shown
    assert re.findall(r"(?<![\d,.])1 +(?:[a-z]+ )?(?:line|record|packet|file|finding)s\b", shown) == []
    assert "1 line from one file" in text(example(lines=lines(flow=1)))


def test_records_without_a_time_are_in_no_period() -> None:
    dated, undated = eni("eni-0a", 1), Eni(**counts(9, 1), eni="eni-0b", first=None, last=None)
    some = text(example(enis=[dated, undated], undated=9))
    none = text(example(enis=[undated], panes=[], undated=1204))

    assert "2025-11-23 23:00:05 to 23:05:00 UTC" in some
    assert "Without a time: 9 records" in some
    assert "period   unknown (the records carry no time)" in none
    assert not {"1970", "Over time "} & set(re.findall(r"1970|Over time ", none))
    assert "Without a time" not in text(example())


def test_lists_are_by_bytes_then_by_name() -> None:
    shown = text(example(enis=[eni("eni-0c", 5), eni("eni-0a", 5), eni("eni-0b", 9)]))
    shown_ports = text(example(ports=[port(80, 6, 5), port(53, 17, 5), port(53, 6, 5), port(443, 6, 9)]))

    assert shown.index("eni-0b") < shown.index("eni-0a") < shown.index("eni-0c")
    assert shown_ports.index("443/tcp") < shown_ports.index("53/tcp") < shown_ports.index("53/udp")
    assert shown_ports.index("53/udp") < shown_ports.index("80/tcp")


def test_a_long_list_shows_its_ten_largest_and_says_how_many_there_are() -> None:
    shown = text(example(enis=[eni(f"eni-{n:02}", n) for n in range(2000)]))

    assert "10 of 2,000" in shown
    assert shown.count("eni-") == 10
    assert "eni-1999" in shown


def test_shares_are_of_all_bytes_and_refused_of_the_rows_records() -> None:
    row = next(line for line in text(example()).split("\n") if "eni-0b" in line)

    assert row.split()[-5:] == ["MB", "20", "10", "50.0", "%"]
    assert "80.0 %" in row


def test_rejected_lines_are_told_by_reason_in_plain_words() -> None:
    shown = text(
        example(lines=lines(flow=5, reject=3), rejects={"bad_address": 1, "too_few_fields": 2}),
        reasons={"too_few_fields": "fewer fields than the format has"},
    )

    assert "2  too few fields  fewer fields than the format has" in shown
    assert "1  bad address" in shown
    assert shown.index("too few fields") < shown.index("bad address")
    assert "vpcflow parse --rejects" in shown


def test_every_reason_has_its_words_from_the_parser() -> None:
    assert REASONS["bad_address"] in text(example(rejects={"bad_address": 1}), 120)


def test_a_reason_speaks_of_files_too_and_not_of_messages_alone() -> None:
    assert [words for words in REASONS.values() if "the message" in words] == []
    assert "file or message" in REASONS["no_lines"]


def test_the_words_for_a_reason_stay_in_their_column() -> None:
    shown = text(example(rejects={"bad_gzip": 1}), reasons={"bad_gzip": "word " * 30}).split("\n")
    first = next(n for n, line in enumerate(shown) if "bad gzip" in line)

    assert shown[first + 1].index("word") == shown[first].index("word")


def test_records_that_name_no_interface_or_port_have_a_row_too() -> None:
    nameless = {"eni": None, "port": None, "protocol": None}
    shown = text(example(enis=[eni("eni-0a", 1) | nameless], ports=[port(1, 6, 1) | nameless, port(1, 6, 1)]))

    assert "no interface" in shown
    assert "no port" in shown


def test_lines_that_are_not_accounted_for_are_shouted() -> None:
    broken = lines(flow=5)
    broken["total"] = 7
    shown = text(example(lines=broken))

    assert "NOT accounted for: 2 of 7" in shown
    assert "every one is accounted for" not in shown


@pytest.mark.parametrize(
    ("parts", "note"),
    [
        ({"lines": lines(flow=5, skipdata=3)}, "3 SKIPDATA: AWS lost records"),
        ({"formats": [Format(fields=["version"], lines=5, confidence=0.62)]}, "is a guess (62.0 % sure)"),
        ({"formats": [Format(fields="version end", lines=5, confidence=0.5)]}, "version end"),
        ({"rejects": {"unknown_format": 3}}, "Format unknown: 3 lines. Name the fields with --format '${version} ...'"),
        ({"files": [File(path="b.gz", lines=0, error="bad_gzip")]}, f"b.gz: {REASONS['bad_gzip']}"),
        ({"files": [File(path="b.gz", lines=9, error="gzip ends early")]}, "b.gz: gzip ends early (after 9 lines)"),
        ({"totals": counts(1204, 0)}, "The records carry no bytes"),
        ({"suppressed": 2}, "Suppressed, as you asked for: 2 findings."),
        ({"unused_rules": ["app to db, 22, tcp"]}, "Nothing needed these rules of the policy: app to db, 22, tcp."),
        ({"passed_over": 2}, "Too much at once: 2 sightings more are in no finding."),
        ({"unwatched_from": T0}, "Too many conversations: nothing was looked for from"),
        (
            {"totals": Counts(flows=9, packets=9, bytes=9, accepted=4, rejected=2)},
            "No word whether accepted or refused: 3 records",
        ),
    ],
)
def test_an_oddity_gets_a_note(parts: dict[str, object], note: str) -> None:
    assert note in " ".join(text(example(**parts)).split())
    assert note not in " ".join(text(example()).split())


def test_findings_are_told_the_worst_first_and_no_more_than_fit() -> None:
    """What came from a line can't move the cursor."""
    high = FOUND | {"severity": "high", "sentence": "\x1b[2Jflood"}
    shown = text(example(findings=[FOUND, high]), 120)
    many = text(example(findings=[FOUND] * 11 + [high]), 120)

    first, second = (line.split() for line in shown.partition("Findings")[2].splitlines()[1:3])
    assert first[:2] == ["high", "port-scan"]
    assert first[-1] == "?[2Jflood"
    assert second[-1] == "ports"
    assert "Findings  the worst 10 of 12; all of them: --json" in many
    assert many.count("192.0.2.1 tried 10 ports") == 9
    assert "Findings" not in text(example())


def test_a_sure_format_gets_no_note() -> None:
    assert "guess" not in text(example(formats=[Format(fields=["version"], lines=5, confidence=None)]))


def test_many_guessed_formats_are_one_note_that_names_no_fields() -> None:
    sure = Format(fields=["end"], lines=100, confidence=1.0)
    guesses = [Format(fields=["version", f"tag-{n}"], lines=n, confidence=n / 10) for n in (6, 7, 8)]
    note = " ".join(text(example(formats=[sure, *guesses])).partition("Notes")[2].split())

    assert "The formats of 21 lines are guesses (3 formats, each at least 60.0 % sure)" in note
    assert "--format" in note
    assert "--json" in note
    assert note.count("guess") == 1
    assert "tag-" not in note


def test_pieces_that_were_guessed_alike_are_one_guess() -> None:
    guesses = [Format(fields=["version", "end"], lines=n, confidence=n / 10) for n in (6, 7)]
    note = " ".join(text(example(formats=guesses)).split())

    assert "The format of 13 lines is a guess (at least 60.0 % sure)" in note
    assert note.endswith("Guessed: version end")


def test_the_timeline_tells_the_peak_and_when_it_was() -> None:
    shown = text(example(panes=[pane(0, 10), pane(7, 2_000_000, 3), pane(8, 20)]))

    assert "each mark is 1 min\n" in shown
    assert "peak 2.00 MB at 23:07" in shown
    assert "peak 3 records at 23:07" in shown


def test_a_timeline_of_days_tells_the_day_of_the_peak_and_what_a_mark_is() -> None:
    shown = text(example(panes=[pane(n, 10 + (n == 1500)) for n in range(3000)]))

    assert "peak 11 B at 2025-11-25 00:00" in shown
    assert "each mark is 1 h 19 min, the peak is of 1 min\n" in shown


def test_nothing_refused_draws_no_line_for_it() -> None:
    assert "peak 0" not in text(example(panes=[pane(0, 10), pane(1, 20)]))


def test_a_timeline_leaves_holes_where_no_pane_is_and_orders_panes_by_time() -> None:
    assert report.timeline([pane(3, 8), pane(0, 2)], "bytes", 40) == ([2, None, None, 8], 1, False)


def test_a_timeline_that_is_too_long_gives_each_cell_as_many_panes() -> None:
    assert report.timeline([pane(n, 6) for n in range(46)], "bytes", 35) == ([6] * 23, 2, False)


def test_a_stray_record_years_away_does_not_squeeze_the_timeline() -> None:
    stray = [*(pane(n, n) for n in range(5)), pane(5_000_000, 9)]

    assert report.timeline(stray, "bytes", 35) == ([0, 1, 2, 3, 4, 9], 1, True)
    assert "each mark is 1 min, gaps are cut" in text(example(panes=stray))


@given(starts=st.lists(st.integers(0, 10_000_000), min_size=1, max_size=60, unique=True), width=st.integers(1, 80))
def test_a_timeline_always_fits(starts: list[int], width: int) -> None:
    cells = report.timeline([pane(start, 1) for start in starts], "bytes", width).cells

    assert 1 <= len(cells) <= width


def test_no_lines_at_all_says_what_to_do() -> None:
    shown = text(example(lines=lines(), files=[File(path="empty.log", lines=0, error=None)]))

    assert "No lines to read in one file." in shown
    assert "empty.log: empty" in shown
    assert "vpcflow analyze flows.log.gz" in shown


def test_a_long_list_of_empty_files_is_cut() -> None:
    shown = text(example(lines=lines(), files=[File(path=f"{n}.log", lines=0, error=None) for n in range(11)]))

    assert shown.count(": empty") == 10
    assert "and 1 more file\n" in shown


def test_a_folder_without_files_is_said_to_be_one() -> None:
    assert "No files to read." in text(example(lines=lines(), files=[]))


def test_lines_without_flows_are_still_reported() -> None:
    nothing = counts(0, 0)
    shown = text(example(lines=lines(nodata=4), totals=nothing, enis=[], ports=[], panes=[]))

    assert "no flow records" in shown
    assert "4  NODATA" in shown


HUGE = 10**18


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_it_fits_the_width_even_with_huge_numbers_and_long_names(width: int) -> None:
    whole = example(
        lines=lines(flow=10**11, reject=10**9),
        rejects={"too_few_fields": 10**9},
        totals=counts(10**11, 3 * HUGE, 10**10),
        enis=[eni("eni-0123456789abcdef0", HUGE, 10), eni("x" * 500, HUGE)],
        ports=[port(65_535, 253, HUGE), port(-1, -1, HUGE), port(5432, 6, 1)],
        panes=[pane(n, HUGE, 9) for n in range(500)],
        files=[File(path="y" * 300, lines=1, error="z" * 300)],
    )

    for line in text(whole, width).split("\n"):
        assert cell_len(line) <= width or width < 80


def test_numbers_of_usual_size_are_never_cut_at_80_columns() -> None:
    enis = [
        eni(f"eni-0123456789abcdef{n}", 10 ** (n + 6)) | counts(999_999, 999_000_000_000, 999_999) for n in range(9)
    ]

    assert "…" not in text(example(enis=enis, totals=counts(999_999, 999_000_000_000, 1)))


def test_a_wider_terminal_gets_longer_bars() -> None:
    assert text(example(), 120).count("█") > text(example(), 80).count("█") > 10


def test_a_terminal_without_unicode_gets_plain_characters() -> None:
    raw = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    report.render(example(), Console(width=80, file=raw))
    raw.seek(0)

    assert "####" in raw.read()


def test_input_cannot_move_the_cursor() -> None:
    evil = "a\x1b[31mb\nc\x07"
    whole = example(
        enis=[eni(evil, 1)],
        files=[File(path=evil, lines=1, error=evil)],
        formats=[Format(fields=[evil], lines=1, confidence=0.1)],
        rejects={evil: 1},
    )
    out = io.StringIO()
    report.render(whole, Console(width=80, file=out, force_terminal=False))

    assert "a?[31mb?c?" in out.getvalue()
    assert not {"\x1b", "\x07"} & set(out.getvalue())


def test_brackets_in_the_input_are_not_markup() -> None:
    assert "[red]x" in text(example(enis=[eni("[red]x", 1)]))


@pytest.mark.parametrize(
    ("number", "words"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (9_994, "9.99 kB"), (9_995, "10.0 kB"), (999_499, "999 kB"),
     (999_500, "1.00 MB"), (12_345_678, "12.3 MB"), (5 * 10**15, "5.00 PB")],
)  # fmt: skip
def test_bytes_have_three_digits_and_a_decimal_unit(number: int, words: str) -> None:
    assert report.bytes_text(number) == words


@given(st.integers(0, 10**17))
def test_counts_and_bytes_take_at_most_seven_characters(number: int) -> None:
    assert len(report.bytes_text(number)) <= 7
    assert len(report.count_text(number)) <= 7


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0"), (12_345, "12,345"), (999_999, "999,999"), (1_000_000, "1.00 M"), (2.5e9, "2.50 G")]
)
def test_counts_are_exact_up_to_a_million(number: float, words: str) -> None:
    assert report.count_text(number) == words


@pytest.mark.parametrize(
    ("part", "whole", "words"),
    [(1, 8, "12.5 %"), (1, 100_000, "<0.1 %"), (0, 5, "0.0 %"), (5, 5, "100.0 %"), (0, 0, "")],
)
def test_a_share_never_rounds_something_to_nothing(part: int, whole: int, words: str) -> None:
    assert report.share_text(part, whole) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (0.6, "1 s"), (59, "59 s"), (60, "1 min"), (83, "1 min 23 s"), (3600, "1 h"), (3605, "1 h"),
     (90_000, "1 d 1 h"), (86_400_000, "1,000 d"), (-5, "0 s")],
)  # fmt: skip
def test_durations_have_their_two_largest_units(seconds: float, words: str) -> None:
    assert report.duration_text(seconds) == words


def test_a_time_that_no_calendar_has_is_its_number() -> None:
    assert report.time_text(10**17) == str(10**17)


@pytest.mark.parametrize(
    ("number", "protocol", "words"),
    [(443, 6, "443/tcp"), (53, 17, "53/udp"), (0, 1, "icmp"), (0, 58, "icmpv6"), (0, 6, "0/tcp"), (0, 253, "253"),
     (-1, -1, "all others"), (-3, 6, "tcp, no port"), (None, None, "no port"), (80, None, "80/?"), (0, 132, "0/sctp")],
)  # fmt: skip
def test_ports_are_named_with_their_protocol(number: int, protocol: int, words: str) -> None:
    assert report.port_text(number, protocol) == words


@given(part=st.floats(0, 1e12), whole=st.floats(0, 1e12), width=st.integers(1, 60))
def test_a_bar_fits_and_shows_whatever_is_not_nothing(part: float, whole: float, width: int) -> None:
    drawn = report.bar(part, whole, width)

    assert len(drawn) <= width
    assert bool(drawn) == (part > 0 and whole > 0)


def test_a_full_bar_is_full_and_half_a_bar_is_half() -> None:
    assert report.bar(8, 8, 4) == "████"
    assert report.bar(3, 8, 4) == "█▌"


def test_a_sparkline_goes_from_nothing_known_over_zero_to_the_top() -> None:
    assert report.sparkline([None, 0, 7, 14]) == " ▁▄█"
    assert report.sparkline([0, 0]) == "▁▁"
    assert report.sparkline([]) == ""


@given(st.floats(1e-3, 1e12))
def test_the_highest_of_a_sparkline_is_a_full_block(top: float) -> None:
    assert report.sparkline([top]) == "█"


def test_protocol_names_are_lower_case_and_one_a_number() -> None:
    assert [protocol_name(n) for n in (1, 2, 6, 17, 47, 50, 58, 132)] == [
        "icmp", "igmp", "tcp", "udp", "gre", "esp", "icmpv6", "sctp"
    ]  # fmt: skip
    names = [protocol_name(n) for n in range(256)]

    assert len(set(names)) == 256
    assert all(name == name.lower() and " " not in name for name in names)
    assert protocol_name(255) == "255"
    assert all(0 <= number <= 255 for number in PROTOCOLS)
