"""Kafka: one node, broker and controller in one JVM."""

from __future__ import annotations

import base64
import contextlib
import signal
import socket
import struct
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from millpond.localstack.component import Component, ComponentFailed
from millpond.localstack.process import GuardedProcess, complete
from millpond.localstack.tools import Tools

# The one list of settings, for the process and for the container alike.
SETTINGS: Final[Mapping[str, str]] = {
    # A misspelt topic must fail, not come into being.
    "auto.create.topics.enable": "false",
    # One node: what is replicated thrice by default could never be written here.
    "default.replication.factor": "1",
    "min.insync.replicas": "1",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # Fewer than 50 partitions of bookkeeping: the first consumer of a fresh broker waits for all of them.
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.num.partitions": "1",
    # Nobody else is coming: the default makes each new group wait 3 s.
    "group.initial.rebalance.delay.ms": "0",
    # After a SIGKILL the controller waits for the old session to end before it lets the broker in again: 9 s by default.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "log.retention.check.interval.ms": "300000",
    "message.max.bytes": str(10 * 1024 * 1024),
    "replica.fetch.max.bytes": str(10 * 1024 * 1024),
}
JVM = ("-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-Djava.awt.headless=true")
FORMAT_SECONDS_MAX = 60
# How a JVM ends that was asked to: it has written what it was to write at its end.
ENDED_IN_ORDER = (0, 128 + signal.SIGTERM)

LOGGING = """\
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d %p %c{1}: %m%n
rootLogger.level = info
rootLogger.appenderRef.out.ref = out
"""


class Kafka(Component):
    name = "kafka"

    @property
    def bootstrap_servers(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def address(self) -> str:
        return self.bootstrap_servers

    def answers(self) -> bool:
        """Asks for the cluster's metadata: a broker that may serve clients stands in its own answer."""
        correlation = 7
        metadata, version, no_client_id, no_topics = 3, 1, -1, 0
        request = struct.pack(">hhihi", metadata, version, correlation, no_client_id, no_topics)
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(struct.pack(">i", len(request)) + request)
                answer = connection.makefile("rb").read(12)
        except OSError:
            return False
        if len(answer) < 12:
            return False
        _, echoed, brokers = struct.unpack(">iii", answer)
        return bool(echoed == correlation and brokers > 0)


class KafkaProcess(GuardedProcess):
    """Runs Kafka from its jars; its data, settings and log lie in ``directory``."""

    grace_s = 15.0
    failure_marks = (" ERROR ", " FATAL ")

    def __init__(
        self, directory: Path, *, lock: int, tools: Tools, port: int, controller_port: int, settings: Mapping[str, str]
    ) -> None:
        super().__init__(directory, lock=lock)
        self._tools = tools
        # Beside the one that is kept, so that it takes its place in one step: our own directory may be on another disk.
        self._new_classes = tools.kafka_classes().with_suffix(f".{uuid.uuid4().hex}")
        self._properties = {**SETTINGS, **_single_node(directory, port, controller_port), **settings}

    def prepare(self) -> None:
        (self.directory / "tmp").mkdir(parents=True, exist_ok=True)
        (self.directory / "log4j2.properties").write_text(LOGGING)
        lines = [f"{name}={value}\n" for name, value in sorted(self._properties.items())]
        (self.directory / "server.properties").write_text("".join(lines))
        if not (self.directory / "data" / "meta.properties").exists():
            self._format()

    def command(self) -> list[str]:
        return [
            "java",
            *JVM,
            *(self._kept_classes() or [f"-XX:ArchiveClassesAtExit={self._new_classes}"]),
            # Native compression libraries are unpacked here; in /tmp each SIGKILL would leave a copy for ever.
            f"-Djava.io.tmpdir={self.directory / 'tmp'}",
            f"-Dlog4j2.configurationFile={self.directory / 'log4j2.properties'}",
            "-cp",
            self._tools.kafka_classpath(),
            "kafka.Kafka",
            str(self.directory / "server.properties"),
        ]

    def ended(self, status: int) -> None:
        if status in ENDED_IN_ORDER:
            with contextlib.suppress(FileNotFoundError):
                self._new_classes.replace(self._tools.kafka_classes())

    def _kept_classes(self) -> list[str]:
        """Kafka's classes as the JVM keeps them in memory, which halves the time of a start: kept by the first that ends in
        order. A JVM that they don't fit does without."""
        kept = self._tools.kafka_classes()
        return [f"-XX:SharedArchiveFile={kept}"] if kept.exists() else []

    def _format(self) -> None:
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        command = ["java", *JVM, *self._kept_classes(), "-cp", self._tools.kafka_classpath()]
        command += ["kafka.tools.StorageTool", "format", "--standalone"]
        # With "=": one id in 64 begins with a dash, and would be taken for an option.
        command += [f"--cluster-id={cluster}", "-c", str(self.directory / "server.properties")]
        status, output = complete(command, seconds_max=FORMAT_SECONDS_MAX)
        if status:
            raise ComponentFailed(
                component="kafka", what="could not format its storage", log="StorageTool", tail=output
            )


def _single_node(directory: Path, port: int, controller_port: int) -> dict[str, str]:
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller_port}",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": str(directory / "data"),
    }
