"""The `vpcflow` command. Thin: each sub-command reads its flags and calls one function.

Exit codes: 0 done, 1 something failed on the way, 2 the configuration or the command line is wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import sys
import time
import traceback
from collections.abc import Callable, Coroutine, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast

import click
from click.shell_completion import ShellComplete, get_completion_class
from rich.console import Console

from streams import app, brokerless, cases, curve, detection, settings, tuning
from streams.agents.changelog import StateError
from streams.core.deadletter import UNKNOWN, Wanted
from streams.core.evaluation import evaluate as judge
from streams.core.fields import parse_format, unknown_names
from streams.core.parse import REASONS
from streams.core.raw import SOURCES
from streams.deadletters import SHOWN, Listing, moment_ms
from streams.feeds import Replay
from streams.kafka import BrokerError, TopicError
from streams.report import Report, render
from streams.sources.deadletters import LetterError, Putting
from streams.sources.messages import format_names
from streams.sources.publish import BrokerUnavailable
from streams.stopping import leave

F = TypeVar("F", bound=Callable[..., Any])
_INTERRUPTED = 130
_BROKEN_PIPE = 141
_FOREVER = 100 * 365 * 86_400
"""Seconds. Files may span years, and whoever replays them into `up` wants to see all that is in them."""
_TRIAL_LATENESS = 60
"""Seconds: whoever tries it does not wait for five minutes."""
_FAILURES = (BrokerError, BrokerUnavailable, LetterError, StateError, TopicError, OSError)
"""What goes wrong outside of us, each with text for whoever reads it. Anything else is a bug: it has its traceback."""


def main() -> None:
    """Run the command line; every expected failure is one clear line, not a traceback, and the process ends."""
    try:
        cli.main(prog_name="vpcflow", standalone_mode=False)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.Abort:
        _end("interrupted", _INTERRUPTED)
    except click.exceptions.NoArgsIsHelpError as problem:
        problem.show()
        sys.exit(problem.exit_code)
    except click.ClickException as problem:
        _end(_usage(problem), problem.exit_code)
    except settings.ConfigError as problem:
        _end(str(problem), 2)
    except _FAILURES as problem:
        _end(_said(problem), 1)
    except Exception:  # noqa: BLE001 - a bug of ours: told whole, and the process ends all the same
        traceback.print_exc()
        leave(1)


def _end(message: str, code: int) -> NoReturn:
    for line in message.splitlines():
        click.echo(f"vpcflow: {line}", err=True)
    leave(code)


def _said(problem: BaseException) -> str:
    """The problem in words: the system's have the file in front, and no number."""
    if isinstance(problem, OSError) and problem.filename is not None:
        return f"{problem.filename}: {problem.strerror}"
    return str(problem) or type(problem).__name__


def _usage(problem: click.ClickException) -> str:
    """What is wrong with the command line, and where it is told how it should be."""
    if not isinstance(problem, click.UsageError):
        return problem.format_message()
    command = problem.ctx.command_path if problem.ctx else "vpcflow"
    return f"{problem.format_message().rstrip('.')}; {command} --help shows what there is"


@contextlib.contextmanager
def _to_a_pipe() -> Iterator[None]:
    """Whoever reads our output may have seen enough, as `head` does: that is an end, quietly."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still buffered has nowhere to go
        sys.exit(_BROKEN_PIPE)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="vpcflow-streams", prog_name="vpcflow")
def cli() -> None:
    """See an AWS network live: VPC Flow Logs in, rolling tables and Prometheus metrics out."""


def _settings_flags(*names: str) -> Callable[[F], F]:
    """The flags that every part shares, and those of `_FLAGS` that are named."""

    def add(command: F) -> F:
        for name in reversed(("config", *names)):
            command = _FLAGS[name](command)
        return command

    return add


_EXAMPLE = "${version} ${account-id} ..."
_FORMAT = f"Fields of a line, '{_EXAMPLE}'; default: its header, else AWS's default, else guessed."
_FLAGS: dict[str, Callable[[Any], Any]] = {
    "config": click.option("--config", type=click.Path(path_type=Path), help="Settings file (YAML)."),
    "broker": click.option("--broker", metavar="URL", help="kafka://HOST:PORT[,HOST:PORT...] or embedded."),
    "kafka": click.option("--broker", metavar="URL", help="kafka://HOST:PORT[,HOST:PORT...]. Needed, if not set."),
    "listen": click.option("--listen", metavar="HOST:PORT", help="Where HTTP is served; port 0 takes a free one."),
    "keys": click.option("--access-key-file", metavar="FILE", help="Keys that a Firehose post may carry, one a line."),
    "format": click.option("--format", "format_", metavar="FIELDS", help=_FORMAT),
}


def _readable(_context: click.Context, _argument: click.Parameter, paths: Sequence[Path]) -> Sequence[Path]:
    """Refuse before anything is read or started."""
    for path in paths:
        if str(path) != "-" and not path.exists():
            raise click.UsageError(f"{path}: no such file or folder")
    return paths


_KEYS = {"broker": "broker.url", "listen": "listen", "access_key_file": "ingest.access_key_file", "format_": "format"}
_PATHS = click.argument("paths", nargs=-1, type=click.Path(path_type=Path, allow_dash=True), callback=_readable)


def _pace(_context: click.Context, _option: click.Parameter, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        pace = float(text.removesuffix("x"))
    except ValueError:
        pace = 0.0
    if not 0 < pace < float("inf"):
        raise click.BadParameter(f"expected a factor such as 60x, found {text!r}")
    return pace


def _load(config: Path | None, **flags: object) -> settings.Settings:
    """Settings that can be used. Raises ConfigError."""
    loaded = settings.load(config, flags={_KEYS.get(name, name): value for name, value in flags.items()})
    _check_format(loaded.format)
    app.verify(loaded)
    return loaded


def _check_format(text: str | None) -> None:
    """A name that AWS does not have is kept, for it may have it tomorrow. It is told: a slip looks the same."""
    try:
        fmt = parse_format(text) if text else ()
    except ValueError as problem:
        raise settings.ConfigError([f"format: {problem}"]) from None
    strange = unknown_names(fmt)
    if fmt and len(strange) == len(fmt):
        raise settings.ConfigError([f"format: expected fields of flow logs, '{_EXAMPLE}', found {text!r}"])
    for name, near in strange.items():
        hint = f" (did you mean {near}?)" if near else ""
        _tell(f"vpcflow: format: AWS has no field {name}{hint}; its values are kept as they are")


@cli.command()
@_settings_flags("broker", "listen", "keys", "format")
@click.option("--replay", is_flag=True, help="Take the records of PATHS instead of the generator's.")
@click.option("--no-findings", is_flag=True, help="Only count: look for nothing.")
@click.option("--no-generator", is_flag=True, help="Make no traffic: wait for posts.")
@click.option(
    "--rate", default=200, show_default=True, type=click.IntRange(1, 100_000), help="Generated records a second."
)
@_PATHS
def up(  # noqa: PLR0913 - what a command line has
    config: Path | None,
    *,
    replay: bool,
    no_findings: bool,
    no_generator: bool,
    rate: int,
    paths: Sequence[Path],
    **flags: str,
) -> None:
    """Run everything in one process, with traffic to look at.

    That is a broker in memory (or --broker), the ingest endpoint, a worker with /metrics and detectors, and generated
    records, or those of --replay PATHS (files, folders or - for standard input), or none. Ctrl-C ends it.
    """
    if bool(paths) != replay:
        raise click.UsageError("--replay goes with one PATH or more: vpcflow up --replay PATH...")
    kept = dict.fromkeys(("budget.key_ttl_seconds", "budget.series_ttl_seconds"), _FOREVER) if replay else {}
    looks = {"detection.live": not no_findings, "detection.lateness_seconds": _TRIAL_LATENESS}
    loaded = _load(config, **flags, **kept, **looks)
    feed = app.files_feed(paths) if replay else None if no_generator else app.generator_feed(rate)
    _run(loaded, app.Parts(worker=True, ingest=True, feed=feed, watched=True))


@cli.command()
@_settings_flags("kafka", "listen", "format")
def worker(config: Path | None, **flags: str) -> None:
    """Parse, count, and serve /metrics.

    Workers share the partitions of the raw topic: run one, or as many as there are partitions.
    """
    _run(_with_broker(_load(config, **flags)), app.Parts(worker=True))


@cli.command()
@_settings_flags("kafka", "listen", "keys")
def ingest(config: Path | None, **flags: str) -> None:
    """Take posts of Amazon Data Firehose at /firehose.

    They go to the raw topic, for the workers; the answer is 200 once the broker has confirmed.
    """
    _run(_with_broker(_load(config, **flags)), app.Parts(ingest=True))


@cli.command()
@_settings_flags("kafka", "listen")
@click.option("--topic", "topics", multiple=True, metavar="TOPIC", help="A topic to read; repeat for more.")
def bridge(config: Path | None, topics: Sequence[str], **flags: str) -> None:
    """Put the flow logs of other Kafka topics on the raw topic.

    Those topics may be on another cluster: settings bridge.broker.
    """
    loaded = _with_broker(_load(config, **{"bridge.topics": tuple(topics), **flags}))
    if not loaded.bridge.topics:
        raise settings.ConfigError(["bridge.topics: expected one topic or more, found none; --topic NAME adds one"])
    _run(loaded, app.Parts(bridge=True))


@cli.command()
@_settings_flags("kafka", "format")
@click.option(
    "--pace",
    callback=_pace,
    metavar="60x",
    help="So many times as fast as it happened, such as 60x; else as fast as it can.",
)
@click.option("--live", is_flag=True, help="As live traffic: into the live counters too.")
@click.option("--again", is_flag=True, help="Count files that were replayed before once more.")
@_PATHS
def replay(
    config: Path | None, *, pace: float | None, live: bool, again: bool, paths: Sequence[Path], **flags: str
) -> None:
    """Put the records of files on the raw topic.

    PATHS are files (text, JSON, Parquet; plain, gzip or zstd), folders, or - for standard input. The workers count them
    as history. The same command again counts nothing twice.
    """
    loaded = _with_broker(_load(config, **flags))
    how = Replay(pace=pace, live=live, again=again, format=loaded.format or None)
    app.log_to_stderr(loaded)
    _finish(app.replay(loaded, _some(paths), how, _tell))


@cli.command()
@click.option("--format", "format_", metavar="FIELDS", help=_FORMAT)
@click.option("--rejects", type=click.File("wb"), help="Gets an object for each bad line: reason, line, number.")
@_PATHS
def parse(format_: str | None, rejects: Any, paths: Sequence[Path]) -> None:  # noqa: ANN401 - a binary file of click's
    """Print the records of files as JSON, an object a line.

    PATHS are files (text, JSON, Parquet; plain, gzip or zstd), folders, or - for standard input. Keys are AWS's names;
    what is - in the line is null.
    """
    _check_format(format_)
    with _to_a_pipe():
        bad = brokerless.parse_files(_some(paths), format_, click.get_binary_stream("stdout"), rejects)
    if bad:
        said = f"{bad:,} bad line{'s' if bad > 1 else ''}"
        _tell(f"vpcflow: {said}{'' if rejects else '; --rejects FILE shows what is wrong with them'}")


@cli.command()
@_settings_flags("format")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of the report.")
@click.option("--no-findings", is_flag=True, help="Only count: to look for scans and the like takes longer.")
@_PATHS
def analyze(config: Path | None, *, as_json: bool, no_findings: bool, paths: Sequence[Path], **flags: str) -> None:
    """Report what is in files: traffic, ENIs, ports, findings.

    Bad lines are told with their reasons. PATHS are files (text, JSON, Parquet; plain, gzip or zstd), folders, or - for
    standard input.
    """
    loaded = _load(config, **flags)
    rules = tuning.Rules(detectors=()) if no_findings else tuning.rules(loaded.detection)
    found = brokerless.analyze_files(_some(paths), loaded.format or None, loaded.panes, rules)
    with _to_a_pipe():
        if as_json:
            click.echo(brokerless.write_json(found))
        else:
            render(cast("Report", found), Console(), REASONS)


@cli.command()
@_settings_flags("format")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of the table.")
@click.option("--curve", "name", metavar="DETECTOR.SETTING", help="What that threshold is worth at other values.")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="With --curve: draw it there, as PNG.")
@click.argument("flows", type=click.Path(path_type=Path, exists=True))
@click.argument("truth", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def evaluate(  # noqa: PLR0913 - what a command line has
    config: Path | None, *, as_json: bool, name: str | None, plot: Path | None, flows: Path, truth: Path, **flags: str
) -> None:
    """Measure the detectors on traffic whose truth is known.

    FLOWS is a file or folder of flow logs. TRUTH has an episode a line, a JSON object: kind, start, end (epoch
    seconds), attacker, victim, eni.
    """
    if plot and not name:
        raise click.UsageError("--plot draws what --curve DETECTOR.SETTING measures")
    loaded = _load(config, **flags)
    try:
        episodes = detection.read_truth(truth)
    except ValueError as problem:
        raise click.BadParameter(str(problem), param_hint="TRUTH") from None
    detectors = tuning.rules(loaded.detection).detectors
    if name:
        one, setting = curve.threshold(name, detectors)
        analysis, _ = brokerless.analysed([flows], loaded.format or None, loaded.panes)
        points, now = list(curve.curve(analysis, one, setting, episodes)), getattr(one.settings, setting)
        with _to_a_pipe():
            curve.show(name, now, points, Console())
        if plot:
            curve.draw(name, now, points, plot)
        return
    report, findings = brokerless.detect_files([flows], loaded.format or None, loaded.panes, detectors)
    found = judge(findings, episodes, *detection.days_of(report))
    with _to_a_pipe():
        if as_json:
            click.echo(brokerless.write_json(detection.evaluated_json(found)))
        else:
            detection.show_evaluation(found, Console())


# -- detectors --------------------------------------------------------------------------------------------------------


@cli.group()
def detectors() -> None:
    """What is looked for in the traffic."""


@detectors.command("list")
def list_detectors() -> None:
    """List the detectors."""
    with _to_a_pipe():
        detection.listed(Console())


@detectors.command("explain")
@click.argument("name")
def explain_detector(name: str) -> None:
    """Say what a detector finds, when, and what to do then."""
    found = detection.find(name)
    if found is None:
        raise click.BadParameter(detection.unknown(name), param_hint="NAME")
    with _to_a_pipe():
        click.echo(detection.explained(found))


@detectors.command("test")
@_settings_flags("format")
@click.argument("cases_file", metavar="FILE", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def try_detectors(config: Path | None, *, cases_file: Path, **flags: str) -> None:
    """Try the detectors, as they are set, on cases of your own.

    FILE is YAML: a list under `cases`, each with detector, what, fires (true or false) and lines. Exit code 1: a case
    does not hold.
    """
    loaded = _load(config, **flags)
    detectors = tuning.rules(loaded.detection).detectors
    given = cases.read_cases(cases_file, detectors)
    outcomes = list(cases.tried(given, detectors, parse_format(loaded.format) if loaded.format else None))
    with _to_a_pipe():
        cases.show(outcomes, Console())
    if not all(one.holds for one in outcomes):
        sys.exit(1)


# -- dead letters -----------------------------------------------------------------------------------------------------


def _reasons(_context: click.Context, _option: click.Parameter, reasons: Sequence[str]) -> Sequence[str]:
    for reason in reasons:
        if reason not in REASONS:
            [near] = get_close_matches(reason, REASONS, 1, 0.0)
            raise click.BadParameter(f"expected a reason, found {reason!r}; the nearest is {near}")
    return reasons


def _moment(_context: click.Context, _option: click.Parameter, text: str | None) -> int | None:
    try:
        return None if text is None else moment_ms(text, time.time())
    except (ValueError, OverflowError):
        expected = "a span such as 90m, 2h or 3d, or a time such as 2026-01-31T12:00"
        raise click.BadParameter(f"expected {expected}, found {text!r}") from None


_LETTER_OPTIONS = (
    click.option(
        "--reason", "reasons", multiple=True, callback=_reasons, metavar="REASON", help="As listed; repeat for more."
    ),
    click.option(
        "--source",
        "sources",
        multiple=True,
        type=click.Choice([*SOURCES, UNKNOWN]),
        metavar="SOURCE",
        help="As listed; repeat for more.",
    ),
    click.option(
        "--since", callback=_moment, metavar="TIME", help="Arrived then or later: 2h (ago), 3d, 2026-01-31T12:00 (UTC)."
    ),
    click.option("--until", callback=_moment, metavar="TIME", help="Arrived before that."),
    click.option("--json", "as_json", is_flag=True, help="For programs: an object a line."),
)


def _letter_flags(command: F) -> F:
    """The flags that choose dead letters: `wanted` is made of them."""

    @functools.wraps(command)
    def run(
        *,
        reasons: Sequence[str],
        sources: Sequence[str],
        since: int | None,
        until: int | None,
        **more: Any,  # noqa: ANN401
    ) -> None:
        command(wanted=Wanted(frozenset(reasons), frozenset(sources), since, until), **more)

    for option in reversed(_LETTER_OPTIONS):
        run = option(run)
    return _settings_flags("kafka")(cast("F", run))


@cli.group()
def deadletters() -> None:
    """List, show and replay lines that could not be read.

    They are on the dead-letter topic, each with its reason and where it came from.
    """


@deadletters.command("list")
@_letter_flags
@click.option("--limit", type=click.IntRange(1), help="So many letters, the oldest first; default: all.")
def list_letters(config: Path | None, *, wanted: Wanted, limit: int | None, as_json: bool, broker: str | None) -> None:
    """Count dead letters by reason and source.

    Each with the times of arrival and an example. With --json: the letters themselves, an object a line.
    """
    loaded = _with_broker(_load(config, broker=broker))
    _print(loaded, app.list_letters(loaded, Listing(wanted, limit, as_json=as_json), sys.stdout))


@deadletters.command("show")
@_letter_flags
@click.option("--limit", type=click.IntRange(1), default=SHOWN, show_default=True, help="So many, the newest.")
@click.option("--id", "id_", metavar="ID", help="The one with this id.")
def show_letters(  # noqa: PLR0913 - a flag each
    config: Path | None, *, wanted: Wanted, limit: int, id_: str | None, as_json: bool, broker: str | None
) -> None:
    """Print dead letters, the newest last.

    Each with its id, reason, where it came from, and the line, or what the payload begins with. Characters that a
    terminal could take for commands are shown as ?; --json has all as it came.
    """
    loaded = _with_broker(_load(config, broker=broker))
    _print(loaded, app.show_letters(loaded, Listing(wanted, limit, id_, as_json), sys.stdout, _tell))


@deadletters.command("replay")
@_letter_flags
@click.option("--format", "format_", metavar="FIELDS", help=f"Fields of a line, '{_EXAMPLE}'; default: as it came.")
@click.option("--limit", type=click.IntRange(1), help="About so many letters, the oldest first; default: all.")
@click.option("--dry-run", is_flag=True, help="Say what would be put back, and how much of it can be read.")
def replay_letters(  # noqa: PLR0913 - a flag each
    config: Path | None, *, wanted: Wanted, format_: str | None, limit: int | None, dry_run: bool, as_json: bool,
    broker: str | None,
) -> None:  # fmt: skip
    """Put dead letters back on the raw topic, to be read once more.

    For when a format was missing or a fault in the parser was mended. Each counts once, however often this is run or
    interrupted. What is bad again is a new dead letter, of the source deadletter: it is left where it is unless
    --source deadletter asks for it.
    """
    _check_format(format_)
    loaded = _with_broker(_load(config, broker=broker))
    how = Putting(wanted, format_names(format_) if format_ else None, limit, trial=dry_run)
    _print(loaded, app.replay_letters(loaded, how, sys.stdout, _tell, as_json=as_json))


def _print(loaded: settings.Settings, work: Coroutine[Any, Any, None]) -> NoReturn:
    """Run what prints to its end, and end."""
    app.log_to_stderr(loaded)
    with _to_a_pipe():
        asyncio.Runner().run(work)
    leave(0)


@cli.command()
@_settings_flags("broker", "listen", "keys", "format")
def check(config: Path | None, **flags: str) -> None:
    """Validate the settings and say what they would run.

    Nothing is started, and no broker is asked.
    """
    for line in app.check(_load(config, **flags)):
        click.echo(line)


@cli.command()
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
def completion(shell: str) -> None:
    """Print what a shell needs to complete commands and flags.

    In its start file: eval "$(vpcflow completion bash)"; for fish: vpcflow completion fish | source
    """
    complete = cast("type[ShellComplete]", get_completion_class(shell))
    click.echo(complete(cli, {}, "vpcflow", "_VPCFLOW_COMPLETE").source())


def _some(paths: Sequence[Path]) -> Sequence[Path]:
    if not paths:
        raise click.UsageError("name a file, a folder or - for standard input")
    return paths


def _with_broker(loaded: settings.Settings) -> settings.Settings:
    """Parts of their own have a broker of their own: the embedded one dies with the process that holds it."""
    if loaded.broker.url == settings.EMBEDDED:
        raise settings.ConfigError(
            ["broker.url: expected kafka://HOST:PORT (--broker sets it), found embedded, which only `vpcflow up` runs"]
        )
    return loaded


def _run(loaded: settings.Settings, parts: app.Parts) -> None:
    app.log_to_stderr(loaded)
    _finish(app.run(loaded, parts, _tell))


def _finish(work: Coroutine[Any, Any, None]) -> NoReturn:
    """Run to the end, and end. The loop is not closed: that waits for all that libraries left behind."""
    asyncio.Runner().run(work)
    leave(0)


def _tell(line: str) -> None:
    click.echo(line, err=True)
