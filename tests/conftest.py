"""Brokers for tests: real Apache Kafka and the embedded one. A test that asks for `bootstrap` runs against both."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest

from streams.embedded import embedded_broker
from tests.kafka.broker import KafkaCluster, MissingError


def missing(error: Exception) -> None:
    """Say why a test can't run. KAFKA_REQUIRED=1 makes that a failure, where what tests need is meant to be there."""
    if os.environ.get("KAFKA_REQUIRED"):
        pytest.fail(str(error), pytrace=False)
    pytest.skip(str(error))


@pytest.fixture(scope="session")
def apache_kafka() -> Iterator[str]:
    """host:port of Apache Kafka, one for all tests; KAFKA_BOOTSTRAP names one that runs already."""
    given = os.environ.get("KAFKA_BOOTSTRAP")
    if given:
        yield given
        return
    try:
        cluster = KafkaCluster()
    except MissingError as error:
        missing(error)
        return
    with cluster:
        yield cluster.bootstrap


@pytest.fixture
def lone_kafka() -> Iterator[KafkaCluster]:
    """A cluster of one that belongs to the test: it may be killed."""
    try:
        cluster = KafkaCluster()
    except MissingError as error:
        missing(error)
        return
    with cluster:
        yield cluster


@pytest.fixture
async def embedded() -> AsyncIterator[str]:
    """host:port of an embedded broker that belongs to the test."""
    async with embedded_broker() as address:
        yield address


@pytest.fixture(params=["apache", "embedded"])
def bootstrap(request: pytest.FixtureRequest) -> str:
    """host:port of each kind of broker in turn."""
    address: str = request.getfixturevalue({"apache": "apache_kafka", "embedded": "embedded"}[request.param])
    return address


@pytest.fixture
def prefix() -> str:
    """A prefix of topics and groups that no other test has: brokers are shared."""
    return f"test-{uuid4().hex[:12]}"
