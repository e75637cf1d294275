"""Incident 56: Kafka's transactions can be lost or torn. So none are used: an outbox, numbers, and acknowledgements."""

from __future__ import annotations

import ast
import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from millpond.stream.database import Database, Lease, LeaseLost, OutboxRow, RelayProgress
from millpond.stream.kafka.publisher import KafkaPublisher
from millpond.stream.log import Outbound, Publisher, SendFailed
from millpond.stream.postgres.database import PostgresDatabase, open_database
from millpond.stream.record import Place
from millpond.stream.relay import Relay, to_outbound
from millpond.telemetry.metrics import Metrics
from millpond.telemetry.traces import Tracing
from stream.tally import Level, levels_topic
from stream.topics_made import applied_once, make_topics, new_name, read_all

ROOT = Path(__file__).parents[2]
SEED = 20_241_112
EVENTS = 300
BATCH = 50
WITHIN_S = 120.0


def transactional_ids(source: str) -> list[int]:
    """The lines that give a producer a transactional id, however it is spelt."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        texts = {
            ast.keyword: lambda n: n.arg,
            ast.Attribute: lambda n: n.attr,
            ast.Name: lambda n: n.id,
            ast.Constant: lambda n: n.value,
        }.get(type(node), lambda n: None)(node)
        if isinstance(texts, str) and texts.replace(".", "_").replace("-", "_") == "transactional_id":
            lines.append(getattr(node, "lineno", 0))
    return lines


def test_no_code_sets_a_transactional_id() -> None:
    files = [*ROOT.glob("libs/**/*.py"), *ROOT.glob("services/**/*.py")]
    assert len(files) > 50
    assert {str(file): lines for file in files if (lines := transactional_ids(file.read_text()))} == {}


@pytest.mark.parametrize(
    "source",
    [
        "AIOKafkaProducer(transactional_id='relay-1')",
        "options = {'transactional.id': 'relay-1'}",
        "options['transactional_id'] = name",
        "settings.transactional_id = name",
    ],
)
def test_the_check_finds_every_spelling(source: str) -> None:
    assert transactional_ids(source) == [1]


class Storm(Publisher):
    """A broker in trouble: of some sends the acknowledgement is lost, of some the records, some come twice or late."""

    def __init__(self, inner: Publisher, chance: random.Random, troubles: list[str]) -> None:
        self._inner, self._chance, self._troubles = inner, chance, troubles
        self._broken = False

    async def send(self, place: Place, records: Sequence[Outbound]) -> Awaitable[int]:
        trouble = self._chance.choice(["none", "none", "ack lost", "records lost", "twice", "late"])
        self._troubles.append(trouble)
        if self._broken or trouble == "records lost":
            # Once one was refused, an idempotent producer's broker takes nothing behind it.
            self._broken = True
            return asyncio.ensure_future(self._fail(place))
        sent = await self._inner.send(place, records)
        if trouble == "twice":
            sent = await self._inner.send(place, records)
        if trouble == "ack lost":
            return asyncio.ensure_future(self._fail(place, sent))
        return asyncio.ensure_future(self._late(sent)) if trouble == "late" else sent

    async def _fail(self, place: Place, sent: Awaitable[int] | None = None) -> int:
        if sent is not None:
            await sent
        raise SendFailed(place=place, cause="a storm")

    async def _late(self, sent: Awaitable[int]) -> int:
        next_offset = await sent
        await asyncio.sleep(0.2)
        return next_offset

    async def close(self) -> None:
        await self._inner.close()


class Outbox:
    """A service's outbox with events in it, and a storm between it and the log."""

    def __init__(self, bootstrap: str, name: str, database: PostgresDatabase) -> None:
        self.bootstrap, self.name, self.database = bootstrap, name, database
        self.troubles: list[str] = []
        self._chance = random.Random(SEED)

    async def open_publisher(self) -> Publisher:
        inner = await KafkaPublisher.open({"bootstrap_servers": self.bootstrap})
        return Storm(inner, self._chance, self.troubles)

    async def fill(self) -> None:
        for start in range(0, EVENTS, BATCH):
            async with self.database.transaction() as transaction:
                await transaction.put_outbox([self._row(n) for n in range(start, start + BATCH)])

    def _row(self, n: int) -> OutboxRow:
        bucket = f"b{n % 7}"
        value = Level(bucket=bucket, total=n, drops=n // 7).to_bytes()
        return OutboxRow(
            f"{self.name}.levels.v1", n % 7 % 4, bucket.encode(), value, "Level", 1_767_225_600_000 + n, "[]"
        )

    async def everything_marked(self) -> bool:
        return await self.database.published_up_to() == EVENTS


async def check_all_told_once_and_in_order(outbox: Outbox, run: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    await outbox.fill()
    stopping = asyncio.Event()
    running = asyncio.create_task(run(stopping))
    marks: list[int] = []
    try:
        while not await outbox.everything_marked():
            # Marked as sent only once it is on the log: asked in this order, so that the log can only be ahead.
            marks.append(await outbox.database.published_up_to())
            there = applied_once(await read_all(outbox.bootstrap, levels_topic(outbox.name)))
            assert sum(map(len, there.values())) >= marks[-1], "marked as sent, but not on the log"
            assert not running.done() or running.exception() is None
            await asyncio.sleep(0.3)
    finally:
        stopping.set()
        with suppress(asyncio.CancelledError):
            await asyncio.wait_for(running, WITHIN_S)
    there = applied_once(await read_all(outbox.bootstrap, levels_topic(outbox.name)))
    told = [Level.model_validate_json(record.value or b"") for part in there.values() for record in part]
    by_bucket = {f"b{k}": [level.total for level in told if level.bucket == f"b{k}"] for k in range(7)}
    assert by_bucket == {f"b{k}": list(range(k, EVENTS, 7)) for k in range(7)}


@pytest.fixture
async def outbox(kafka_bootstrap: str, database: str) -> AsyncIterator[Outbox]:
    name = new_name()
    await make_topics(kafka_bootstrap, (levels_topic(name),))
    opened = await open_database(database, name)
    yield Outbox(kafka_bootstrap, name, opened)
    await opened.close()


async def leased(database: Database) -> Lease:
    lease = await database.try_lease("relay", "test", 60)
    assert lease is not None
    return lease


async def test_whatever_becomes_of_acknowledgements_each_event_counts_once_and_none_is_overtaken(
    outbox: Outbox,
) -> None:
    tracing = Tracing(service=outbox.name, provider=None)
    relay = Relay(outbox.name, outbox.database, outbox.open_publisher, Metrics(service=outbox.name), tracing)
    lease = await leased(outbox.database)
    await asyncio.wait_for(
        check_all_told_once_and_in_order(outbox, lambda stopping: relay.run(lease, {}, stopping)), 2 * WITHIN_S
    )
    assert {"ack lost", "records lost", "twice", "late"} <= set(outbox.troubles), outbox.troubles
    assert len(await read_all(outbox.bootstrap, levels_topic(outbox.name))) > EVENTS, (
        "no repeat was there to be dropped"
    )


async def test_the_same_check_fails_for_a_relay_that_marks_what_it_has_handed_over(outbox: Outbox) -> None:
    lease = await leased(outbox.database)

    async def hands_over_and_marks(stopping: asyncio.Event) -> None:
        """The double: sends, marks, and looks for the acknowledgement later, if ever."""
        publisher = await outbox.open_publisher()
        handed_over: list[Awaitable[int]] = []
        progress: dict[Place, RelayProgress] = {}
        last: dict[Place, int] = {}
        try:
            for row in await outbox.database.outbox_after(0, EVENTS):
                place = Place(row.row.topic, row.row.partition)
                handed_over.append(await publisher.send(place, [to_outbound(outbox.name, row, last.get(place, 0))]))
                last[place] = row.number
                progress[place] = RelayProgress(0, row.number)
                await outbox.database.mark_published(lease, progress, row.number)
        except LeaseLost:
            return
        await asyncio.gather(*handed_over, return_exceptions=True)
        await publisher.close()

    with pytest.raises(AssertionError):
        await asyncio.wait_for(check_all_told_once_and_in_order(outbox, hands_over_and_marks), WITHIN_S)
