"""Settings: what wins, what is refused and in which words, and that no secret is ever shown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from streams.settings import (
    LARGEST_FILE,
    LEAVES,
    MOST_TOLD,
    ConfigError,
    Ingest,
    Settings,
    access_keys,
    load,
    redacted,
    settings_markdown,
    settings_yaml,
    variable,
)
from tests.kafka.process import vpcflow

Written = dict[str, object]
TOPIC_NAME = "letters, digits, dots, underscores and hyphens, 200 at most"


def _load(
    tmp_path: Path,
    tree: Written | str | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> Settings:
    config = tmp_path / "vpcflow.yaml"
    config.write_text(tree if isinstance(tree, str) else json.dumps(tree or {}))
    return load(config, environ or {}, flags)


def _problems(
    tmp_path: Path,
    tree: Written | str | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        _load(tmp_path, tree, environ, flags)
    assert str(raised.value) == "\n".join(raised.value.problems)
    return [line.replace(f" (in {tmp_path / 'vpcflow.yaml'})", "") for line in raised.value.problems]


# --- what wins -------------------------------------------------------------------------------------------------------


def test_a_variable_wins_over_the_file_and_a_flag_over_both(tmp_path: Path) -> None:
    tree: Written = {"panes": {"seconds": 10, "retained": 11, "idle_seconds": 12}}
    environ = {"VPCFLOW_PANES__RETAINED": "21", "VPCFLOW_PANES__IDLE_SECONDS": "22"}

    panes = _load(tmp_path, tree, environ, {"panes.idle_seconds": 32}).panes

    assert (panes.seconds, panes.retained, panes.idle_seconds, panes.lateness_seconds) == (10, 21, 32, 900)


def test_a_variable_names_the_file(tmp_path: Path) -> None:
    config = tmp_path / "other.yaml"
    config.write_text("listen: 127.0.0.1:1\n")

    assert load(None, {"VPCFLOW_CONFIG": str(config)}).listen == "127.0.0.1:1"


def test_a_given_file_wins_over_the_variable_that_names_one(tmp_path: Path) -> None:
    settings = _load(tmp_path, {"listen": "127.0.0.1:2"}, {"VPCFLOW_CONFIG": "/nowhere"})

    assert settings.listen == "127.0.0.1:2"


def test_without_any_file_the_defaults_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert load(None, {}) == Settings()


def test_the_file_in_the_working_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/vpcflow.yaml").write_text("log: {level: error}")
    monkeypatch.chdir(tmp_path)

    assert load(None, {}).log.level == "error"


def test_the_process_environment_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VPCFLOW_LOG__LEVEL", "debug")

    assert load().log.level == "debug"


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("VPCFLOW_BRIDGE__TOPICS", "flows, more.flows", ("flows", "more.flows")),
        ("VPCFLOW_BRIDGE__TOPICS", '["flows"]', ("flows",)),
        ("VPCFLOW_INGEST__FORMATS", '{"arn:x": "${version}"}', {"arn:x": "${version}"}),
        ("VPCFLOW_CHECKPOINT__SECONDS", "0.5", 0.5),
        ("VPCFLOW_BROKER__URL", "kafka://a:1,b:2", "kafka://a:1,b:2"),
        ("VPCFLOW_BROKER__URL", "kafka://a:1, kafka://[::1]:2", "kafka://a:1,[::1]:2"),
        ("VPCFLOW_BROKER__SASL_USERNAME", "0123", "0123"),
    ],
)
def test_a_variable_holds_every_type(tmp_path: Path, name: str, text: str, expected: object) -> None:
    settings = _load(tmp_path, environ={name: text})

    section, key = next(keys for keys in LEAVES if variable(keys) == name)
    assert getattr(getattr(settings, section), key) == expected


def test_a_map_in_a_variable_replaces_the_files(tmp_path: Path) -> None:
    tree: Written = {"ingest": {"formats": {"arn:a": "${version}"}}}

    ingest = _load(tmp_path, tree, {"VPCFLOW_INGEST__FORMATS": '{"arn:b": "${start}"}'}).ingest

    assert ingest.formats == {"arn:b": "${start}"}


def test_an_empty_variable_is_as_good_as_none(tmp_path: Path) -> None:
    assert _load(tmp_path, {"log": {"level": "error"}}, {"VPCFLOW_LOG__LEVEL": ""}).log.level == "error"


def test_a_flag_that_was_not_given_changes_nothing(tmp_path: Path) -> None:
    settings = _load(tmp_path, {"bridge": {"topics": ["a"]}}, flags={"bridge.topics": (), "broker.url": None})

    assert settings.bridge.topics == ("a",)


def test_a_section_with_every_key_commented_out_has_its_defaults(tmp_path: Path) -> None:
    assert _load(tmp_path, "panes:\n  # seconds: 5\nbudget:\n") == Settings()


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    assert _load(tmp_path, "# nothing\n") == Settings()


def test_variables_that_kubernetes_sets_for_a_service_are_not_ours(tmp_path: Path) -> None:
    environ = {
        "VPCFLOW_SERVICE_HOST": "10.0.0.1",
        "VPCFLOW_PORT": "tcp://10.0.0.1:8080",
        "VPCFLOW_INGEST_SERVICE_PORT_HTTP": "8080",
        "VPCFLOW_INGEST_PORT_8080_TCP_ADDR": "10.0.0.1",
        "OTHER_VPCFLOW_X": "1",
    }

    assert _load(tmp_path, environ=environ) == Settings()


def test_the_tree_can_not_be_changed() -> None:
    with pytest.raises(ValidationError):
        Settings().panes.seconds = 5  # type: ignore[misc]


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tree", "problem"),
    [
        ({"panes": {"seconds": "many"}}, 'panes.seconds: expected an integer >= 1 and <= 3600, found "many"'),
        ({"panes": {"retained": 0}}, "panes.retained: expected an integer >= 1, found 0"),
        ({"panes": {"retained": 1.5}}, "panes.retained: expected an integer >= 1, found 1.5"),
        ({"panes": {"retained": True}}, "panes.retained: expected an integer >= 1, found true"),
        ({"panes": {"retained": None}}, "panes.retained: expected an integer >= 1, found nothing"),
        ({"panes": {"assign": "middle"}}, 'panes.assign: expected one of start, end, spread, found "middle"'),
        ({"checkpoint": {"seconds": 0}}, "checkpoint.seconds: expected a number > 0 and <= 300, found 0"),
        ({"listen": 8080}, "listen: expected HOST:PORT, such as 127.0.0.1:8080, found 8080"),
        ({"listen": "::1:80"}, 'listen: expected HOST:PORT, such as 127.0.0.1:8080, found "::1:80"'),
        ({"listen": "h:65536"}, 'listen: expected HOST:PORT, such as 127.0.0.1:8080, found "h:65536"'),
        (
            {"broker": {"url": "localhost:9092"}},
            'broker.url: expected "embedded" or kafka://HOST:PORT[,HOST:PORT...], found "localhost:9092"',
        ),
        ({"broker": {"sasl_username": 7}}, "broker.sasl_username: expected text, found 7"),
        ({"broker": 5}, "broker: expected a map of settings, found 5"),
        ({"ingest": {"formats": ["x"]}}, "ingest.formats: expected a map of text to text, found a list"),
        (
            {"ingest": {"access_key_file": "/nowhere/keys"}},
            'ingest.access_key_file: expected a file that can be read, or null, found "/nowhere/keys"',
        ),
        (
            {"bridge": {"topics": ["a b"]}},
            f'bridge.topics: expected a list, each {TOPIC_NAME}, found "a b"',
        ),
        (
            {"bridge": {"broker": {"url": "embedded"}}},
            'bridge.broker.url: expected "" or kafka://HOST:PORT[,HOST:PORT...], found "embedded"',
        ),
        ({"panes": {"secnds": 5}}, "panes.secnds: unknown key; the nearest is panes.seconds"),
        ({"budgt": {}}, "budgt: unknown key; the nearest is budget"),
        ({"broker": {"replication": 3}}, "broker.replication: unknown key; the nearest is topics.replication"),
        ({"max_body_bytes": 3}, "max_body_bytes: unknown key; the nearest is ingest.max_body_bytes"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_told_with_key_expectation_and_finding(tmp_path: Path, tree: Written, problem: str) -> None:
    assert _problems(tmp_path, tree) == [problem]


@pytest.mark.parametrize(
    ("tree", "start"),
    [
        ({"ingest": {"max_body_bytes": 2, "max_in_flight_bytes": 1}}, "ingest.max_in_flight_bytes: expected max_body"),
        ({"budget": {"eni_series": 11, "eni_keys": 10}}, "budget.eni_series: expected eni_keys (10) or less, found 11"),
        (
            {"topics": {"summary_partitions": 1}},
            "topics.summary_partitions: expected 2 or more for budget.eni_keys (100000), found 1",
        ),
        ({"topics": {"replication": 3}}, "topics.replication: expected 1 because the broker is embedded, found 3"),
        (
            {"broker": {"security_protocol": "SSL"}},
            "broker.security_protocol: expected PLAINTEXT because the broker is embedded, found SSL",
        ),
        (
            {"broker": {"url": "kafka://h:1", "security_protocol": "SASL_SSL"}},
            "broker.sasl_mechanism: expected one because security_protocol is SASL_SSL, found none",
        ),
        ({"bridge": {"topics": ["vpcflow.raw"]}}, "bridge.topics: expected topics of others, found vpcflow.raw"),
        ({"bridge": {"broker": {"sasl_mechanism": "PLAIN"}}}, "bridge.broker.security_protocol: expected SASL"),
    ],
)
def test_a_rule_between_keys_is_told_with_its_key(tmp_path: Path, tree: Written, start: str) -> None:
    assert _problems(tmp_path, tree)[0].startswith(start)


def test_an_unknown_key_that_is_like_nothing_gets_a_hint_all_the_same(tmp_path: Path) -> None:
    (problem,) = _problems(tmp_path, {"12": 1})

    assert problem.startswith("12: unknown key; the nearest is ")


def test_a_topic_of_ours_in_another_cluster_may_be_bridged(tmp_path: Path) -> None:
    bridge = {"topics": ["vpcflow.raw"], "broker": {"url": "kafka://elsewhere:9092"}}

    assert _load(tmp_path, {"bridge": bridge}).bridge.topics == ("vpcflow.raw",)


def test_a_certificate_without_its_key_is_refused(tmp_path: Path) -> None:
    certificate = tmp_path / "cert.pem"
    certificate.touch()

    assert _problems(tmp_path, {"ingest": {"tls_cert": str(certificate)}}) == [
        "ingest.tls_cert: expected tls_cert and tls_key together, found one of them"
    ]


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    tree: Written = {"panes": {"seconds": "many", "sconds": 1}, "log": {"level": "loud"}}

    problems = _problems(tmp_path, tree, {"VPCFLOW_PANE__SECONDS": "1"}, {"listen": "nowhere"})

    assert [line.partition(":")[0] for line in problems] == [
        "listen",
        "panes.seconds",
        "panes.sconds",
        "log.level",
        "VPCFLOW_PANE__SECONDS",
    ]


def test_a_problem_says_where_the_value_came_from(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        _load(tmp_path, {"panes": {"seconds": 0}}, {"VPCFLOW_PANES__RETAINED": "x"}, {"listen": "y"})

    listen, seconds, retained = raised.value.problems
    assert listen.endswith('found "y" (on the command line)')
    assert seconds.endswith(f"found 0 (in {tmp_path / 'vpcflow.yaml'})")
    assert retained.endswith('found "x" (in VPCFLOW_PANES__RETAINED)')


def test_an_unknown_variable_is_an_error_with_the_nearest_name(tmp_path: Path) -> None:
    assert _problems(tmp_path, environ={"VPCFLOW_BROKER_URL": "kafka://h:1"}) == [
        "VPCFLOW_BROKER_URL: unknown variable; the nearest is VPCFLOW_BROKER__URL"
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: [", "vpcflow.yaml:1: expected YAML, found an error: "),
        ("panes:\n  seconds: 1\n  seconds: 2\n", "vpcflow.yaml:3: expected YAML, found an error: seconds stands twice"),
        ("- a\n", "vpcflow.yaml: expected a map of settings, found a list"),
        ("a: !!python/object:os.system {}", "vpcflow.yaml:1: expected YAML, found an error: could not determine"),
        ("a: \0", "vpcflow.yaml: expected YAML, found an error: "),
    ],
)
def test_a_file_that_is_no_yaml_of_ours_is_told_with_its_line(tmp_path: Path, text: str, problem: str) -> None:
    (line,) = _problems(tmp_path, text)

    assert line.startswith(f"{tmp_path}/{problem}")


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere.yaml: expected a configuration file, found none: No such file"):
        load(tmp_path / "nowhere.yaml", {})


def test_a_file_of_other_bytes_is_an_error(tmp_path: Path) -> None:
    config = tmp_path / "x.yaml"
    config.write_bytes(b"\xff\xfe\x00")

    with pytest.raises(ConfigError, match=r"found bytes that are not UTF-8"):
        load(config, {})


# --- tricks ----------------------------------------------------------------------------------------------------------

PAIRS = list(zip("abcdefgh", "bcdefghi", strict=True))
LISTS = "a: &a [x]\n" + "".join(f"{more}: &{more} [{','.join([f'*{one}'] * 10)}]\n" for one, more in PAIRS)
MERGES = "a: &a {x: 1}\n" + "".join(f"{more}: &{more} {{<<: [{','.join([f'*{one}'] * 10)}]}}\n" for one, more in PAIRS)
NO_VALUE = "expected YAML, found an error: a value that is not what its tag or its shape says"

TRICKS = {
    "a billion laughs": (LISTS + "bridge: {topics: *i}\n", "bridge.topics: expected a list"),
    "a billion laughs as text": (
        LISTS + "listen: *i\n",
        "listen: expected HOST:PORT, such as 127.0.0.1:8080, found a list",
    ),
    "a billion merges": (MERGES, "expected YAML, found an error: a map of too many keys"),
    "an alias of itself": ("bridge: {topics: &a [*a]}\n", "bridge.topics: expected a list"),
    "a call": ("a: !!python/object/apply:os.system ['true']\n", "could not determine a constructor for the tag"),
    "a name": ("panes: !!python/name:os.system\n", "could not determine a constructor for the tag"),
    "a key twice": (
        "panes: {}\nlog: {}\npanes: {}\n",
        "vpcflow.yaml:3: expected YAML, found an error: panes stands twice",
    ),
    "a key twice below": ("ingest: {formats: {a: x, 'a': y}}\n", "found an error: a stands twice"),
    "a key twice, once as a number": ("ingest: {formats: {1: x, '1': y}}\n", "found an error: 1 stands twice"),
    "a key that is a list": ("? [a]\n: 1\n", "found unhashable key"),
    "a number of 5000 digits": (f"panes: {{seconds: {'9' * 5000}}}\n", NO_VALUE),
    "a number of 5000 hex digits": (f"panes: {{seconds: 0x{'f' * 5000}}}\n", "a number of more than 64 bits"),
    "a number to the base of 60": (f"panes: {{seconds: 1{':59' * 5000}}}\n", "a number of more than 64 bits"),
    "a float beyond all": ("checkpoint: {seconds: 1.0e+999}\n", "checkpoint.seconds: expected a number > 0 and <= 300"),
    "no number": ("checkpoint: {seconds: .nan}\n", "checkpoint.seconds: expected a number > 0 and <= 300"),
    "a date that is none": ("listen: 2001-99-99\n", NO_VALUE),
    "a tag that lies": ("panes: {seconds: !!int x}\n", NO_VALUE),
    "5000 brackets": ("a: " + "[" * 5000 + "]" * 5000, "expected YAML, found an error: it is nested too deep"),
    "two documents": ("a: 1\n---\nb: 1\n", "found an error: but found another document"),
    "a terminal's escapes": ('"\\e[2J": "\\e[31m"\n', "\\x1b[2J: unknown key"),
    "half a surrogate": ('listen: "\\ud800"\n', 'found "\\ud800"'),
    "a large file": ("# " + "x" * LARGEST_FILE, "expected a configuration file, found one of more than"),
}


@pytest.mark.parametrize(("text", "says"), TRICKS.values(), ids=TRICKS)
def test_a_trick_in_the_file_is_a_clear_error_at_once(tmp_path: Path, text: str, says: str) -> None:
    problems = _problems(tmp_path, text)

    assert says in "\n".join(problems)
    assert len("\n".join(problems)) < 20 * len(str(tmp_path)) + 5000
    assert "\n".join(problems).encode()


def test_a_file_of_a_thousand_unknown_keys_is_told_in_part(tmp_path: Path) -> None:
    problems = _problems(tmp_path, {f"k{n}": 1 for n in range(999)})

    assert len(problems) == MOST_TOLD + 1
    assert problems[-1] == f"... and {999 - MOST_TOLD} problems more"


def test_a_variable_that_is_nested_too_deep_is_told(tmp_path: Path) -> None:
    (problem,) = _problems(tmp_path, environ={"VPCFLOW_BRIDGE__TOPICS": "[" * 100_000})

    assert problem.startswith("bridge.topics: expected a list")


def test_a_map_may_be_given_once_and_used_twice(tmp_path: Path) -> None:
    login = (
        "broker: &there {url: 'kafka://h:1', sasl_username: me}\nbridge:\n  broker: {<<: *there, sasl_username: you}\n"
    )
    settings = _load(tmp_path, login)

    assert (settings.bridge.broker.url, settings.bridge.broker.sasl_username) == ("kafka://h:1", "you")


def test_a_trick_ends_the_process_with_2_and_no_traceback(tmp_path: Path) -> None:
    config = tmp_path / "x.yaml"
    config.write_text(MERGES)

    done = vpcflow("check", "--config", config, seconds=30)

    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(f"vpcflow: {config}:5: expected YAML, found an error: ".encode())


# --- secrets ---------------------------------------------------------------------------------------------------------

SECRET = "s3cr3t-value"
WITH_SECRETS = {
    "VPCFLOW_BROKER__SASL_PASSWORD": SECRET,
    "VPCFLOW_BROKER__SASL_USERNAME": "u",
    "VPCFLOW_BROKER__SASL_MECHANISM": "PLAIN",
    "VPCFLOW_BROKER__SECURITY_PROTOCOL": "SASL_SSL",
    "VPCFLOW_BROKER__URL": "kafka://h:1",
    "VPCFLOW_INGEST__ACCESS_KEYS": f"{SECRET},other",
}


def test_a_secret_is_in_no_repr_and_in_no_dump(tmp_path: Path) -> None:
    settings = _load(tmp_path, environ=WITH_SECRETS)

    shown = [repr(settings), str(settings), settings.model_dump_json(), json.dumps(redacted(settings))]

    assert settings.broker.sasl_password.get_secret_value() == SECRET
    assert not [text for text in shown if SECRET in text]


def test_the_redacted_tree_tells_whether_a_secret_is_set(tmp_path: Path) -> None:
    plain, with_secrets = redacted(Settings()), redacted(_load(tmp_path, environ=WITH_SECRETS))

    assert (plain["broker"]["sasl_password"], plain["ingest"]["access_keys"]) == ("", [])
    assert (with_secrets["broker"]["sasl_password"], with_secrets["ingest"]["access_keys"]) == ("***", "***")


@pytest.mark.parametrize(
    "tree",
    [
        {"broker": {"sasl_password": [SECRET]}},
        {"broker": {"sasl_password": {SECRET: 1}}},
        {"ingest": {"access_keys": SECRET}},
        {"ingest": {"access_keys": [{SECRET: 1}]}},
        {"broker": {"url": f"kafka://user:{SECRET}@h:9092"}},
        {"broker": {"sasl_mechanism": "PLAIN", "sasl_password": SECRET}},
        {"broker": {"url": "kafka://h:1", "sasl_mechanism": "PLAIN", "sasl_password": SECRET}},
        f"broker: {{sasl_password: !!int {SECRET}}}",
        f"broker: {{sasl_password: !!float {SECRET}}}",
        f"broker: {{sasl_password: {SECRET}\n",
        f'broker: {{sasl_password: "{SECRET}\\q"}}\n',
        f"broker: {{sasl_password: *{SECRET}}}\n",
        f"broker: {{sasl_password: !{SECRET} x}}\n",
    ],
)
def test_a_secret_is_in_no_error(tmp_path: Path, tree: Written | str) -> None:
    assert SECRET not in "\n".join(_problems(tmp_path, tree))


def test_a_secret_is_not_in_what_pydantic_says_either() -> None:
    with pytest.raises(ValidationError) as raised:
        Settings.model_validate({"broker": {"sasl_password": [SECRET]}})

    assert SECRET not in str(raised.value)


# --- access keys -----------------------------------------------------------------------------------------------------


def test_access_keys_come_from_the_file_and_from_the_settings(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("new-key\n\n  old-key  \n")

    ingest = Ingest.model_validate({"access_key_file": file, "access_keys": ["third"]})

    assert access_keys(ingest) == ("new-key", "old-key", "third")


def test_without_keys_none_is_asked_for() -> None:
    assert access_keys(Ingest()) == ()


@pytest.mark.parametrize("content", [b"", b" \n\n", b"\xff\n"])
def test_a_key_file_without_a_key_does_not_open_the_door(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "keys"
    file.write_bytes(content)

    with pytest.raises(ConfigError, match=r"^ingest.access_key_file: expected a file with an access key a line"):
        access_keys(Ingest(access_key_file=file))


@pytest.mark.parametrize("text", [",", "a,,b", '[""]'])
def test_an_empty_access_key_is_refused(tmp_path: Path, text: str) -> None:
    (problem,) = set(_problems(tmp_path, environ={"VPCFLOW_INGEST__ACCESS_KEYS": text}))

    assert problem.startswith("ingest.access_keys: expected a list, each text that is not empty, found a value that")


# --- documents -------------------------------------------------------------------------------------------------------


def test_the_generated_file_is_the_defaults(tmp_path: Path) -> None:
    assert _load(tmp_path, settings_yaml()) == Settings()


def test_the_generated_file_holds_every_setting() -> None:
    tree = yaml.safe_load(settings_yaml())

    assert [keys for keys in LEAVES if _missing(tree, keys)] == []
    assert len(LEAVES) > 40


def _missing(tree: Written, keys: tuple[str, ...]) -> bool:
    found: object = tree
    for key in keys:
        if not isinstance(found, dict) or key not in found:
            return True
        found = found[key]
    return False


@pytest.mark.parametrize("keys", LEAVES, ids=".".join)
def test_every_setting_is_described(keys: tuple[str, ...]) -> None:
    leaf = LEAVES[keys]

    assert leaf.description.strip().endswith((".", "?"))
    assert leaf.expected
    assert f"| `{'.'.join(keys)}` | " in settings_markdown()
