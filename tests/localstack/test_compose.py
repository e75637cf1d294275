"""The containers are the same servers: same settings, same addresses, same probes."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from testcontainers.compose import DockerCompose

from millpond.localstack import anvil, compose, kafka, ports, postgres
from millpond.localstack.component import Component

SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(compose.COMPOSE_FILE.read_text())["services"]
ANSWER_SECONDS_MAX = 60


def test_kafka_has_the_settings_of_the_process() -> None:
    environment = SERVICES["kafka"]["environment"]
    expected = {compose.kafka_variable(name): value for name, value in kafka.SETTINGS.items()}
    assert {name: environment.get(name) for name in expected} == expected


def test_kafka_has_no_broker_setting_that_the_process_lacks() -> None:
    where_it_runs = {
        "KAFKA_HEAP_OPTS",
        "KAFKA_PROCESS_ROLES",
        "KAFKA_NODE_ID",
        "KAFKA_CONTROLLER_QUORUM_VOTERS",
        "KAFKA_LISTENERS",
        "KAFKA_ADVERTISED_LISTENERS",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP",
        "KAFKA_CONTROLLER_LISTENER_NAMES",
        "KAFKA_INTER_BROKER_LISTENER_NAME",
        "KAFKA_LOG_DIRS",
    }
    known = {compose.kafka_variable(name) for name in kafka.SETTINGS} | where_it_runs
    assert set(SERVICES["kafka"]["environment"]) <= known


def test_postgres_has_the_settings_and_the_superuser_of_the_process() -> None:
    assert SERVICES["postgres"]["command"] == ["postgres", *postgres.options(postgres.SETTINGS)]
    assert SERVICES["postgres"]["environment"]["POSTGRES_USER"] == postgres.SUPERUSER


def test_anvil_has_the_options_of_the_process() -> None:
    assert SERVICES["anvil"]["command"][: len(anvil.OPTIONS)] == list(anvil.OPTIONS)


def test_kafka_is_the_version_of_the_jars() -> None:
    pom = (Path(kafka.__file__).parent / "tools" / "kafka" / "pom.xml").read_text()
    version = SERVICES["kafka"]["image"].partition(":")[2]
    assert f"<artifactId>kafka_2.13</artifactId><version>{version}</version>" in pom


@pytest.mark.parametrize("service", SERVICES)
def test_every_image_is_pinned_and_every_port_is_on_loopback(service: str) -> None:
    assert SERVICES[service]["image"].partition(":")[2] not in ("", "latest")
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[service]["ports"])


def test_a_test_of_its_own_settings_keeps_the_others(tmp_path: Path) -> None:
    compose.Project(tmp_path, {}, kafka_settings={"log.retention.ms": "1"}, postgres_settings={"fsync": "off"})
    override = yaml.safe_load((tmp_path / "compose.override.json").read_text())["services"]
    assert override["kafka"] == {"environment": {"KAFKA_LOG_RETENTION_MS": "1"}}
    assert override["postgres"]["command"][:3] == ["postgres", "-c", "max_connections=200"]
    assert override["postgres"]["command"][-2:] == ["-c", "fsync=off"]


def test_two_directories_are_two_projects(tmp_path: Path) -> None:
    names = []
    for checkout in ("one", "two"):
        (tmp_path / checkout).mkdir()
        names.append(compose.Project(tmp_path / checkout, {}, kafka_settings={}, postgres_settings={}).name)
    assert names[0] != names[1]


@pytest.mark.skipif(not compose.is_available(), reason="no Docker engine answers here")
def test_the_containers_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Not the project of whoever develops on this machine: it is taken down, volumes and all, at the end.
    monkeypatch.setenv("COMPOSE_PROJECT_NAME", f"millpond-test-{os.getpid()}")
    held = ports.assign(tmp_path / "ports.json", ["kafka", "postgres", "anvil"])
    port = {name: ports.number_of(each) for name, each in held.items()}
    variables = tmp_path / "env"
    variables.write_text("".join(f"MILLPOND_{name.upper()}_PORT={number}\n" for name, number in port.items()))
    runner = compose.ContainerProcess(
        tmp_path, lock=-1, project=compose.Project(tmp_path, {}, kafka_settings={}, postgres_settings={}), service=""
    )
    components: list[Component] = [
        kafka.Kafka(runner, port["kafka"]),
        postgres.Postgres(runner, port["postgres"], "millpond"),
        anvil.Anvil(runner, port["anvil"]),
    ]
    with DockerCompose(compose.COMPOSE_FILE.parent, compose.COMPOSE_FILE.name, env_file=str(variables)):
        deadline = time.monotonic() + ANSWER_SECONDS_MAX
        while not all(component.answers() for component in components):
            assert time.monotonic() < deadline
            time.sleep(0.2)
