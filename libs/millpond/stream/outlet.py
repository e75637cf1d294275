"""From a decided event to a row of the outbox: its partition and its size are settled in the deciding transaction."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain

from aiokafka.partitioner import murmur2

from millpond.errors import MillpondError
from millpond.events.event import Event
from millpond.events.topic import Topic, Written
from millpond.stream.database import OutboxRow
from millpond.stream.decision import Outgoing
from millpond.stream.record import DECIDED, ITEM, READ, Place


class OutgoingTooLarge(MillpondError):
    """{event} for {topic} has {size} bytes; {allowed} are allowed. The rules must split it or refuse its cause."""


class NotAnOutput(MillpondError):
    """{event} was decided for {topic}, which {service} doesn't write; add it to the service's writes."""


class WrongIdentity(MillpondError):
    """{event} was decided for {topic} with the item {item!r}: where sources write, every event has one, elsewhere none."""


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key, as Kafka's own clients choose it (murmur2): joins by partition rest on it."""
    return _hash_of(key) % partitions


@lru_cache(maxsize=65_536)
def _hash_of(key: bytes) -> int:
    return int(murmur2(key)) & 0x7FFFFFFF


class Outlet:
    """Makes rows for the topics that a service writes.

    Raises ``NotAnOutput``, ``OutgoingTooLarge`` and ``WrongIdentity``.
    """

    def __init__(self, service: str, writes: tuple[Topic, ...]) -> None:
        self._service = service
        self._writes = {topic.name for topic in writes}

    def row(self, outgoing: Outgoing, headers: str) -> OutboxRow:
        """The row under the headers that it shares with all that is decided at once; an item of its own stands behind."""
        topic, item = outgoing.topic, outgoing.item
        row = self.raw_row(topic, outgoing.key.encode(), outgoing.event, outgoing.time_ms, outgoing.partition, headers)
        if (topic.written is Written.BY_SOURCE) != bool(item):
            raise WrongIdentity(event=outgoing.event.type_name, topic=topic.name, item=item)
        return row._replace(headers=json.dumps([*json.loads(headers), [ITEM, item]])) if item else row

    def raw_row(
        self, topic: Topic, key: bytes, event: Event, time_ms: int, partition: int | None, headers: str
    ) -> OutboxRow:
        """As ``row``, for a key that need not be text: that of a record which could not be read."""
        if topic.name not in self._writes:
            raise NotAnOutput(event=event.type_name, topic=topic.name, service=self._service)
        value = event.to_bytes()
        if len(value) > topic.value_bytes_max:
            raise OutgoingTooLarge(
                event=event.type_name, topic=topic.name, size=len(value), allowed=topic.value_bytes_max
            )
        chosen = partition_of(key, topic.partitions) if partition is None else partition
        return OutboxRow(topic.name, chosen, key, value, event.type_name, time_ms, headers)


def shared_headers(read: Mapping[Place, int], trace: list[tuple[str, str]], decided: int = 1) -> str:
    """The headers that all records of one transaction share, as JSON: what it had read, how many they are, its trace.

    ``read`` says up to which offset (excluded) the transaction took each input: a rebuild resumes there (STREAM 14).
    ``decided`` tells it whether a decision was published in part, since its inputs count as done.
    """
    covered = ",".join(f"{topic} {partition} {offset}" for (topic, partition), offset in sorted(read.items()))
    parts = ([[DECIDED, str(decided)]] if decided > 1 else [], [[READ, covered]] if covered else [], map(list, trace))
    return json.dumps([*chain(*parts)])


def under(row: OutboxRow, before: str, after: str) -> OutboxRow:
    """A row that was made under the shared headers ``before``, with ``after`` in their place; its own item stays."""
    if row.headers == before:
        return row._replace(headers=after)
    item = json.loads(row.headers)[-1]
    return row._replace(headers=json.dumps([*json.loads(after), item]))


def covered_offsets(header: bytes) -> dict[Place, int]:
    """Reads the header ``read`` back. Raises ``ValueError`` if it isn't one."""
    covered = {}
    for part in header.decode().split(","):
        topic, partition, offset = part.split(" ")
        covered[Place(topic, int(partition))] = int(offset)
    return covered


@lru_cache(maxsize=4_096)
def ce_time(time_ms: int) -> str:
    """Unix milliseconds as CloudEvents wants them: RFC 3339, UTC."""
    return datetime.fromtimestamp(time_ms / 1000, tz=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
