"""The registry as it runs: on Kafka and PostgreSQL, ordered about at the command line, killed, and made anew."""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import pytest
import yaml
from typer.testing import Result

from conftest import OwnStack
from millpond.events.agent_claims import Heartbeat, claim_item
from millpond.events.agent_enrolments import DeviceDelegated, LeaveAsked, enrolment_item
from millpond.events.envelope import CE_TYPE, Envelope, encode
from millpond.events.event import Event
from millpond.events.registry_gateways import GatewayAdmitted
from millpond.events.registry_gpus import GpuGone, GpuOnline
from millpond.events.registry_members import (
    ContributorAdmitted,
    ContributorLeft,
    ContributorSuspended,
    DeviceRegistered,
)
from millpond.events.topic import Topic
from millpond.events.topics import (
    AGENT_ENROLMENTS,
    AGENT_HEARTBEATS,
    OPERATOR_COMMANDS,
    REGISTRY_GATEWAYS,
    REGISTRY_GPUS,
    REGISTRY_MEMBERS,
)
from millpond.localstack import LocalStack
from millpond.stream.kafka.publisher import KafkaPublisher
from millpond.stream.log import Outbound
from millpond.stream.outlet import ce_time, partition_of
from millpond.stream.record import ITEM, Place, Record
from millpond_registry.app import registry
from registry.pond import EXAMPLE, IN_A_YEAR_S, OPERATOR, POOL, Machine, Wallet
from stream import operators
from stream.disasters import CAUGHT_UP_WITHIN_S, caught_up, millpond, rows, said
from stream.topics_made import create_topics, read_all
from stream.workers import Worker, start_worker, wait_until

pytestmark = pytest.mark.long

WITHIN_S = 120.0
TABLES = ("terms", "contributors", "devices", "cards", "gateways", "nonces", "advertised")

E = TypeVar("E", bound=Event)


@dataclass
class Site:
    """The registry's Kafka and database, its operator at a prompt, and contributors with machines."""

    stack: LocalStack
    directory: Path
    workers: list[Worker] = field(default_factory=list)

    @property
    def bootstrap(self) -> str:
        return self.stack.kafka.bootstrap_servers

    @property
    def dsn(self) -> str:
        return self.stack.postgres.dsn()

    def start(self) -> Worker:
        log = self.directory / f"registry-{len(self.workers)}.log"
        environment = {"MILLPOND_POOL_OPERATORS": OPERATOR}
        worker = start_worker(
            self.bootstrap, self.dsn, "registry", program="millpond_registry", log=log, environment=environment
        )
        self.workers.append(worker)
        return worker

    async def command(self, *arguments: str, key: str = operators.KEY, wait: str = "50") -> Result:
        keystore, password_file = operators.keystore(self.directory / key, key)
        signing = ("--keystore", keystore, "--password-file", password_file, "--wait", wait)
        environment = {
            "MILLPOND_POOL_ID": "pond",
            "MILLPOND_POOL_CHAIN_ID": "31337",
            "MILLPOND_POOL_OPERATORS": OPERATOR,
        }
        if arguments[:2] == ("terms", "show") or arguments[0] == "rebuild":
            signing = ()
        return await millpond(*arguments, *signing, bootstrap=self.bootstrap, dsn=self.dsn, **environment)

    async def send(self, topic: Topic, key: str, event: Event, item: str) -> None:
        stamp_ms = time.time_ns() // 1_000_000
        place = Place(topic.name, partition_of(key.encode(), topic.partitions))
        headers = (*encode(Envelope(item, event.type_name, "/millpond/edge", ce_time(stamp_ms))), (ITEM, item.encode()))
        publisher = await KafkaPublisher.open({"bootstrap_servers": self.bootstrap})
        try:
            await (await publisher.send(place, [Outbound(key.encode(), event.to_bytes(), headers, stamp_ms)]))
        finally:
            await publisher.close()

    async def enrols(self, event: DeviceDelegated | LeaveAsked) -> None:
        await self.send(AGENT_ENROLMENTS, event.signer, event, enrolment_item(event))

    async def beat(self, heartbeat: Heartbeat) -> None:
        await self.send(AGENT_HEARTBEATS, heartbeat.device, heartbeat, claim_item(heartbeat.device, heartbeat.claim))

    async def events(self, topic: Topic) -> list[Event]:
        return [
            topic.event_types[(record.header(CE_TYPE) or b"").decode()].model_validate_json(record.value or b"")
            for record in await read_all(self.bootstrap, topic)
        ]

    async def hears(self, topic: Topic, kind: type[E], count: int = 1) -> list[E]:
        async def heard() -> list[E]:
            found = [event for event in await self.events(topic) if isinstance(event, kind)]
            return found if len(found) >= count else []

        return await wait_until(heard, WITHIN_S)

    async def published(self) -> dict[Place, list[Record]]:
        """All that the registry has said, by place."""
        found: dict[Place, list[Record]] = {}
        for topic in registry(POOL).writes:
            for partition in range(topic.partitions):
                found[Place(topic.name, partition)] = []
            for record in await read_all(self.bootstrap, topic):
                found[record.place].append(record)
        return found

    async def is_caught_up(self) -> None:
        await wait_until(lambda: caught_up(self.bootstrap, self.dsn, registry(POOL)), CAUGHT_UP_WITHIN_S)


@pytest.fixture
def site(own_stack: OwnStack, tmp_path: Path) -> Iterator[Site]:
    """A stack of its own, since the registry's topics have one name each."""
    site = Site(own_stack("kafka", "postgres"), tmp_path)
    yield site
    for worker in site.workers:
        if worker.running:
            worker.kill()
        print(worker.log_tail())


def terms_document() -> dict[str, Any]:
    """The example's, for a pool whose devices fall silent soon."""
    document: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text()) | {"pool": "pond"}
    document["downtime"] |= {"heartbeat_s": 1, "suspect_after_s": 3, "gone_after_s": 5}
    document["work"]["lease_s"] = 1
    return document


async def test_from_the_operators_prompt_to_gpus_that_come_and_go_through_kills_and_a_lost_database(site: Site) -> None:
    await create_topics(site.bootstrap, registry(POOL))
    document = await the_operator_is_early(site)
    worker = site.start()
    await the_operator_gives_orders(site, document)
    ada, bob = Wallet("ada"), Wallet("bob")
    steady, mortal = Machine("ada-1"), Machine("bob-1")
    await site.enrols(ada.delegates(steady, expires_at=IN_A_YEAR_S))
    await site.enrols(bob.delegates(mortal, expires_at=IN_A_YEAR_S))
    await site.hears(REGISTRY_MEMBERS, DeviceRegistered, 2)
    await site.beat(steady.beats())
    await site.beat(mortal.beats())
    await site.hears(REGISTRY_GPUS, GpuOnline, 2)

    worker.kill()
    await site.beat(steady.beats())
    worker = site.start()
    async with beating(site, steady):
        gone = await site.hears(REGISTRY_GPUS, GpuGone)
    assert {event.device for event in gone} == {mortal.device}
    await site.enrols(bob.leaves())
    assert [event.contributor for event in await site.hears(REGISTRY_MEMBERS, ContributorLeft)] == [bob.address]
    # Nobody is there any more, so nothing will be decided while it ends.
    await site.beat(steady.beats(leaving=True))
    await site.hears(REGISTRY_GPUS, GpuGone, 2)
    await site.is_caught_up()
    worker.terminate()
    known = {table: await rows(site.dsn, "registry", f"SELECT * FROM {table} ORDER BY 1") for table in TABLES}
    published = await site.published()

    await lose(site.dsn)
    rebuilt = await site.command("rebuild", "registry")
    assert rebuilt.exit_code == 0, said(rebuilt)
    for table, found in known.items():
        assert await rows(site.dsn, "registry", f"SELECT * FROM {table} ORDER BY 1") == found, table
    online = len(await site.hears(REGISTRY_GPUS, GpuOnline))
    worker = site.start()
    await site.beat(steady.beats())
    await site.hears(REGISTRY_GPUS, GpuOnline, online + 1)
    worker.kill()
    # It goes on behind what it had said; and nothing is said twice.
    for place, records in (await site.published()).items():
        assert records[: len(published[place])] == published[place]


async def the_operator_is_early(site: Site) -> dict[str, Any]:
    """Nobody answers yet: told so, and the order stands. Returns the terms."""
    document = terms_document()
    file = site.directory / "terms.yaml"
    await asyncio.to_thread(file.write_text, yaml.safe_dump(document))
    unanswered = await site.command("terms", "publish", str(file), wait="0")
    assert (unanswered.exit_code, "registry has not answered within 0 s" in said(unanswered)) == (1, True)
    nothing = await site.command("terms", "show")
    assert (nothing.exit_code, "No terms were ever published" in said(nothing)) == (1, True)
    return document


async def the_operator_gives_orders(site: Site, document: dict[str, Any]) -> None:
    file = site.directory / "terms.yaml"
    again = await site.command("terms", "publish", str(file))
    assert (again.exit_code, "version is 1, and the next one is 2" in said(again)) == (1, True), said(again)
    shown = await site.command("terms", "show")
    assert shown.output.startswith(f"# Version 1 of 1, from epoch 0 on.\n# Signed by {OPERATOR}; hash 0x")
    assert yaml.safe_load(shown.output) == document

    admitted = await site.command("gateway", "admit", "acme")
    (api_key,) = re.findall("mpk_acme_[A-Za-z0-9_-]{43}", admitted.output)
    (event,) = await site.hears(REGISTRY_GATEWAYS, GatewayAdmitted)
    assert event.key_hash == "0x" + hashlib.sha256(api_key.encode()).hexdigest()
    # The key itself is nowhere.
    for topic in (OPERATOR_COMMANDS, REGISTRY_GATEWAYS):
        assert not any(api_key.encode() in (record.value or b"") for record in await read_all(site.bootstrap, topic))
    stranger = await site.command("gateway", "admit", "evil", key=operators.STRANGERS_KEY)
    assert (stranger.exit_code, "may not give this pool orders" in said(stranger)) == (1, True)
    assert "mpk_" not in stranger.output
    suspended = await site.command("gateway", "suspend", "acme", "--reason", "did not pay")
    assert suspended.exit_code == 0, said(suspended)

    carol = Wallet("carol").address
    out = await site.command("contributor", "suspend", carol, "--reason", "outputs did not match")
    assert out.exit_code == 0, said(out)
    back = await site.command("contributor", "approve", carol)
    assert back.exit_code == 0, said(back)
    twice = await site.command("contributor", "approve", carol)
    assert (twice.exit_code, "there is nothing to approve" in said(twice)) == (1, True)
    assert len(await site.hears(REGISTRY_MEMBERS, ContributorSuspended)) == 1
    assert len(await site.hears(REGISTRY_MEMBERS, ContributorAdmitted)) == 1


@asynccontextmanager
async def beating(site: Site, machine: Machine) -> AsyncIterator[None]:
    async def beat() -> None:
        while True:
            await site.beat(machine.beats())
            await asyncio.sleep(0.5)

    task = asyncio.create_task(beat())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def lose(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("DROP SCHEMA registry CASCADE")
    finally:
        await connection.close()
