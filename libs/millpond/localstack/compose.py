"""The same components as containers, where a Docker engine answers."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from millpond.localstack.component import ComponentFailed
from millpond.localstack.postgres import SETTINGS, options
from millpond.localstack.process import GuardedProcess

COMPOSE_FILE: Final = Path(__file__).parents[3] / "deploy" / "stack" / "docker-compose.yml"
# "processes" makes the stack do without Docker, although an engine answers.
ENGINE_VARIABLE: Final = "MILLPOND_STACK_ENGINE"
ASK_ENGINE_SECONDS_MAX = 10
# Includes pulling the images.
COMPOSE_SECONDS_MAX = 900


def is_available() -> bool:
    """Whether containers are to be used: a Docker engine answers, and nobody has asked for processes."""
    return os.environ.get(ENGINE_VARIABLE) != "processes" and COMPOSE_FILE.exists() and _engine_answers()


@functools.cache
def _engine_answers() -> bool:
    if shutil.which("docker") is None:
        return False
    # The engine, and the plugin, which is packaged separately.
    for question in (["docker", "info", "--format", "{{.ServerVersion}}"], ["docker", "compose", "version"]):
        try:
            answer = subprocess.run(
                question, stdin=subprocess.DEVNULL, capture_output=True, timeout=ASK_ENGINE_SECONDS_MAX, check=False
            )
        except subprocess.TimeoutExpired:
            return False
        if answer.returncode:
            return False
    return True


class Project:
    """One checkout's, or one test's, containers and volumes: the compose file under a name of its own."""

    def __init__(
        self,
        directory: Path,
        variables: Mapping[str, str],
        *,
        kafka_settings: Mapping[str, str],
        postgres_settings: Mapping[str, str],
    ) -> None:
        """``variables`` fill the compose file in: ports and password."""
        self.name = "millpond-" + hashlib.sha256(str(directory).encode()).hexdigest()[:12]
        self._variables = directory / "compose.env"
        self._override = directory / "compose.override.json"
        # Two creations at once would race for the project's network.
        self._alone = threading.Lock()
        self._write(variables, kafka_settings, postgres_settings)

    def command(self, *arguments: str) -> list[str]:
        project = ["--project-name", self.name, "--env-file", str(self._variables)]
        return ["docker", "compose", *project, "-f", str(COMPOSE_FILE), "-f", str(self._override), *arguments]

    def run(self, *arguments: str) -> None:
        """Raises ``ComponentFailed`` with what compose said if it fails."""
        with self._alone:
            done = subprocess.run(
                self.command(*arguments),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=COMPOSE_SECONDS_MAX,
                check=False,
            )
        if done.returncode:
            what = f"refused {' '.join(arguments)}"
            raise ComponentFailed(component="docker compose", what=what, log="its output", tail=done.stderr.strip())

    def _write(
        self, variables: Mapping[str, str], kafka_settings: Mapping[str, str], postgres_settings: Mapping[str, str]
    ) -> None:
        self._variables.touch(mode=0o600)
        self._variables.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
        services: dict[str, object] = {}
        if kafka_settings:
            services["kafka"] = {"environment": {kafka_variable(name): value for name, value in kafka_settings.items()}}
        if postgres_settings:
            services["postgres"] = {"command": ["postgres", *options({**SETTINGS, **postgres_settings})]}
        self._override.write_text(json.dumps({"services": services}))


class ContainerProcess(GuardedProcess):
    """One service of the project, attached: it is stopped when the guard's ``docker compose up`` is."""

    grace_s = 30.0

    def __init__(self, directory: Path, *, lock: int, project: Project, service: str) -> None:
        super().__init__(directory, lock=lock)
        self._project = project
        self._service = service

    def prepare(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self._project.run("create", self._service)

    def command(self) -> list[str]:
        return self._project.command("up", "--no-color", "--no-deps", "--abort-on-container-exit", self._service)

    def kill(self) -> None:
        self._project.run("kill", self._service)
        self.stop()

    def freeze(self) -> None:
        self._project.run("pause", self._service)

    def thaw(self) -> None:
        self._project.run("unpause", self._service)


def kafka_variable(setting: str) -> str:
    """The image's spelling: ``log.dirs`` is ``KAFKA_LOG_DIRS``."""
    return "KAFKA_" + setting.upper().replace(".", "_")
