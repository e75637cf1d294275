"""Kafka's jars, the anvil binary, the Solidity compiler: downloaded once, kept by the hash of the file that pins them."""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from millpond.errors import MillpondError
from millpond.localstack.prerequisites import require
from millpond.localstack.process import complete

PINS = Path(__file__).parent / "tools"
# The only platform whose anvil binary is pinned by hash; elsewhere the one on the PATH serves.
PINNED_ANVIL_PLATFORM = ("Linux", "x86_64")
INSTALL_SECONDS_MAX = 600


class ToolDownloadFailed(MillpondError):
    """Could not install {tool}: `{command}` ended with status {status}. Its last words: {output}"""


def default_directory() -> Path:
    """``.local/tools`` of the checkout, or the user's cache when Millpond is installed as a package."""
    checkout = Path(__file__).parents[3]
    if (checkout / "pyproject.toml").exists():
        return checkout / ".local" / "tools"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "millpond" / "tools"


class Tools:
    """The directory that all stacks of a checkout share. Each method installs on first use and returns paths."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def kafka_classpath(self) -> str:
        pom = PINS / "kafka" / "pom.xml"
        jars = self._place("kafka", pom)
        if not jars.exists():
            self._install(
                "kafka", jars, [pom], ["mvn", "-B", "-q", "dependency:copy-dependencies", "-DoutputDirectory=."]
            )
        return f"{jars}/*"

    def kafka_classes(self) -> Path:
        """Where the JVM's archive of these jars' classes is, once there is one."""
        return self._place("kafka", PINS / "kafka" / "pom.xml") / "classes.jsa"

    def anvil_binary(self) -> Path:
        if (platform.system(), platform.machine()) != PINNED_ANVIL_PLATFORM:
            require(["anvil"])
            return Path(shutil.which("anvil") or "anvil")
        modules = self._node_modules("anvil")
        return next(modules.glob("node_modules/@foundry-rs/anvil-*/bin/anvil"))

    def solidity_compiler(self) -> Path:
        """A program for ``node``; ``--standard-json`` reads what to compile from its input."""
        require(["node"])
        return self._node_modules("solc") / "node_modules" / "solc" / "solc.js"

    def missing_programs(self, component: str) -> list[str]:
        """Programs that installing the component's tool needs; none once it is installed."""
        if component == "kafka" and not self._place("kafka", PINS / "kafka" / "pom.xml").exists():
            return ["mvn"]
        if component == "anvil" and (platform.system(), platform.machine()) != PINNED_ANVIL_PLATFORM:
            return ["anvil"]
        if component == "anvil" and not self._place("anvil", PINS / "anvil" / "package-lock.json").exists():
            return ["npm"]
        return []

    def _node_modules(self, tool: str) -> Path:
        lock = PINS / tool / "package-lock.json"
        place = self._place(tool, lock)
        if not place.exists():
            command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            self._install(tool, place, [PINS / tool / "package.json", lock], command)
        return place

    def _place(self, tool: str, pin: Path) -> Path:
        return self.directory / f"{tool}-{hashlib.sha256(pin.read_bytes()).hexdigest()[:12]}"

    def _install(self, tool: str, place: Path, pins: Sequence[Path], command: Sequence[str]) -> None:
        require([command[0]])
        with self._alone(tool):
            if place.exists():
                return
            # Renamed when complete: an interrupted download is never taken for a finished one.
            partial = place.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            for pin in pins:
                shutil.copy(pin, partial)
            status, output = complete(command, seconds_max=INSTALL_SECONDS_MAX, directory=partial)
            if status:
                last_words = output.strip()[-1500:]
                raise ToolDownloadFailed(tool=tool, command=" ".join(command), status=status, output=last_words)
            partial.rename(place)

    @contextmanager
    def _alone(self, tool: str) -> Iterator[None]:
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / f"{tool}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
