"""The text that is made on columns is what prometheus_client writes, whatever is in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from streams.core.facts import INFO_FIELDS
from streams.core.known import INFO_SCHEMA
from streams.core.tables import ENI, PORT
from streams.exposition import family_text, label_sets
from streams.metrics import Exposition, Instruments, Snapshot
from tests.core.traffic import examples

HOSTILE = (
    'a"quote"', "back\\slash", "back\\\\slashes\\", "line\nfeed", "\\n", '\\"', "", " ", "{}=,#", "\r\t\x00\x7f\u2028",
    "\u6f22\U0001f980", "NaN", "# HELP", "\x85",
)  # fmt: skip
LARGEST = 2**63 - 1
EDGES = (
    0, 1, 9, 10, 100_000, 999_999, 1_000_000, 1_000_001, 1_234_560, 9_999_999, 10**9, 10**10, 123_456_789_012,
    2**53 - 1, 2**53, 2**53 + 1, 2**53 + 2, 10**16, 10**16 + 2, 10**17, LARGEST, -1, -10, -1_000_000, -LARGEST,
)  # fmt: skip

Samples = Sequence[tuple[Mapping[str, str], int]]

texts = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=8))
numbers = st.one_of(
    st.sampled_from(EDGES), st.integers(-LARGEST, LARGEST), st.integers(0, 18).flatmap(lambda n: st.integers(0, 10**n))
)


class Families(Collector):
    """A registry of these."""

    def __init__(self, *families: Metric) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _theirs(kind: str, name: str, meaning: str, labels: Sequence[str], samples: Samples) -> bytes:
    make = CounterMetricFamily if kind == "counter" else GaugeMetricFamily
    family = make(name, meaning, labels=labels)
    for found, value in samples:
        family.add_metric([found[label] for label in labels], value)
    return generate_latest(Families(family))


def _ours(kind: str, name: str, meaning: str, labels: Sequence[str], samples: Samples) -> bytes:
    rows = pl.DataFrame([found for found, _ in samples], schema=dict.fromkeys(labels, pl.String))
    values = pl.Series([value for _, value in samples], dtype=pl.Int64)
    return family_text(name, kind, meaning, label_sets(rows), values)


@examples(200)
@given(
    st.sampled_from([("counter", "vpcflow_x_total"), ("gauge", "vpcflow_x")]),
    texts,
    st.lists(st.sampled_from(["eni", "direction", "action", "az", "b_2", "Z"]), min_size=1, unique=True).flatmap(
        lambda labels: st.tuples(
            st.just(labels),
            st.lists(st.tuples(st.fixed_dictionaries(dict.fromkeys(labels, texts)), numbers), max_size=6),
        )
    ),
)
def test_the_text_is_prometheus_clients_to_the_byte(
    named: tuple[str, str], meaning: str, series: tuple[list[str], list[tuple[dict[str, str], int]]]
) -> None:
    kind, name = named

    assert _ours(kind, name, meaning, *series) == _theirs(kind, name, meaning, *series)


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_values_of_labels_are_escaped_as_it_does(value: str) -> None:
    series = ["eni", "action"], [({"eni": value, "action": value}, 1)]

    assert _ours("gauge", "vpcflow_x", value, *series) == _theirs("gauge", "vpcflow_x", value, *series)


@pytest.mark.parametrize("value", EDGES)
def test_numbers_are_written_as_it_does(value: int) -> None:
    series = ["eni"], [({"eni": "a"}, value)]

    assert _ours("counter", "vpcflow_x_total", ".", *series) == _theirs("counter", "vpcflow_x_total", ".", *series)


def test_a_metric_without_samples_is_its_description() -> None:
    assert _ours("gauge", "vpcflow_x", "Of nothing.", ["eni"], []) == (
        b"# HELP vpcflow_x Of nothing.\n# TYPE vpcflow_x gauge\n"
    )


@pytest.mark.parametrize("dtype", [pl.Int32, pl.Int64, pl.UInt8])
def test_integers_of_any_size_are_written(dtype: type[pl.DataType]) -> None:
    labels = label_sets(pl.DataFrame({"eni": ["a"]}))

    assert family_text("x", "gauge", ".", labels, pl.Series([7], dtype=dtype)).endswith(b'x{eni="a"} 7.0\n')


def test_a_whole_scrape_is_written_as_it_does() -> None:
    """Read and written again by prometheus_client: the same bytes."""
    counts = {"replay": False, "flows": 1, "packets": 10**7, "bytes": 2**60, "first": 0, "last": 1_700_000_000}
    enis = [{"eni": name, "direction": n % 3, "action": n % 3, **counts} for n, name in enumerate(HOSTILE)]
    ports = [{"port": n, "protocol": n, "action": n % 3, **counts} for n in range(-1, 20)]
    info = [{"eni": name, **dict.fromkeys(INFO_FIELDS, name)} for name in HOSTILE]
    snapshot = Snapshot(
        totals={"eni": pl.DataFrame(enis, schema=ENI.schema), "port": pl.DataFrame(ports, schema=PORT.schema)},
        info=pl.DataFrame(info, schema=INFO_SCHEMA),
    )

    text = Exposition(Instruments(), {"eni": 1000, "port": 1000}, 10**10).render(snapshot)

    assert text.count(b"\nvpcflow_eni_info{") == len(HOSTILE)
    assert generate_latest(Families(*text_string_to_metric_families(text.decode()))) == text
