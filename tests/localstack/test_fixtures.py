"""What tests are lent is what they were promised."""

from __future__ import annotations

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from conftest import OwnStack


async def test_each_test_gets_an_empty_database(database: str) -> None:
    connection = await asyncpg.connect(database)
    try:
        assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
        await connection.execute("CREATE TABLE lines (n int)")
    finally:
        await connection.close()


async def test_the_broker_serves_topics_and_groups(kafka_bootstrap: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic("localstack.echo", 1, 1)])
    await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=kafka_bootstrap) as producer:
        await producer.send_and_wait("localstack.echo", b"hello")
    consumer = AIOKafkaConsumer(
        "localstack.echo", bootstrap_servers=kafka_bootstrap, group_id="echo", auto_offset_reset="earliest"
    )
    async with consumer:
        assert (await consumer.getone()).value == b"hello"


async def test_a_stack_of_its_own_can_be_broken_from_an_async_test(own_stack: OwnStack) -> None:
    stack = own_stack("postgres")
    stack.postgres.kill()
    assert not stack.postgres.answers()
    stack.postgres.start()
    assert stack.postgres.answers()
