"""What a service does while what it needs is not there yet, and what it says of itself meanwhile and afterwards."""

from __future__ import annotations

import asyncio
import json
import socket
import uuid
from pathlib import Path

import httpx
import pytest

from conftest import OwnStack
from millpond.stream.kafka.log import KafkaLog
from millpond.telemetry.metrics import METRICS
from stream.tally import drops_topic, levels_topic, tally
from stream.topics_made import create_topics, levels, new_name, produce, rain, read_all
from stream.workers import Worker, Workers, wait_until

pytestmark = pytest.mark.long

WITHIN_S = 120.0


async def ask(worker: Worker, path: str) -> httpx.Response | None:
    async with httpx.AsyncClient() as client:
        try:
            return await client.get(f"http://127.0.0.1:{worker.health_port}{path}")
        except httpx.TransportError:
            return None


async def answers(worker: Worker, path: str, status: int) -> httpx.Response:
    async def as_wanted() -> httpx.Response | None:
        response = await ask(worker, path)
        return response if response is not None and response.status_code == status else None

    response = await wait_until(as_wanted, WITHIN_S)
    assert response is not None
    return response


async def test_a_service_waits_for_a_kafka_that_is_not_there_yet(
    own_stack: OwnStack, database: str, run_directory: Path
) -> None:
    stack = await asyncio.to_thread(own_stack, "kafka")
    name, bootstrap = new_name(), stack.kafka.bootstrap_servers
    await create_topics(bootstrap, tally(name))
    await produce(bootstrap, name, rain(10))
    await asyncio.to_thread(stack.kafka.kill)
    workers = Workers(bootstrap, database, run_directory / "workers" / uuid.uuid4().hex[:8])
    try:
        worker = workers.start(name)
        await wait_until(lambda: "away" in worker.log_text(), WITHIN_S)
        await asyncio.to_thread(stack.restart_dead)
        await answers(worker, "/ready", 200)

        async def all_published() -> bool:
            return len(await read_all(bootstrap, levels_topic(name))) == 10

        await wait_until(all_published, WITHIN_S)
        worker.terminate()
    finally:
        workers.end()


async def test_a_running_service_answers_for_itself(kafka_bootstrap: str, workers: Workers) -> None:
    name = new_name()
    await create_topics(kafka_bootstrap, tally(name))
    await produce(kafka_bootstrap, name, rain(30))
    worker = workers.start(name)
    assert json.loads((await answers(worker, "/ready", 200)).content) == {"ok": True, "reasons": []}
    assert json.loads((await answers(worker, "/live", 200)).content) == {"ok": True, "reasons": []}

    async def exposed() -> dict[str, float] | None:
        response = await answers(worker, "/metrics", 200)
        assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
        lines = [line.rpartition(" ") for line in response.text.splitlines() if not line.startswith("#")]
        values = {series: float(value) for series, _, value in lines}
        done = values.get(f'millpond_stream_relay_published_total{{topic="{levels_topic(name).name}"}}') == 30
        return values if done else None

    values = await wait_until(exposed, WITHIN_S)
    assert values is not None
    assert values[f'millpond_stream_records_total{{topic="{drops_topic(name).name}"}}'] == 30
    assert values["millpond_stream_poll_timestamp_seconds"] > 0
    own = {series.partition("{")[0] for series in values if series.startswith("millpond_")}
    declared = {name for name, metric in METRICS.items() if metric.kind != "histogram"}
    declared |= {f"{name}_{part}" for name in METRICS for part in ("bucket", "count", "sum", "created")}
    declared |= {name.removesuffix("_total") + "_created" for name in METRICS}
    assert own <= declared
    assert len(levels(await read_all(kafka_bootstrap, levels_topic(name)))) == 30
    worker.terminate()


async def test_a_service_that_starts_before_its_topics_makes_none(kafka_bootstrap: str, workers: Workers) -> None:
    name = new_name()
    worker = workers.start(name)
    await wait_until(lambda: not worker.running, WITHIN_S)
    refused = worker.log_text().splitlines()[-1]
    assert (worker.process.returncode, "refused" in refused, "topics apply" in refused) == (1, True, True)
    existing = await KafkaLog({"bootstrap_servers": kafka_bootstrap}).partitions(
        {drops_topic(name).name, levels_topic(name).name}
    )
    # One partition each, for ever, is what FastStream would have given them.
    assert set(existing.values()) == {0}


async def test_a_service_whose_health_port_is_taken_is_refused_with_the_settings_to_change(
    kafka_bootstrap: str, workers: Workers
) -> None:
    name = new_name()
    await create_topics(kafka_bootstrap, tally(name))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        worker = workers.start(name, MILLPOND_HEALTH_PORT=str(taken.getsockname()[1]))
        await wait_until(lambda: not worker.running, WITHIN_S)
    assert (worker.process.returncode, "MILLPOND_HEALTH_PORT to a free one" in worker.log_text()) == (1, True)
