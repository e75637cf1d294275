"""Writing to Kafka with aiokafka: idempotent, acks=all, and no transactional id anywhere (incident 56)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from millpond.stream.kafka.log import Connection
from millpond.stream.log import Outbound, SendFailed
from millpond.stream.record import Place

# One request to the broker carries at most this; every topic's own limit is below it.
REQUEST_BYTES_MAX = 16 * 1_048_576
BATCH_BYTES_MAX = 262_144
CLOSE_S = 5.0


class KafkaPublisher:
    """See ``millpond.stream.log.Publisher``."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer

    @classmethod
    async def open(cls, connection: Connection) -> KafkaPublisher:
        """Raises ``SendFailed`` when no broker answers."""
        producer = AIOKafkaProducer(
            **connection, enable_idempotence=True, max_batch_size=BATCH_BYTES_MAX, max_request_size=REQUEST_BYTES_MAX
        )
        try:
            await producer.start()
        except (KafkaError, OSError) as cause:
            await producer.stop()
            raise SendFailed(place="any topic", cause=repr(cause)) from cause
        return cls(producer)

    async def send(self, place: Place, records: Sequence[Outbound]) -> Awaitable[int]:
        try:
            futures = [
                await self._producer.send_batch(batch, place.topic, partition=place.partition)
                for batch in self._batches(records)
            ]
        except (KafkaError, OSError) as cause:
            raise SendFailed(place=place, cause=repr(cause)) from cause
        return asyncio.ensure_future(self._acknowledged(place, futures, len(records)))

    def _batches(self, records: Sequence[Outbound]) -> Iterator[Any]:
        batch = self._producer.create_batch()
        for record in records:
            fields = {
                "key": record.key,
                "value": record.value,
                "headers": list(record.headers),
                "timestamp": record.timestamp_ms,
            }
            if batch.append(**fields) is None:
                yield batch
                batch = self._producer.create_batch()
                # The first record of a batch always fits, however large.
                batch.append(**fields)
        yield batch

    async def _acknowledged(self, place: Place, futures: Sequence[asyncio.Future[Any]], count: int) -> int:
        results = await asyncio.gather(*futures, return_exceptions=True)
        offsets = []
        for result in results:
            if isinstance(result, BaseException):
                raise SendFailed(place=place, cause=repr(result)) from result
            offsets.append(int(result.offset))
        return offsets[0] + count

    async def close(self) -> None:
        try:
            # What is still queued may go out or not: it wasn't acknowledged, so it is sent again, and dropped as a repeat.
            await asyncio.wait_for(self._producer.stop(), CLOSE_S)
        except (TimeoutError, KafkaError, OSError):
            return
