"""Deleting the beginning of a partition, as retention would."""

from __future__ import annotations

from collections.abc import Mapping

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.errors import KafkaError

from millpond.stream.feed import LogAway
from millpond.stream.kafka.log import Connection
from millpond.stream.record import Place


async def delete_before(connection: Connection, beginnings: Mapping[Place, int]) -> None:
    """Makes each place begin at the offset given. Raises ``LogAway``."""
    admin = AIOKafkaAdminClient(**connection)
    try:
        await admin.start()
        await admin.delete_records(
            {TopicPartition(*place): RecordsToDelete(offset) for place, offset in beginnings.items()}
        )
    except (KafkaError, OSError) as cause:
        raise LogAway(cause=repr(cause)) from cause
    finally:
        await admin.close()
