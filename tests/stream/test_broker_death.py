"""What Kafka has not acknowledged is not published, whatever was handed over: it is sent again, once it is back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import OwnStack
from millpond.localstack import LocalStack
from stream.staged_tally import REACHED, staged_tally
from stream.tables import drops_counted, settled, value
from stream.topics_made import applied_once, create_topics, new_name, produce, rain, read_all
from stream.workers import Workers, wait_until

WITHIN_S = 120.0
# Ten polls of the relay: by then it has sent what was decided, and waits.
HANDED_OVER_S = 0.5


@pytest.fixture
def mortal_kafka(own_stack: OwnStack) -> LocalStack:
    return own_stack("kafka")


@pytest.fixture
def own_workers(mortal_kafka: LocalStack, database: str, tmp_path: Path) -> Iterator[Workers]:
    started = Workers(mortal_kafka.kafka.bootstrap_servers, database, tmp_path / "workers")
    yield started
    started.end()


async def test_what_the_broker_had_not_acknowledged_when_it_died_is_sent_again(
    mortal_kafka: LocalStack, database: str, own_workers: Workers, tmp_path: Path
) -> None:
    """The broker hangs while a batch is decided, takes what is sent into its buffers, and dies with it."""
    kafka, name, pause = mortal_kafka.kafka, new_name(), tmp_path / "pause"
    await create_topics(kafka.bootstrap_servers, staged_tally(name))
    await produce(kafka.bootstrap_servers, name, rain(100))
    worker = own_workers.start(name, program="stream.staged_tally", STAGE_WAIT=f"decided:{pause}")
    await wait_until(lambda: settled(database, name, 100), WITHIN_S)

    pause.touch()
    await produce(kafka.bootstrap_servers, name, rain(100, first=100))
    await wait_until(lambda: pause.read_text() == REACHED, WITHIN_S)
    kafka.freeze()
    pause.unlink()
    await wait_until(lambda: _decided_more(database, name, than=100), WITHIN_S)
    await asyncio.sleep(HANDED_OVER_S)
    kafka.kill()
    assert await _marked(database, name) == 100
    kafka.start()

    await wait_until(lambda: settled(database, name, 200), WITHIN_S)
    told = applied_once(await read_all(kafka.bootstrap_servers, staged_tally(name).writes[0]))
    assert sum(map(len, told.values())) == 200
    worker.terminate()


async def _decided_more(dsn: str, name: str, *, than: int) -> bool:
    return await drops_counted(dsn, name) > than


async def _marked(dsn: str, name: str) -> int:
    return int(await value(dsn, name, "SELECT number FROM relay_mark"))
