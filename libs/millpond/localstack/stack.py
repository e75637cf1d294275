"""Kafka, PostgreSQL and anvil on this machine, for development and for tests."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Final, Self

from millpond.localstack import compose, ports, prerequisites
from millpond.localstack.anvil import Anvil, AnvilProcess
from millpond.localstack.component import Component, Runner
from millpond.localstack.kafka import Kafka, KafkaProcess
from millpond.localstack.ownership import take
from millpond.localstack.postgres import Postgres, PostgresProcess, binaries, password_of
from millpond.localstack.tools import Tools, default_directory

COMPONENTS: Final = ("kafka", "postgres", "anvil")


class LocalStack:
    """Starts its components on entry, each on a free port, and stops them on exit; they never outlive this process.

    State and logs lie in ``directory``; entered again, the stack has the same data, and the same ports if still free.
    Raises ``MissingPrerequisite``, ``StackInUse``, ``ToolDownloadFailed`` or ``ComponentFailed``; then nothing runs.
    """

    kafka: Kafka
    postgres: Postgres
    anvil: Anvil

    def __init__(
        self,
        directory: Path,
        components: Sequence[str] = COMPONENTS,
        *,
        tools: Path | None = None,
        kafka_settings: Mapping[str, str] | None = None,
        postgres_settings: Mapping[str, str] | None = None,
    ) -> None:
        """``*_settings`` are added to the server's own, e.g. ``{"log.retention.check.interval.ms": "1000"}``."""
        assert set(components) <= set(COMPONENTS), components
        self.directory = directory.resolve()
        self._names = tuple(components)
        self._tools = Tools(tools or default_directory())
        self._kafka_settings = kafka_settings or {}
        self._postgres_settings = postgres_settings or {}
        self._lock: int | None = None
        self._project: compose.Project | None = None
        self._held: dict[str, socket.socket] = {}
        self.components: list[Component] = []

    def __enter__(self) -> Self:
        self._require()
        self._lock = take(self.directory)
        try:
            self._wire(self._lock)
            self._start_all()
            self._write_environment()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stops what runs, all at once. May be called again."""
        if self._lock is None:
            return
        (self.directory / "env").unlink(missing_ok=True)
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda component: component.stop(), self.components))
        self.components = []
        for held in self._held.values():
            held.close()
        self._held = {}
        os.close(self._lock)
        self._lock = None

    def discard(self) -> None:
        """Stops what runs and deletes its data."""
        self.close()
        if self._project is not None:
            self._project.run("down", "--volumes")
        shutil.rmtree(self.directory, ignore_errors=True)

    def restart_dead(self) -> list[Component]:
        """Starts again each component that has ended unasked, and returns those."""
        dead = [component for component in self.components if component.wanted and not component.running]
        for component in dead:
            component.runner.stop()
            component.start()
        return dead

    @property
    def environment(self) -> dict[str, str]:
        """What other programs need to find this stack."""
        found = {}
        if "kafka" in self._names:
            found["MILLPOND_KAFKA_BOOTSTRAP_SERVERS"] = self.kafka.bootstrap_servers
        if "postgres" in self._names:
            found["MILLPOND_POSTGRES_DSN"] = self.postgres.dsn()
        if "anvil" in self._names:
            found["MILLPOND_CHAIN_RPC_URL"] = self.anvil.url
        return found

    def _start_all(self) -> None:
        outcomes: SimpleQueue[BaseException | None] = SimpleQueue()

        def start(component: Component) -> None:
            try:
                component.bring_up()
            except BaseException as error:
                outcomes.put(error)
            else:
                outcomes.put(None)

        for component in self.components:
            component.wanted = True
            # Daemons: Ctrl-C does not wait for a download to end.
            threading.Thread(target=start, args=(component,), daemon=True).start()
        for _ in self.components:
            if error := outcomes.get():
                raise error

    def _write_environment(self) -> None:
        file = self.directory / "env"
        # It holds the superuser's password.
        file.touch(mode=0o600)
        file.write_text("".join(f"{name}={value}\n" for name, value in self.environment.items()))

    def _require(self) -> None:
        if compose.is_available():
            return
        missing = prerequisites.absent(["java"]) if "kafka" in self._names else []
        for name in self._names:
            missing += prerequisites.absent(self._tools.missing_programs(name))
        if "postgres" in self._names and binaries() is None:
            missing.append("postgres")
        prerequisites.refuse(missing)

    def _wire(self, lock: int) -> None:
        roles = [*self._names, "kafka-controller"] if "kafka" in self._names else self._names
        self._held = ports.assign(self.directory / "ports.json", roles)
        port = {role: ports.number_of(held) for role, held in self._held.items()}
        password = password_of(self.directory / "postgres")
        as_containers = compose.is_available()
        runners = self._containers(lock, port, password) if as_containers else self._processes(lock, port, password)
        if "kafka" in self._names:
            self.kafka = Kafka(runners["kafka"](), port["kafka"])
            self.components.append(self.kafka)
        if "postgres" in self._names:
            self.postgres = Postgres(runners["postgres"](), port["postgres"], password)
            self.components.append(self.postgres)
        if "anvil" in self._names:
            self.anvil = Anvil(runners["anvil"](), port["anvil"])
            self.components.append(self.anvil)

    def _processes(self, lock: int, port: Mapping[str, int], password: str) -> dict[str, Callable[[], Runner]]:
        return {
            "kafka": lambda: KafkaProcess(
                self.directory / "kafka",
                lock=lock,
                tools=self._tools,
                port=port["kafka"],
                controller_port=port["kafka-controller"],
                settings=self._kafka_settings,
            ),
            "postgres": lambda: PostgresProcess(
                self.directory / "postgres",
                lock=lock,
                port=port["postgres"],
                password=password,
                settings=self._postgres_settings,
            ),
            "anvil": lambda: AnvilProcess(self.directory / "anvil", lock=lock, tools=self._tools, port=port["anvil"]),
        }

    def _containers(self, lock: int, port: Mapping[str, int], password: str) -> dict[str, Callable[[], Runner]]:
        variables = {f"MILLPOND_{name.upper()}_PORT": str(port[name]) for name in self._names}
        self._project = project = compose.Project(
            self.directory,
            {**variables, "MILLPOND_POSTGRES_PASSWORD": password},
            kafka_settings=self._kafka_settings,
            postgres_settings=self._postgres_settings,
        )

        def container(service: str) -> Callable[[], Runner]:
            return lambda: compose.ContainerProcess(
                self.directory / service, lock=lock, project=project, service=service
            )

        return {name: container(name) for name in COMPONENTS}
