"""Real Apache Kafka for tests: KRaft mode, Maven's jars, loopback, free ports, a data folder of its own.

Nothing is installed: the jars go to `.tools/` in the repository once. Every process is ended by its own pid, and on
Linux it also ends when the tests are killed.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from streams.embedded import DIE_WITH_PARENT, LOOPBACK, free_port

VERSION = "4.3.1"
ROOT = Path(__file__).parents[2]
POM = Path(__file__).with_name("pom.xml")
TOOLS = ROOT / ".tools" / f"kafka-{VERSION}"
CLUSTER_ID = "dnBjZmxvdy1zdHJlYW1zMQ"
JVM = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
START_SECONDS = 60.0
STOP_SECONDS = 20.0
PAUSE = 0.05

SETTINGS = {
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "auto.create.topics.enable": "false",
    "message.max.bytes": str(8 * 1024 * 1024),
    "num.network.threads": "2",
    "num.io.threads": "2",
    "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    # Tests do not wait: groups form at once, a dead member or broker is missed after a second or three.
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "broker.heartbeat.interval.ms": "500",
    "broker.session.timeout.ms": "3000",
}


class MissingError(Exception):
    """Apache Kafka can't be had on this machine: str() says why."""


def jars() -> Path:
    """The folder of Kafka's jars, fetched on the first call. Raises MissingError."""
    for program in ("java", "mvn"):
        if program == "java" or not TOOLS.is_dir():
            _program(program)
    if TOOLS.is_dir():
        return TOOLS
    TOOLS.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=TOOLS.parent) as folder:
        command = ["mvn", "-B", "-q", "-f", str(POM), "dependency:copy-dependencies", "-DincludeScope=runtime"]
        done = subprocess.run(
            [*command, f"-DoutputDirectory={folder}/jars"], capture_output=True, text=True, timeout=600, check=False
        )
        if done.returncode:
            said = (done.stdout or done.stderr).strip().splitlines() or ["it says nothing"]
            msg = f"Maven can't fetch Kafka {VERSION}: {said[0]}"
            raise MissingError(msg)
        # Whole or not at all, and another run may have been faster.
        if not TOOLS.is_dir():
            Path(folder, "jars").rename(TOOLS)
    return TOOLS


def _program(name: str) -> str:
    found = shutil.which(name)
    if not found:
        msg = f"Apache Kafka needs {name}, which is not on this machine"
        raise MissingError(msg)
    return found


@dataclass
class Node:
    """One broker: its ports stay the same over restarts, and so does what it stored."""

    number: int
    folder: Path
    port: int
    controller_port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """host:port for clients."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def config(self) -> Path:
        """Its server.properties."""
        return self.folder / "server.properties"

    def log(self) -> str:
        """The end of what it said."""
        path = self.folder / "kafka.log"
        return path.read_text("utf-8", "replace")[-2000:] if path.exists() else ""


class KafkaCluster:
    """`size` brokers that are controllers too; a context manager that starts and stops them.

    Call from the main thread: Linux ends a child with the *thread* that started it.
    """

    def __init__(
        self,
        size: int = 1,
        settings: Mapping[str, str] | None = None,
        own: Callable[[Node], Mapping[str, str]] = lambda _: {},
    ) -> None:
        """settings: Kafka's, on top of SETTINGS. own: those of one broker, on top of all. Raises MissingError."""
        self._jars = jars()
        self._folder = tempfile.TemporaryDirectory(prefix="kafka-")
        self.nodes = [
            Node(number, Path(self._folder.name) / str(number), free_port(), free_port())
            for number in range(1, size + 1)
        ]
        self._settings = {**SETTINGS, **(settings or {})}
        self._own = own

    @property
    def bootstrap(self) -> str:
        """host:port[,host:port...] of all brokers, running or not."""
        return ",".join(node.address for node in self.nodes)

    def __enter__(self) -> Self:
        """Format the folders and start all brokers."""
        try:
            self._format()
            for node in self.nodes:
                self.launch(node)
            for node in self.nodes:
                self.wait(node)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop what runs and throw the data away."""
        for node in self.nodes:
            if node.process:
                node.process.terminate()
        for node in self.nodes:
            _end(node)
        self._folder.cleanup()

    def launch(self, node: Node) -> None:
        """Start a broker that does not run; see `wait`."""
        with (node.folder / "kafka.log").open("ab") as log:
            node.process = self._java("kafka.Kafka", str(node.config), log=log)

    def wait(self, node: Node) -> None:
        """Return when the broker answers in Kafka's protocol. Raises RuntimeError with the end of its log."""
        deadline = time.monotonic() + START_SECONDS
        while not answers(node.address):
            if node.process is None or node.process.poll() is not None or time.monotonic() > deadline:
                msg = f"broker {node.number} does not start:\n{node.log()}"
                raise RuntimeError(msg)
            time.sleep(PAUSE)

    def kill9(self, index: int = 0) -> None:
        """End a broker without a chance to say goodbye."""
        process = self.nodes[index].process
        if process:
            process.send_signal(signal.SIGKILL)
            process.wait()

    def restart(self, index: int = 0) -> None:
        """Start a broker that was ended, and wait for it. It blocks: see `launch` and `wait` for a test with a loop."""
        self.launch(self.nodes[index])
        self.wait(self.nodes[index])

    def _format(self) -> None:
        formats = []
        for node in self.nodes:
            node.folder.mkdir()
            node.config.write_text("".join(f"{key}={value}\n" for key, value in self._properties(node).items()))
            with (node.folder / "format.log").open("wb") as log:
                arguments = ("format", "--cluster-id", CLUSTER_ID, "--config", str(node.config))
                formats.append((node, self._java("kafka.tools.StorageTool", *arguments, log=log)))
        for node, process in formats:
            if process.wait(START_SECONDS):
                msg = f"a folder for Kafka can't be formatted:\n{(node.folder / 'format.log').read_text()}"
                raise RuntimeError(msg)

    def _properties(self, node: Node) -> dict[str, str]:
        copies = str(min(3, len(self.nodes)))
        client = f"PLAINTEXT://{node.address}"
        return {
            **self._settings,
            "node.id": str(node.number),
            "log.dirs": str(node.folder / "data"),
            "listeners": f"{client},CONTROLLER://{LOOPBACK}:{node.controller_port}",
            "advertised.listeners": client,
            "controller.quorum.voters": ",".join(f"{n.number}@{LOOPBACK}:{n.controller_port}" for n in self.nodes),
            "offsets.topic.replication.factor": copies,
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": str(len(self.nodes) // 2 + 1 if len(self.nodes) > 1 else 1),
            **self._own(node),
        }

    def _java(self, main: str, *arguments: str, log: IO[bytes]) -> subprocess.Popen[bytes]:
        java = [_program("java"), *JVM, "-cp", f"{self._jars}/*", main, *arguments]
        return _child(java, log)


def _child(command: Sequence[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
    """A process that ends with this one, in a session of its own: a Ctrl-C on the tests is not for it."""
    return subprocess.Popen(
        [sys.executable, "-c", DIE_WITH_PARENT, str(os.getpid()), *command],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def _end(node: Node) -> None:
    if node.process is None:
        return
    try:
        node.process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        node.process.kill()
        node.process.wait()


def answers(address: str) -> bool:
    """Whether a broker at host:port answers an ApiVersions request: it does so once it serves clients."""
    host, _, port = address.rpartition(":")
    api_versions, version, correlation, no_client = 18, 0, 7, -1
    body = struct.pack(">hhih", api_versions, version, correlation, no_client)
    try:
        with socket.create_connection((host, int(port)), timeout=2) as connection:
            connection.sendall(struct.pack(">i", len(body)) + body)
            answer = connection.recv(8)
    except OSError:
        return False
    return answer[4:] == struct.pack(">i", correlation)
