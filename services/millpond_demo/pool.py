"""The pool on this machine: topics, roles, keys, and each service as a process of its own."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote

from millpond.events.topics import TOPICS, gateway_requests
from millpond.localstack import LocalStack, ports
from millpond.settings import KafkaSettings
from millpond.stream.postgres.provision import provision
from millpond_cli.kafka_topics import apply_topics
from millpond_demo.chain import Chain
from millpond_demo.commands import run_command, signed_by
from millpond_demo.keys import make_wallet
from millpond_demo.programs import Programs

POOL_ID: Final = "demo"
GATEWAY_ID: Final = "demo-gateway"
# anvil's: what is signed here is worth nothing on any other chain.
CHAIN_ID: Final = 31337
# What jobs need, and what money needs.
WORK: Final = ("edge", "registry", "scheduler", "inspector", "metering")
MONEY: Final = ("chain_watcher", "rewards", "treasury")
SERVICES: Final = (*WORK, *MONEY)
TERMS: Final = Path(__file__).with_name("terms.yaml")


class Pool:
    """Everything lies under ``directory``. ``environment`` is what a command at a terminal needs to find this pool."""

    def __init__(self, directory: Path, stack: LocalStack, chain: Chain, programs: Programs) -> None:
        self.directory = directory
        self.chain = chain
        self.stack = stack
        self.programs = programs
        self.operator = make_wallet(directory / "keys", "operator")
        self.receipt_key = ""
        self.api_key = ""
        self._receipt_key_file = directory / "keys" / "receipt.key"
        self._dsns: dict[str, str] = {}
        # Held, since a service that is killed comes back to its own.
        self._held = {name: ports.hold_free() for name in (*SERVICES, "door")}
        self._ports = {name: ports.number_of(held) for name, held in self._held.items()}
        self.url = f"http://127.0.0.1:{self._ports['door']}"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "MILLPOND_KAFKA_BOOTSTRAP_SERVERS": self.stack.kafka.bootstrap_servers,
            "MILLPOND_POOL_ID": POOL_ID,
            "MILLPOND_POOL_CHAIN_ID": str(CHAIN_ID),
            "MILLPOND_POOL_OPERATORS": self.operator.address,
        }

    async def lay_out(self) -> None:
        """Topics, a role and a schema for each service, the key of the receipts. Raises ``MillpondError``."""
        kafka = KafkaSettings(bootstrap_servers=self.stack.kafka.bootstrap_servers)
        passwords = {service: secrets.token_urlsafe(16) for service in SERVICES}
        self._dsns = {service: self._dsn(service, password) for service, password in passwords.items()}
        await asyncio.gather(
            apply_topics(kafka, [*TOPICS.values(), gateway_requests(GATEWAY_ID)], replication_factor=1),
            self._make_roles(passwords),
            self._make_receipt_key(),
        )

    def start_services(self) -> None:
        for service in SERVICES:
            self.programs.start(
                service,
                [sys.executable, "-m", f"millpond_{service}"],
                {**self.environment, **self._settings_of(service)},
                ready_url=f"http://127.0.0.1:{self._ports[service]}/ready",
            )

    async def publish_terms(self) -> None:
        """The demo's terms, but for the key that this pool countersigns with."""
        text = await asyncio.to_thread(TERMS.read_text)
        terms = self.directory / "terms.yaml"
        signed = re.sub(r"^receipt_key:.*$", f'receipt_key: "{self.receipt_key}"', text, flags=re.MULTILINE)
        await asyncio.to_thread(terms.write_text, signed)
        await self.command("terms", "publish", str(terms), *signed_by(self.operator))

    async def admit_gateway(self) -> None:
        """``api_key`` is shown once, here, and nowhere else."""
        printed = await self.command("gateway", "admit", GATEWAY_ID, *signed_by(self.operator))
        self.api_key = _found(rf"mpk_{GATEWAY_ID}_[A-Za-z0-9_-]{{43}}", printed)

    async def command(self, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
        """What `millpond …` prints. Raises ``CommandFailed``."""
        return await run_command(arguments, {**self.environment, **(environment or {})})

    def write_environment(self) -> Path:
        """For `set -a; . FILE; set +a`: with it, commands at a terminal speak to this pool."""
        path = self.directory / "env"
        chain = {name: value for name, value in self.chain.settings.items() if name != "MILLPOND_CHAIN_POLL_S"}
        found = {
            **self.environment,
            **chain,
            "MILLPOND_GATEWAY_EDGE_URL": self.url,
            "MILLPOND_GATEWAY_API_KEY": self.api_key,
        }
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.writelines(f"{name}={value}\n" for name, value in found.items())
        return path

    async def _make_roles(self, passwords: Mapping[str, str]) -> None:
        # One after the other: they take turns in the database anyway.
        for service, password in passwords.items():
            await provision(self.stack.postgres.dsn(), service, password)

    async def _make_receipt_key(self) -> None:
        printed = await self.command("receipt", "key", str(self._receipt_key_file))
        self.receipt_key = _found("0x[0-9a-f]{64}", printed)

    def _settings_of(self, service: str) -> dict[str, str]:
        settings = {
            "MILLPOND_POSTGRES_DSN": self._dsns[service],
            "MILLPOND_HEALTH_HOST": "127.0.0.1",
            "MILLPOND_HEALTH_PORT": str(self._ports[service]),
            "MILLPOND_BLOBS_URL": str(self.directory / "blobs"),
            "MILLPOND_LOG_FORMAT": "console",
        }
        if service == "edge":
            settings |= {
                "MILLPOND_EDGE_HOST": "127.0.0.1",
                "MILLPOND_EDGE_PORT": str(self._ports["door"]),
                "MILLPOND_EDGE_PUBLIC_URL": self.url,
                "MILLPOND_EDGE_RECEIPT_KEY": self.receipt_key,
            }
        if service in ("metering", "rewards"):
            settings |= {f"MILLPOND_{service.upper()}_RECEIPT_KEY_FILE": str(self._receipt_key_file)}
        if service in ("chain_watcher", "treasury"):
            settings |= self.chain.settings
        if service == "treasury":
            settings |= self.chain.treasury_settings
        return settings

    def _dsn(self, service: str, password: str) -> str:
        return f"postgresql://{service}:{quote(password)}@{self.stack.postgres.address}/postgres"


def _found(pattern: str, printed: str) -> str:
    found = re.search(pattern, printed)
    assert found is not None, f"no {pattern} in: {printed}"
    return found[0]
