"""The intake on real Kafka and PostgreSQL: what a gateway asks on its own topic is a job, once, or is set aside."""

from __future__ import annotations

import base64
import time

import pytest
from aiokafka import AIOKafkaProducer

from conftest import OwnStack
from edge.requests.test_rules import ASKED
from millpond.events.deadletters import DeadLettered
from millpond.events.event import Event
from millpond.events.gateway_jobs import CancelAsked, JobCancelled, JobRequested
from millpond.events.ids import job_id
from millpond.events.topics import GATEWAY_JOBS, deadletters, gateway_requests
from millpond.stream.record import ITEM
from millpond_edge.requests.app import build
from stream.disasters import run_until_caught_up
from stream.topics_made import create_topics, read_all

Headers = list[tuple[str, bytes]]
# What a gateway wrote, with what type in its header, and the reason that stands in the letter.
POISON: list[tuple[bytes, str | None, str]] = [
    (b"{", "JobAsked", "not_json"),
    (b'{"id": "b", "deadline_s": -1}', "JobAsked", "wrong_fields"),
    (ASKED.to_bytes(), "JobRequested", "unknown_type"),
    (ASKED.to_bytes(), None, "unknown_type"),
]


def headers(kind: str) -> Headers:
    """What CloudEvents wants in binary mode."""
    said = {
        "ce_specversion": "1.0",
        "ce_id": "1",
        "ce_type": kind,
        "ce_source": "/acme",
        "ce_time": "2026-01-01T00:00:00Z",
    }
    return [(name, value.encode()) for name, value in said.items()]


class Gateway:
    """An external gateway with a Kafka client of its own."""

    def __init__(self, name: str, producer: AIOKafkaProducer) -> None:
        self._topic = gateway_requests(name).name
        self._producer = producer

    async def ask(self, event: Event, *, key: bytes | None = None) -> None:
        await self.write(event.to_bytes(), headers(event.type_name), key=key)

    async def write(self, value: bytes, given: Headers, *, key: bytes | None = None) -> None:
        await self._producer.send_and_wait(self._topic, value, key, headers=given, timestamp_ms=1)


async def test_what_gateways_ask_on_their_own_topics_becomes_jobs_and_the_rest_is_set_aside(
    own_stack: OwnStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MILLPOND_EDGE_REQUEST_GATEWAYS", "acme, other")
    stack, service = own_stack("kafka", "postgres"), build()
    bootstrap, dsn = stack.kafka.bootstrap_servers, stack.postgres.dsn()
    await create_topics(bootstrap, service)
    started_ms = int(time.time() * 1000)
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        acme, other = Gateway("acme", producer), Gateway("other", producer)
        await acme.ask(ASKED)
        await other.ask(ASKED)
        for value, kind, _ in POISON:
            await acme.write(value, headers(kind) if kind else [])
        # A repeat, to another partition.
        await acme.ask(ASKED, key=b"elsewhere")
        await acme.ask(CancelAsked(id=ASKED.id))
        await run_until_caught_up(bootstrap, dsn, service)
    finally:
        await producer.stop()

    records = await read_all(bootstrap, GATEWAY_JOBS)
    jobs = [record for record in records if record.header("ce_type") == JobRequested.type_name.encode()]
    (cancelled,) = (record for record in records if record not in jobs)
    assert JobCancelled.model_validate_json(cancelled.value or b"").job == job_id("acme", ASKED.id)
    found = sorted(JobRequested.model_validate_json(record.value or b"").gateway for record in jobs)
    assert found == ["acme", "acme", "other"]
    # The repeat is there under the same item with the same bytes: its readers count the first.
    assert len({(record.header(ITEM), record.value) for record in jobs}) == 2
    assert all(record.timestamp_ms >= started_ms for record in records)

    letters = [
        DeadLettered.model_validate_json(record.value or b"")
        for record in await read_all(bootstrap, deadletters("edge"))
    ]
    aside = [(base64.b64decode(letter.value_base64 or ""), letter.reason) for letter in letters]
    assert sorted(aside) == sorted((value, reason) for value, _, reason in POISON)
    assert {letter.topic for letter in letters} == {gateway_requests("acme").name}
    assert all(letter.sentence for letter in letters)
