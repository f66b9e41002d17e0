"""What an operator says of detection: config/detectors.yaml and config/suppressions.yaml, read and validated.

Every mistake is told at once, each with its key, what was expected and what was found, and nothing is half applied.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, date, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from streams.changed import State, state
from streams.core.contacts import TCP, UDP
from streams.core.detection import Detector
from streams.core.suppression import Suppression
from streams.detectors.known_bad import KNOWN_BAD, Entry, with_entries
from streams.detectors.policy import OUTSIDE, POLICY, Allow, Matrix, with_matrix
from streams.detectors.registry import DETECTORS
from streams.settings import MOST_TOLD, ConfigError, Detection, Section, nearest, read_yaml, shown

_ENABLED = "enabled"


@dataclass(frozen=True)
class Rules:
    """What is looked for, what nobody wants to be told of, and who may talk to whom."""

    detectors: Sequence[Detector] = DETECTORS
    suppressions: Sequence[Suppression] = ()
    matrix: Matrix = field(default_factory=Matrix)


class Rulebook:
    """The rules as the settings' files have them, read again when one of those changes."""

    def __init__(self, given: Detection) -> None:
        """Raises ConfigError as `rules` does."""
        self._given = given
        self.rules = rules(given)
        self._seen = self._states()

    def changed(self) -> bool:
        """Whether a file has changed since the last call; `rules` are the new ones then.

        Raises ConfigError, once for each edit: it is refused, `rules` stay what they were.
        """
        states = self._states()
        if states == self._seen:
            return False
        self._seen = states
        self.rules = rules(self._given)
        self._seen = self._states()  # with the lists that are named now
        return True

    def _states(self) -> dict[Path, State]:
        given = self._given
        lists = [
            Path(path) for one in self.rules.detectors if one.name == KNOWN_BAD.name for path in one.settings.lists
        ]
        files = [path for path in (given.detectors, given.policy, given.suppressions, *lists) if path is not None]
        return {path: state(path) for path in files}


def rules(given: Detection) -> Rules:
    """As the settings' files have it. Raises ConfigError with every problem of the first file that has any."""
    matrix = read_policy(given.policy) if given.policy else Matrix()
    detectors = [_with_lists(_with_policy(one, matrix)) for one in tuned(given.detectors, DETECTORS)]
    return Rules(detectors, suppressions(given.suppressions, DETECTORS), matrix)


def tuned(path: Path | None, detectors: Sequence[Detector]) -> list[Detector]:
    """The detectors as the file has them, those left out that it switches off. None: as they are.

    Raises ConfigError with every problem.
    """
    if path is None:
        return list(detectors)
    tree = read_yaml(path)
    problems = [f"{path}: {problem}" for problem in _problems(tree, detectors)]
    if problems:
        raise ConfigError(problems)
    return [_with(one, tree.get(one.name) or {}) for one in detectors if (tree.get(one.name) or {}).get(_ENABLED, True)]


def _with(one: Detector, values: Mapping[str, Any]) -> Detector:
    mine = {name: value for name, value in values.items() if name != _ENABLED}
    return replace(one, settings=_valid(one, mine)) if mine else one


def _valid(one: Detector, values: Mapping[str, Any]) -> Any:  # noqa: ANN401 - the detector's own settings
    """Raises ValidationError."""
    whole = {each.name: getattr(one.settings, each.name) for each in fields(one.settings)}
    return TypeAdapter(type(one.settings)).validate_python({**whole, **values})


def _problems(tree: Mapping[str, Any], detectors: Sequence[Detector]) -> Iterator[str]:
    known = {one.name: one for one in detectors}
    for name, values in tree.items():
        if name not in known:
            yield f"{name}: unknown detector; {nearest(str(name), known, '-')}"
        elif values is not None and not isinstance(values, dict):
            yield f"{name}: expected a map of settings, found {shown(values)}"
        else:
            yield from _wrong(known[name], values or {})


def _wrong(one: Detector, values: Mapping[str, Any]) -> Iterator[str]:
    names = [_ENABLED, *(each.name for each in fields(one.settings))]
    for name, value in values.items():
        if name not in names:
            yield f"{one.name}.{name}: unknown key; {nearest(str(name), names, '.')}"
        elif expected := _unfit(one, name, value):
            yield f"{one.name}.{name}: expected {expected}, found {shown(value)}"


def _unfit(one: Detector, name: str, value: object) -> str:
    """What would have been right, where this is not. Nothing that a detector counts or compares with is below zero."""
    default = True if name == _ENABLED else getattr(one.settings, name)
    if isinstance(default, bool):
        return "" if isinstance(value, bool) else "true or false"
    expected = next(text for kind, text in _EXPECTED.items() if isinstance(default, kind))
    try:
        found = getattr(_valid(one, {name: value}), name)
    except ValidationError:
        return expected
    return expected if isinstance(value, bool) or (not isinstance(found, tuple) and found <= 0) else ""


_EXPECTED: dict[type, str] = {tuple: "a list", int: "a whole number above 0", float: "a number above 0"}


# -- policy ------------------------------------------------------------------------------------------------------------


class _Rule(Section):
    """See config/policy.yaml."""

    client: str = Field(alias="from")
    server: str = Field(alias="to")
    ports: tuple[int | str, ...] = ()
    protocol: Literal["tcp", "udp", "any"] = "tcp"
    why: str = ""

    @property
    def allow(self) -> Allow:
        """Raises ValueError."""
        number = {"tcp": TCP, "udp": UDP, "any": None}[self.protocol]
        return Allow(self.client, self.server, tuple(map(_range, self.ports)), number)


class _Policy(Section):
    """See config/policy.yaml."""

    groups: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    allow: tuple[_Rule, ...] = ()
    protected: tuple[str, ...] = ()


def _with_policy(one: Detector, matrix: Matrix) -> Detector:
    return replace(with_matrix(matrix), settings=one.settings) if one.name == POLICY.name else one


def read_policy(path: Path) -> Matrix:
    """What a file declares. Raises ConfigError with every problem of its form, else with the first of its content."""
    try:
        given = _Policy.model_validate(read_yaml(path))
        matrix = Matrix(given.groups, tuple(rule.allow for rule in given.allow), given.protected)
        _known(given)
        matrix.networks()
    except ValidationError as error:
        told = [(".".join(map(str, one["loc"])), one["msg"].lower(), shown(one["input"])) for one in error.errors()]
        raise ConfigError([f"{path}: {where}: {said}, found {found}" for where, said, found in told]) from None
    except ValueError as problem:
        raise ConfigError([f"{path}: {problem}"]) from None
    return matrix


def _known(given: _Policy) -> None:
    """Every name is a group's. Raises ValueError."""
    names = [name for rule in given.allow for name in (rule.client, rule.server)] + list(given.protected)
    for name in names:
        if name not in (*given.groups, OUTSIDE):
            raise ValueError(f"{name}: unknown group; {nearest(name, [*given.groups, OUTSIDE], '-')}")


def _range(text: int | str) -> tuple[int, int]:
    first, _, last = str(text).partition("-")
    if not (first.isdecimal() and (last or first).isdecimal()):
        raise ValueError(f'ports: expected a port or a range such as "8000-8100", found {shown(text)}')
    return int(first), int(last or first)


# -- lists of known bad addresses --------------------------------------------------------------------------------------


def _with_lists(one: Detector) -> Detector:
    if one.name != KNOWN_BAD.name:
        return one
    entries = [entry for path in one.settings.lists for entry in read_list(Path(path))]
    return replace(with_entries(entries), settings=one.settings)


def read_list(path: Path) -> list[Entry]:
    """Entries of a file. Raises ConfigError with the first problems."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError([f"{path}: expected a list of addresses, found none: {problem}"]) from None
    found, problems = list[Entry](), list[str]()
    for number, line in enumerate(lines, 1):
        words = [word.strip() for word in re.split(r"[#;]", line)[0].split(",")]
        try:
            found += [_entry(words, path.stem)] if words[0] else []
        except ValueError as problem:
            problems.append(f"{path}:{number}: {problem}")
    if problems:
        raise ConfigError(problems[:MOST_TOLD])
    return found


def _entry(words: Sequence[str], source: str) -> Entry:
    """Raises ValueError."""
    network, whose, confidence, until = [*words, "", "", ""][:4]
    if len(words) > 4 or (confidence and not (confidence.isdecimal() and int(confidence) <= 100)):  # noqa: PLR2004
        raise ValueError("expected address, source, confidence (0 to 100), day")
    _network("address", network)
    return Entry(network, whose or source, int(confidence or 50), _until(until) if until else None)


# -- suppressions ------------------------------------------------------------------------------------------------------


def suppressions(path: Path | None, detectors: Sequence[Detector]) -> list[Suppression]:
    """Of a file: a list under `suppressions`. None: none. Raises ConfigError with every problem."""
    if path is None:
        return []
    tree = read_yaml(path)
    rows = tree.get("suppressions") or []
    if set(tree) - {"suppressions"} or not isinstance(rows, list):
        raise ConfigError([f"{path}: expected a list under `suppressions`, and nothing else"])
    found, problems = list[Suppression](), list[str]()
    for number, row in enumerate(rows, 1):
        try:
            found.append(_suppression(row, {one.name for one in detectors}))
        except ValueError as problem:
            problems.append(f"{path}: suppression {number}: {problem}")
    if problems:
        raise ConfigError(problems)
    return found


_NAMES = tuple(each.name for each in fields(Suppression))


def _suppression(row: object, detectors: set[str]) -> Suppression:
    """Raises ValueError."""
    if not isinstance(row, dict):
        raise ValueError(f"expected a map, found {shown(row)}")  # noqa: TRY004 - bad data, not a bad call
    for name in row:
        if name not in _NAMES:
            raise ValueError(f"{name}: unknown key; {nearest(str(name), _NAMES, '.')}")
    for name in ("who", "why"):
        if not str(row.get(name) or "").strip():
            raise ValueError(f"{name}: expected a few words, found nothing")
    if not set(row) - {"who", "why", "until"}:
        raise ValueError("expected a detector, eni, source, target or port; this one would suppress everything")
    if row.get("detector") not in (None, *detectors):
        raise ValueError(f"detector: unknown; {nearest(str(row['detector']), detectors, '-')}")
    return Suppression(**{name: _value(name, value) for name, value in row.items() if value is not None})


def _value(name: str, value: object) -> Any:  # noqa: ANN401 - as the field has it
    if name in ("source", "target"):
        return _network(name, value)
    if name == "until":
        return _until(value)
    if name == "port":
        return _port(value)
    return str(value)


def _network(name: str, value: object) -> object:
    try:
        return ip_network(str(value))
    except ValueError:
        raise ValueError(f"{name}: expected an address or CIDR, found {shown(value)}") from None


def _port(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"port: expected a number, found {shown(value)}")  # noqa: TRY004 - bad data
    return value


def _until(value: object) -> int:
    """The end of that day, UTC."""
    try:
        day = value if isinstance(value, date) else date.fromisoformat(str(value))
    except ValueError:
        raise ValueError(f"until: expected a day such as 2026-12-31, found {shown(value)}") from None
    return int(datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=UTC).timestamp())
