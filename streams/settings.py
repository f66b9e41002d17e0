"""Settings: one validated, frozen tree. YAML file, then `VPCFLOW_*` variables, then flags; the later wins.

Everything that an operator can set is a field here with its default, its bounds and its sentence: `config/vpcflow.yaml`
and docs/SETTINGS.md are generated from this file. What is wrong is told all at once, each line with the key, what was
expected, what was found and where. A secret is never printed: not in a repr, not in an error.
"""

from __future__ import annotations

import json
import os
import re
import textwrap
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args, get_origin

import yaml
from annotated_types import Ge, Gt, Le
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

PREFIX = "VPCFLOW_"
NESTING = "__"
CONFIG_VARIABLE = PREFIX + "CONFIG"
DEFAULT_FILE = Path("config/vpcflow.yaml")
EMBEDDED = "embedded"
MIB = 1024 * 1024
HIGHEST_PORT = 65535
LONGEST_SHOWN = 80
LARGEST_FILE = 256 * 1024
MOST_TOLD = 100
"""Problems that are told: who gives another file by mistake need not read all of it."""

MOST_MERGED = 1000
"""Keys that a map may have once `<<` is undone: each level of it can have ten times those of the level below."""

Tree = dict[str, Any]
"""Settings that nobody validated yet: whatever YAML and JSON can hold."""

Keys = tuple[str, ...]
"""The way to a setting: ("panes", "seconds")."""

KUBERNETES_SERVICE = re.compile(r"VPCFLOW_([A-Z0-9_]+_)?(SERVICE_(HOST|PORT\w*)|PORT(_\d+_(TCP|UDP|SCTP)\w*)?)")
"""Kubernetes tells a pod of a service `vpcflow-x` by such variables: they are no settings of ours."""


class ConfigError(Exception):
    """The configuration is wrong. str() is one problem a line; the command line prints it and exits with 2."""

    def __init__(self, problems: Iterable[str]) -> None:
        """problems: one sentence each, the key first."""
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


# --- Kinds of values -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Says:
    """What a value should have been, in words: stands in the type, read by errors and by the docs."""

    text: str


def _not_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError  # noqa: TRY004  pydantic collects ValueError only. YAML's yes and no are not 1 and 0
    return value


def _host_port(text: str) -> str:
    host, _, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host.replace(":", " ")
    if not re.fullmatch(r"[\w.:%-]+", bare) or not re.fullmatch(r"\d{1,5}", port) or int(port) > HIGHEST_PORT:
        raise ValueError
    return text


def _kafka_url(text: str) -> str:
    if not text.startswith("kafka://"):
        raise ValueError
    addresses = text.split(",")
    return "kafka://" + ",".join(_host_port(address.strip().removeprefix("kafka://")) for address in addresses)


def _broker_url(text: str) -> str:
    return text if text == EMBEDDED else _kafka_url(text)


def _source_url(text: str) -> str:
    return text and _kafka_url(text)


def _http_url(text: str) -> str:
    if text and not re.fullmatch(r"https?://[^\s@/?#]+(/[^\s@?#]*)?", text):
        raise ValueError
    return text


def _topic_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,200}", text) or set(text) == {"."}:
        raise ValueError
    return text


def _readable(path: Path) -> Path:
    if not (path.is_file() and os.access(path, os.R_OK)):
        raise ValueError
    return path


Int = Annotated[int, BeforeValidator(_not_bool)]
Positive = Annotated[Int, Field(ge=1)]
NotNegative = Annotated[Int, Field(ge=0)]
Seconds = Annotated[float, BeforeValidator(_not_bool), Field(gt=0, le=300)]
File = Annotated[Path, AfterValidator(_readable), Says("a file that can be read")]
HostPort = Annotated[str, AfterValidator(_host_port), Says("HOST:PORT, such as 127.0.0.1:8080")]
BrokerUrl = Annotated[str, AfterValidator(_broker_url), Says('"embedded" or kafka://HOST:PORT[,HOST:PORT...]')]
SourceUrl = Annotated[str, AfterValidator(_source_url), Says('"" or kafka://HOST:PORT[,HOST:PORT...]')]
HttpUrl = Annotated[str, AfterValidator(_http_url), Says('"" or http://HOST:PORT, without a user or password')]
Secret = Annotated[SecretStr, Field(min_length=1), Says("text that is not empty")]
TopicName = Annotated[
    str, AfterValidator(_topic_name), Says("letters, digits, dots, underscores and hyphens, 200 at most")
]


class Section(BaseModel):
    """A part of the tree. Frozen; an unknown key is an error; its first docstring line is its comment in the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    def problems(self) -> Iterator[str]:
        """What is wrong between keys, each `key: sentence`. Nothing, unless a section says so."""
        yield from ()

    @model_validator(mode="after")
    def _no_problems(self) -> Self:
        found = list(self.problems())
        if found:
            raise PydanticCustomError("rules", "{count} rules broken", {"count": len(found), "problems": found})
        return self


# --- The tree --------------------------------------------------------------------------------------------------------


class Client(Section):
    """How a Kafka cluster is reached: what every client of it needs."""

    url: str = ""
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="How clients talk to the brokers."
    )
    sasl_mechanism: Literal["", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "", description="How clients log in; goes with SASL_PLAINTEXT and SASL_SSL."
    )
    sasl_username: str = Field("", description="User name for SASL.")
    sasl_password: SecretStr = Field(
        SecretStr(""), description="Password for SASL. Better in its variable than in a file."
    )
    ssl_cafile: File | None = Field(None, description="CA certificates (PEM) that the brokers' are checked against.")
    ssl_certfile: File | None = Field(None, description="Client certificate (PEM), where the brokers ask for one.")
    ssl_keyfile: File | None = Field(None, description="Private key (PEM) of the client certificate.")

    def problems(self) -> Iterator[str]:
        """SASL is whole or absent; a certificate has its key."""
        sasl = self.security_protocol.startswith("SASL")
        if sasl and not self.sasl_mechanism:
            yield f"sasl_mechanism: expected one because security_protocol is {self.security_protocol}, found none"
        if self.sasl_mechanism and not sasl:
            expected = "SASL_PLAINTEXT or SASL_SSL because sasl_mechanism is set"
            yield f"security_protocol: expected {expected}, found {self.security_protocol}"
        if self.sasl_mechanism and not (self.sasl_username and self.sasl_password.get_secret_value()):
            yield "sasl_username: expected it and sasl_password because sasl_mechanism is set, found one or none"
        if bool(self.ssl_certfile) != bool(self.ssl_keyfile):
            yield "ssl_certfile: expected ssl_certfile and ssl_keyfile together, found one of them"


class Broker(Client):
    """The Kafka cluster that holds our topics."""

    url: BrokerUrl = Field(
        EMBEDDED, description='"embedded" is a broker in memory, for a trial: what it holds is gone when it stops.'
    )

    @property
    def bootstrap(self) -> str:
        """host:port[,host:port...]; empty for the embedded broker, which has no address before it runs."""
        return "" if self.url == EMBEDDED else self.url.removeprefix("kafka://")

    def problems(self) -> Iterator[str]:
        """The embedded broker speaks neither TLS nor SASL."""
        yield from super().problems()
        if self.url == EMBEDDED and self.security_protocol != "PLAINTEXT":
            found = self.security_protocol
            yield f"security_protocol: expected PLAINTEXT because the broker is embedded, found {found}"


class Topics(Section):
    """Our topics. The counts are used once, when a topic is made; to change them later is the work of Kafka's tools."""

    prefix: TopicName = Field("vpcflow", description="First part of each name: PREFIX.raw, PREFIX.summaries and so on.")
    raw_partitions: Annotated[Positive, Field(le=1024)] = Field(
        4, description="Partitions of PREFIX.raw: no more workers than this can parse."
    )
    summary_partitions: Annotated[Positive, Field(le=1024)] = Field(
        4, description="Partitions of PREFIX.summaries: no more workers than this can hold tables."
    )
    conversation_partitions: Annotated[Positive, Field(le=1024)] = Field(
        1,
        description="Partitions of PREFIX.conversations: no more workers than this can detect. Who comes to many "
        "interfaces from outside is seen within one partition only.",
    )
    replication: Annotated[Positive, Field(le=32)] = Field(
        1, description="Copies of each topic: 3 in production, 1 with the embedded broker."
    )


class Ingest(Section):
    """The HTTP endpoint that Amazon Data Firehose posts to."""

    access_key_file: File | None = Field(
        None, description="File of access keys, one a line: several during a rotation. No key at all: all is taken."
    )
    access_keys: tuple[Secret, ...] = Field(
        (), description="Access keys besides those of the file. Better in its variable (commas between) than in a file."
    )
    max_body_bytes: Positive = Field(64 * MIB, description="Largest body as it comes; Firehose sends 64 MiB at most.")
    max_decompressed_bytes: Positive = Field(
        64 * MIB, description="Largest request once base64 and gzip are undone: a bomb stops here."
    )
    max_in_flight_bytes: Positive = Field(
        256 * MIB, description="Bytes of all requests at work. Above it the answer is 503, and Firehose comes again."
    )
    deadline_seconds: Annotated[Positive, Field(le=119)] = Field(
        60, description="What the broker has not confirmed by then is answered 503. Firehose waits 180 s in all."
    )
    formats: dict[str, str] = Field(
        {}, description="Delivery stream ARN: format string, for streams whose flow log is not in the default format."
    )
    tls_cert: File | None = Field(
        None, description="Certificate chain (PEM), to serve https. Firehose accepts no http."
    )
    tls_key: File | None = Field(None, description="Private key (PEM) of the certificate.")

    def problems(self) -> Iterator[str]:
        """A certificate has its key; the largest request can be taken."""
        if bool(self.tls_cert) != bool(self.tls_key):
            yield "tls_cert: expected tls_cert and tls_key together, found one of them"
        body, all_bodies = self.max_body_bytes, self.max_in_flight_bytes
        if body > all_bodies:
            yield f"max_in_flight_bytes: expected max_body_bytes ({body}) or more, found {all_bodies}"


class Source(Client):
    """The cluster that the bridge reads."""

    url: SourceUrl = Field("", description='Where to read: "" is the cluster of `broker` above, and its login.')

    @property
    def bootstrap(self) -> str:
        """host:port[,host:port...]; empty: read the cluster of our own topics."""
        return self.url.removeprefix("kafka://")


class Bridge(Section):
    """Topics of others that `vpcflow bridge` reads and puts on PREFIX.raw."""

    topics: tuple[TopicName, ...] = Field((), description="Topics to read. None: there is nothing to bridge.")
    group: TopicName = Field("vpcflow-bridge", description="Consumer group of the bridge.")
    generation: NotNegative = Field(
        0, description="Raise it when a source topic was deleted and made anew: its offsets start again, not repeat."
    )
    broker: Source = Field(default_factory=Source)


class Panes(Section):
    """Event time: the windows that everything is counted in."""

    seconds: Annotated[Positive, Field(le=3600)] = Field(
        60, description="Width of a pane; longer windows are sums of panes."
    )
    assign: Literal["start", "end", "spread"] = Field(
        "end", description="Pane of a record: where it starts, where it ends, or shared over all that it spans."
    )
    lateness_seconds: NotNegative = Field(
        900, description="How long a pane waits for stragglers. What is later is counted, and corrects the totals."
    )
    retained: Positive = Field(120, description="Closed panes that are kept, for longer windows and late corrections.")
    idle_seconds: Positive = Field(
        30, description="A raw partition silent for so long no longer holds the others back."
    )
    max_span_seconds: Positive = Field(
        3600, description="A record that spans more comes from a broken clock: it is put where it ends, never spread."
    )


class Budget(Section):
    """Upper bounds of memory and series. What does not fit is summed in a row `other`, and a counter moves."""

    eni_keys: Positive = Field(100_000, description="ENIs in the tables.")
    port_keys: Positive = Field(20_000, description="Service ports, each with its protocol, in the tables.")
    eni_series: Positive = Field(2000, description="ENIs with series of their own at /metrics: those with most bytes.")
    port_series: Positive = Field(500, description="Service ports with series of their own at /metrics.")
    series_ttl_seconds: Positive = Field(
        3600, description="A series ends when it had no traffic for so long. Keep it longer than any rate() in use."
    )
    key_ttl_seconds: Positive = Field(
        86_400, description="A key silent for so long leaves the tables: what it counted is in the row `expired` then."
    )
    conversations: Positive = Field(
        1_000_000, description="Conversations that wait for their minute to close, for detectors; else it closes early."
    )
    origins: Positive = Field(262_144, description="Raw messages remembered, to drop repeats; the oldest go first.")

    def problems(self) -> Iterator[str]:
        """What has a series has a key, for as long."""
        pairs = ("eni_series", "eni_keys"), ("port_series", "port_keys"), ("series_ttl_seconds", "key_ttl_seconds")
        for series, keys in pairs:
            found, limit = getattr(self, series), getattr(self, keys)
            if found > limit:
                yield f"{series}: expected {keys} ({limit}) or less, found {found}"


class Group(Section):
    """The worker's place in the consumer group of the workers."""

    session_seconds: Annotated[Positive, Field(ge=6, le=300)] = Field(
        30, description="A worker silent for so long counts as dead, and others take its partitions."
    )
    recovery_seconds: Positive = Field(
        60,
        description="A worker whose tables come no further for so long, while it reads them back, ends with an error.",
    )
    instance_id: str = Field(
        "", description="A name of its own that stays (a pod's): a restart within the session then moves no partition."
    )


class Checkpoint(Section):
    """How often state is made durable. A crash costs time (reading again since then), never counts."""

    seconds: Seconds = Field(5, description="Between checkpoints of the panes.")
    summary_seconds: Seconds = Field(0.5, description="Between summaries: how old the figures of a scrape can be.")


class Detection(Section):
    """What is looked for in the traffic, by `vpcflow analyze`, `vpcflow evaluate` and, if `live`, by the workers."""

    live: bool = Field(default=False, description="Workers look too, and tell findings on PREFIX.anomalies.")
    lateness_seconds: NotNegative = Field(
        300, description="How long a minute waits for records that come late; detectors do not see later ones."
    )

    detectors: File | None = Field(
        None, description="Settings of the detectors (YAML): a map of `vpcflow detectors explain`'s names."
    )
    policy: File | None = Field(
        None, description="Who may talk to whom (YAML): groups, what is allowed, protected groups."
    )
    alertmanager: HttpUrl = Field("", description='Prometheus Alertmanager that workers tell open findings. "": none.')
    alertmanager_seconds: Seconds = Field(
        30, description="How often. An alert ends when it was not told three times in a row."
    )
    suppressions: File | None = Field(
        None, description="Findings that nobody wants to be told of (YAML): who says so, why, until when."
    )


class Console(Section):
    """The page that a worker shows at `/`, and the API behind it."""

    enabled: bool = Field(default=True, description="Serve them. They show addresses and findings, and change nothing.")
    token_file: File | None = Field(
        None, description="File of tokens, one a line, that whoever asks the API must carry one of. None: nobody must."
    )


class Log(Section):
    """What the processes write on stderr."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severe line to write.")


_ENIS_OF_A_SUMMARY = 50_000
"""With four rows each, and IPv6 addresses learnt of all of them, 6 MB whatever they say; a topic takes 8 MiB."""


class Settings(Section):
    """The whole tree."""

    listen: HostPort = Field(
        "127.0.0.1:8080",
        description="Where /firehose, /metrics, /livez, /readyz and the console are served. Port 0: any free one.",
    )
    format: str = Field(
        "",
        description='Fields of a line, as AWS writes them ("${version} ${account-id} ..."), for sources that tell '
        'none. "": the header line, else the default format, else inferred.',
    )
    broker: Broker = Field(default_factory=Broker)
    topics: Topics = Field(default_factory=Topics)
    ingest: Ingest = Field(default_factory=Ingest)
    bridge: Bridge = Field(default_factory=Bridge)
    panes: Panes = Field(default_factory=Panes)
    budget: Budget = Field(default_factory=Budget)
    group: Group = Field(default_factory=Group)
    checkpoint: Checkpoint = Field(default_factory=Checkpoint)
    detection: Detection = Field(default_factory=Detection)
    console: Console = Field(default_factory=Console)
    log: Log = Field(default_factory=Log)

    def problems(self) -> Iterator[str]:
        """The embedded broker is one; a summary fits into a message; the bridge does not read what it writes."""
        if self.broker.url == EMBEDDED and self.topics.replication > 1:
            yield f"topics.replication: expected 1 because the broker is embedded, found {self.topics.replication}"
        least = -(-self.budget.eni_keys // _ENIS_OF_A_SUMMARY)
        if self.topics.summary_partitions < least:
            keys, found = self.budget.eni_keys, self.topics.summary_partitions
            yield f"topics.summary_partitions: expected {least} or more for budget.eni_keys ({keys}), found {found}"
        own = [name for name in self.bridge.topics if name.startswith(self.topics.prefix + ".")]
        if own and self.bridge.broker.url in ("", self.broker.url):
            yield f"bridge.topics: expected topics of others, found {own[0]}, which is ours: it would feed itself"


# --- Loading ---------------------------------------------------------------------------------------------------------


def load(
    config: Path | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> Settings:
    """The settings of this process.

    config: a YAML file; None = $VPCFLOW_CONFIG, else config/vpcflow.yaml where there is one, else the defaults.
    environ: None = the process's own. An empty variable is as good as none.
    flags: dotted key -> value, `{"broker.url": "kafka://h:9092"}`; None and () are flags that were not given.
    Raises ConfigError with every problem found.
    """
    environ = os.environ if environ is None else environ
    path = _config_path(config, environ)
    tree = read_yaml(path) if path else {}
    origin = f"in {path}" if path else ""
    origins: dict[Keys, str] = {}
    unknown = []
    for name, text in environ.items():
        keys = _keys_of(name)
        if not (name.startswith(PREFIX) and text) or name == CONFIG_VARIABLE:
            continue
        if keys in LEAVES:
            _put(tree, keys, _from_text(LEAVES[keys], text))
            origins[keys] = f"in {name}"
        elif not KUBERNETES_SERVICE.fullmatch(name):
            unknown.append(f"{name}: unknown variable; {nearest(name, map(variable, LEAVES), NESTING)}")
    for dotted, value in (flags or {}).items():
        keys = tuple(dotted.split("."))
        if value not in (None, ()):
            _put(tree, keys, value)
            origins[keys] = "on the command line"
    try:
        settings = Settings.model_validate(tree)
    except ValidationError as error:
        wrong = error.errors()
        found = [line for details in wrong[:MOST_TOLD] for line in _explain(details, origins, origin)]
        more = [f"... and {len(wrong) - MOST_TOLD} problems more"] if len(wrong) > MOST_TOLD else []
        raise ConfigError([*found, *more, *unknown]) from None
    if unknown:
        raise ConfigError(unknown)
    return settings


def access_keys(ingest: Ingest) -> tuple[str, ...]:
    """The keys that a Firehose post may carry, file first; empty: no key is asked for. Reads the file anew.

    Raises ConfigError for a file that holds no key: it would open the door instead of closing it.
    """
    keys = [key.get_secret_value() for key in ingest.access_keys]
    if ingest.access_key_file is None:
        return tuple(keys)
    expected = f"ingest.access_key_file: expected a file with an access key a line, found {ingest.access_key_file}"
    try:
        lines = [line.strip() for line in ingest.access_key_file.read_text("utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{expected}, which can't be read as text: {type(error).__name__}"]) from None
    if not any(lines):
        raise ConfigError([f"{expected}, which holds none"])
    return tuple(line for line in lines if line) + tuple(keys)


def redacted(settings: Settings) -> Tree:
    """The tree as plain values (str, int, float, list, dict, None) with `***` for every secret that is set."""
    plain: Tree = json.loads(settings.model_dump_json())
    for keys, leaf in LEAVES.items():
        if leaf.secret:
            section = plain
            for key in keys[:-1]:
                section = section[key]
            section[keys[-1]] = section[keys[-1]] and "***"
    return plain


class _Loader(yaml.SafeLoader):
    """YAML in which a key stands once (of two, one would be lost silently) and nothing is large or deep."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002  PyYAML's
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                problem = f"{_printable(key.value)} stands twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(str(key.value))
        return {str(key): value for key, value in super().construct_mapping(node, deep).items()}

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        super().flatten_mapping(node)
        if len(node.value) > MOST_MERGED:
            raise yaml.constructor.ConstructorError(None, None, "a map of too many keys", node.start_mark)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: ANN401, FBT001, FBT002  PyYAML's
        try:
            value = super().construct_object(node, deep)
        except ValueError:  # with the value in it, which may be a secret
            raise yaml.constructor.ConstructorError(
                None, None, "a value that is not what its tag or its shape says", node.start_mark
            ) from None
        if isinstance(value, int) and value.bit_length() > 64:  # noqa: PLR2004  of any column
            raise yaml.constructor.ConstructorError(None, None, "a number of more than 64 bits", node.start_mark)
        return value


def _config_path(config: Path | None, environ: Mapping[str, str]) -> Path | None:
    if config is None and environ.get(CONFIG_VARIABLE):
        config = Path(environ[CONFIG_VARIABLE])
    if config is None:
        return DEFAULT_FILE if DEFAULT_FILE.is_file() else None
    return config


def read_yaml(path: Path) -> Tree:
    """A file's map, whoever's settings it has. Raises ConfigError."""
    try:
        if path.is_file() and path.stat().st_size > LARGEST_FILE:
            raise ConfigError([f"{path}: expected a configuration file, found one of more than {LARGEST_FILE} bytes"])
        # a SafeLoader
        tree = yaml.load(path.read_text("utf-8"), _Loader)  # noqa: S506  # nosec B506
    except RecursionError:
        raise ConfigError([f"{path}: expected YAML, found an error: it is nested too deep"]) from None
    except OSError as error:
        raise ConfigError([f"{path}: expected a configuration file, found none: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{path}: expected a configuration file, found bytes that are not UTF-8"]) from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        # What it quotes may be a secret: a password that begins with `!` or `*` is a tag or an alias to YAML.
        problem = re.sub(r"'[^']{2,}'", "'...'", str(error.problem))
        raise ConfigError([f"{path}:{line}: expected YAML, found an error: {problem}"]) from None
    except yaml.YAMLError as error:
        raise ConfigError([f"{path}: expected YAML, found an error: {error}"]) from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError([f"{path}: expected a map of settings, found {shown(tree)}"])
    return _without_empty_sections(tree)


def _without_empty_sections(tree: Tree) -> Tree:
    """`panes:` with every key commented out is a section with its defaults, not a mistake."""
    return {key: value for key, value in tree.items() if value is not None or key not in SECTIONS}


def _put(tree: Tree, keys: Keys, value: object) -> None:
    """Set a value deep in the tree. A section that is no map stays: it is reported for what it is."""
    section: object = tree
    for key in keys[:-1]:
        section = section.setdefault(key, {}) if isinstance(section, dict) else None
    if isinstance(section, dict):
        section[keys[-1]] = value


def _from_text(leaf: Leaf, text: str) -> object:
    """A variable's text as what its setting holds: lists with commas or as JSON, maps as JSON."""
    holds = get_origin(leaf.annotation)
    if holds is tuple and not text.startswith("["):
        return [part.strip() for part in text.split(",")]
    if holds not in (tuple, dict):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


# --- Saying it -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Leaf:
    """One setting. annotation and metadata: its type as pydantic keeps it."""

    annotation: object
    metadata: tuple[object, ...]
    default: object
    description: str

    @property
    def expected(self) -> str:
        """What a value must be, in words."""
        return _expected(self.annotation, self.metadata)

    @property
    def secret(self) -> bool:
        """Whether the value must never be shown."""
        return "SecretStr" in repr(self.annotation)


def _leaves(section: type[Section], above: Keys = ()) -> Iterator[tuple[Keys, Leaf]]:
    for name, info in section.model_fields.items():
        keys = (*above, name)
        if isinstance(info.annotation, type) and issubclass(info.annotation, Section):
            yield from _leaves(info.annotation, keys)
        else:
            yield keys, Leaf(info.annotation, tuple(info.metadata), info.default, info.description or "")


LEAVES: dict[Keys, Leaf] = dict(_leaves(Settings))
"""Every setting, in the order of the file."""

SECTIONS: dict[str, type[Section]] = {
    name: info.annotation
    for name, info in Settings.model_fields.items()
    if isinstance(info.annotation, type) and issubclass(info.annotation, Section)
}


def variable(keys: Keys) -> str:
    """Name of a setting's variable: ("panes", "seconds") -> VPCFLOW_PANES__SECONDS."""
    return PREFIX + NESTING.join(keys).upper()


def _keys_of(name: str) -> Keys:
    return tuple(name.removeprefix(PREFIX).lower().split(NESTING))


NAMES: dict[object, str] = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "text",
    SecretStr: "text",
}


def _expected(annotation: object, metadata: Iterable[object] = ()) -> str:
    marks = list(metadata)
    said = [mark.text for mark in marks if isinstance(mark, Says)]
    if said:
        return said[0]
    holds, args = get_origin(annotation), get_args(annotation)
    if holds is Annotated:
        return _expected(args[0], args[1:])
    if holds is Literal:
        return "one of " + ", ".join(str(arg) or '""' for arg in args)
    if type(None) in args:
        return f"{_expected(args[0])}, or null"
    if holds in (tuple, dict):
        return f"a list, each {_expected(args[0])}" if holds is tuple else "a map of text to text"
    return f"{NAMES.get(annotation, 'a map of settings')} {' and '.join(_bounds(marks))}".strip()


def _bounds(marks: Iterable[object]) -> Iterator[str]:
    for mark in marks:
        if isinstance(mark, Ge):
            yield f">= {mark.ge}"
        elif isinstance(mark, Gt):
            yield f"> {mark.gt}"
        elif isinstance(mark, Le):
            yield f"<= {mark.le}"


def _explain(error: ErrorDetails, origins: Mapping[Keys, str], origin: str) -> Iterator[str]:
    """The lines that one of pydantic's errors is worth."""
    path = tuple(_printable(str(part)) for part in error["loc"])
    keys = next((path[:size] for size in range(len(path), 0, -1) if path[:size] in LEAVES), path)
    where = origins.get(keys, origin)
    suffix = f" ({where})" if where else ""
    name = ".".join(path)
    if error["type"] == "rules":
        yield from (".".join((*path, line)) for line in error["ctx"]["problems"])
    elif error["type"] == "extra_forbidden":
        yield f"{name}: unknown key; {nearest(name, [*SECTIONS, *map('.'.join, LEAVES)], '.')}{suffix}"
    else:
        leaf = LEAVES.get(keys)
        expected = leaf.expected if leaf else _expected(None)
        found = "a value that is not shown" if leaf and leaf.secret else shown(error["input"])
        yield f"{'.'.join(keys)}: expected {expected}, found {found}{suffix}"


def nearest(name: str, names: Iterable[str], separator: str) -> str:
    """A hint: the closest of the names, compared whole, then by their last part, then anything at all."""
    known = list(names)
    ends = {full.rpartition(separator)[2]: full for full in known}
    close = get_close_matches(name, known, n=1) or [
        ends[end] for end in get_close_matches(name.rpartition(separator)[2], list(ends), n=1)
    ]
    return f"the nearest is {(close or get_close_matches(name, known, n=1, cutoff=0))[0]}"


def shown(value: object) -> str:
    """A wrong value as the operator wrote it, short, without the password of a URL."""
    if value is None:
        return "nothing"
    if isinstance(value, dict | list):
        return "a map" if isinstance(value, dict) else "a list"
    text = json.dumps(value if isinstance(value, bool | int | float) else str(value), ensure_ascii=False)
    text = _printable(_without_login(text))
    return text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + '..."'


def _without_login(text: str) -> str:
    """Text with `***` for what stands before an `@`. In linear time, however long it is."""
    *logins, rest = text.split("@")
    kept = [re.sub(r"\A[^/\s\"]*", "", login[::-1])[::-1] for login in logins]
    return "".join([*(f"{one}***@" for one in kept), rest])


def _printable(text: str) -> str:
    """Text as a terminal may have it: without what steers it, or what no encoding holds."""
    shown = text if text.isprintable() else re.sub(r"[^ -~]", lambda hit: ascii(hit[0])[1:-1], text)
    return shown[: 2 * LONGEST_SHOWN]


# --- Documents -------------------------------------------------------------------------------------------------------


def settings_yaml() -> str:
    """`config/vpcflow.yaml`: every setting with its default, commented."""
    lines = [
        "# Settings of vpcflow, each with its default. Made from streams/settings.py by `make docs`.",
        f"# A variable wins over this file, a flag over both: panes.seconds is {variable(('panes', 'seconds'))}.",
    ]
    above: Keys = ()
    for keys, leaf in LEAVES.items():
        new = [keys[:size] for size in range(1, len(keys)) if keys[:size] != above[:size]]
        for section in new:
            lines += ["", *_comment(_section_doc(section), len(section) - 1), f"{_indent(section)}{section[-1]}:"]
        above = keys[:-1]
        lines += [] if new else [""] if len(keys) == 1 else []
        lines += _comment(f"{leaf.description} ({leaf.expected})", len(keys) - 1)
        lines.append(f"{_indent(keys)}{keys[-1]}: {_scalar(leaf.default)}")
    return "\n".join(lines) + "\n"


def settings_markdown() -> str:
    """`docs/SETTINGS.md`: a table a section."""
    lines = [
        "# Settings",
        "",
        "Made from `streams/settings.py` by `make docs`. A YAML file (`--config`, else `$VPCFLOW_CONFIG`, else",
        "`config/vpcflow.yaml`) is overridden by variables, and both by flags. Lists in variables have commas between",
        "their items, maps are JSON; an empty variable is as good as none. `vpcflow check` shows what is in force.",
    ]
    above: Keys | None = None
    for keys, leaf in LEAVES.items():
        if keys[:-1] != above:
            above = keys[:-1]
            title = f"`{'.'.join(above)}`" if above else "Top level"
            doc = _section_doc(above) if above else "What belongs to no section."
            lines += ["", f"## {title}", "", doc, "", "| key | default | what it is | variable |", "|---|---|---|---|"]
        text = f"{leaf.description} *{leaf.expected}*".replace("|", "\\|")
        lines.append(f"| `{'.'.join(keys)}` | `{_scalar(leaf.default)}` | {text} | `{variable(keys)}` |")
    return "\n".join(lines) + "\n"


def _section_doc(keys: Keys) -> str:
    section: type[Section] = Settings
    for key in keys:
        found = section.model_fields[key].annotation
        section = found if isinstance(found, type) and issubclass(found, Section) else section
    return (section.__doc__ or "").partition("\n")[0]


def _indent(keys: Keys) -> str:
    return "  " * (len(keys) - 1)


def _comment(text: str, depth: int) -> list[str]:
    margin = "  " * depth + "# "
    return textwrap.wrap(
        text, 110, initial_indent=margin, subsequent_indent=margin, break_long_words=False, break_on_hyphens=False
    )


def _scalar(value: object) -> str:
    """A default as YAML that is also JSON."""
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z][\w.:-]*", value):
        return value
    return json.dumps(value)
