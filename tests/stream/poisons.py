"""Records that can't be read or may not be applied, one of each kind, and how to put records on a topic byte by byte."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from aiokafka import AIOKafkaProducer

from millpond.events.envelope import CE_TYPE
from millpond.stream.record import ITEM, OUTBOX, Headers
from stream.tally import Drop
from stream.topics_made import FIRST_STAMP_MS


@dataclass(frozen=True)
class Raw:
    """A record as a stranger may write it."""

    partition: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp_ms: int = FIRST_STAMP_MS

    def without(self, name: str) -> Raw:
        return replace(self, headers=tuple(header for header in self.headers if header[0] != name))

    def having(self, name: str, value: bytes | None) -> Raw:
        return replace(self, headers=(*self.without(name).headers, (name, value)))


def drop(item: str, partition: int = 0, *, bucket: str = "b", amount: int = 1, number: int = 0) -> Raw:
    """A good one: observed (``item``), and with a ``number`` also numbered by its source's outbox, from 1 on."""
    headers: Headers = ((CE_TYPE, Drop.type_name.encode()), (ITEM, item.encode()))
    if number:
        headers = (*headers, (OUTBOX, f"rain {number} {number - 1}".encode()))
    return Raw(partition, bucket.encode(), Drop(bucket=bucket, amount=amount).to_bytes(), headers)


def poisons(value_bytes_max: int) -> dict[str, tuple[Raw, str]]:
    """By name: the record, and the reason that its dead letter must give. To be put where a good one would stand."""
    good = drop("poison")
    long = Drop(bucket="b" * value_bytes_max, amount=1).to_bytes()
    return {
        "null value": (replace(good, value=None), "null_value"),
        "huge value": (replace(good, value=long), "too_large"),
        "no JSON": (replace(good, value=b'{"bucket": "b", '), "not_json"),
        "random bytes": (replace(good, value=bytes(range(256))), "not_json"),
        "wrong fields": (replace(good, value=b'{"bucket": "b"}'), "wrong_fields"),
        "no object": (replace(good, value=b"[1, 2]"), "wrong_fields"),
        "unknown type": (good.having(CE_TYPE, b"Flood"), "unknown_type"),
        "no type": (good.without(CE_TYPE), "unknown_type"),
        "type not UTF-8": (good.having(CE_TYPE, b"\xff\xfe"), "bad_header"),
        "type null": (good.having(CE_TYPE, None), "unknown_type"),
        "key not UTF-8": (replace(good, key=b"\xff\x00\xfe"), "bad_header"),
        # PostgreSQL's text holds every character but this one.
        "NUL in the key": (replace(good, key=b"a\x00b"), "bad_header"),
        "NUL in a field": (replace(good, value=b'{"bucket": "a\\u0000b", "amount": 1}'), "wrong_fields"),
        # No calendar has these; a broker takes them.
        "before all time": (replace(good, timestamp_ms=-(10**17)), "bad_header"),
    }


def item_poisons() -> dict[str, tuple[Raw, str]]:
    """What is wrong with a record only where its source must identify it."""
    good = drop("poison")
    return {
        "no item": (good.without(ITEM), "no_item_header"),
        "item null": (good.having(ITEM, None), "no_item_header"),
        "item not UTF-8": (good.having(ITEM, b"\xff"), "bad_header"),
        "NUL in the item": (good.having(ITEM, b"a\x00b"), "bad_header"),
    }


def number_poisons() -> dict[str, tuple[Raw, str]]:
    """What is wrong with a record only where its owner's outbox must number it."""
    good = drop("poison")
    return {
        "no number": (good, "no_outbox_header"),
        "number null": (good.having(OUTBOX, None), "no_outbox_header"),
        "number no number": (good.having(OUTBOX, b"rain one 0"), "bad_header"),
        "number not UTF-8": (good.having(OUTBOX, b"\xff 1 0"), "bad_header"),
        "number backwards": (good.having(OUTBOX, b"rain 1 2"), "bad_header"),
        "number of nobody": (good.having(OUTBOX, b" 1 0"), "bad_header"),
        "NUL in the source": (good.having(OUTBOX, b"ra\x00in 1 0"), "bad_header"),
    }


async def put(bootstrap: str, topic: str, records: Sequence[Raw]) -> list[int]:
    """Writes them in this order; returns their offsets."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, max_request_size=8 * 1_048_576, enable_idempotence=True)
    await producer.start()
    try:
        sent = [
            await producer.send(
                topic,
                record.value,
                record.key,
                record.partition,
                timestamp_ms=record.timestamp_ms,
                headers=list(record.headers),  # type: ignore[arg-type]
            )
            for record in records
        ]
        return [(await one).offset for one in sent]
    finally:
        await producer.stop()
