"""``millpond topics`` on a real Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from typer.testing import CliRunner, Result

from millpond.events.topic_plan import topic_settings
from millpond.events.topics import AGENT_HEARTBEATS, AGENT_RESULTS, TOPICS
from millpond.localstack import LocalStack
from millpond.settings import KafkaSettings
from millpond_cli.app import app
from millpond_cli.kafka_topics import TopicsChanging, connected


@pytest.fixture(scope="module")
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker of our own: the table's topics must not exist before, and are the other tests' to make."""
    with LocalStack(tmp_path_factory.mktemp("topics"), ("kafka",)) as stack:
        yield stack.kafka.bootstrap_servers


@pytest.fixture
def brokers(own_broker: str) -> str:
    """The broker's address; it holds no topic."""

    async def empty() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=own_broker)
        await admin.start()
        try:
            while names := await admin.list_topics():
                await admin.delete_topics(names)
                await asyncio.sleep(0.05)
        finally:
            await admin.close()

    asyncio.run(empty())
    return own_broker


@pytest.fixture
def existing(brokers: str) -> Callable[..., None]:
    """Makes a topic as somebody else might have."""

    def make(name: str, partitions: int, **settings: str) -> None:
        async def create() -> None:
            admin = AIOKafkaAdminClient(bootstrap_servers=brokers)
            await admin.start()
            try:
                dotted = {key.replace("_", "."): value for key, value in settings.items()}
                response = await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=dotted)])
                assert [code for _, code, _ in response.topic_errors] == [0]
                # The controller knows it first, the broker that answers us a moment later.
                async with asyncio.timeout(10):
                    while name not in await admin.list_topics():  # noqa: ASYNC110 - Kafka has no event for it
                        await asyncio.sleep(0.02)
            finally:
                await admin.close()

        asyncio.run(create())

    return make


def apply(brokers: str, *options: str) -> Result:
    return CliRunner().invoke(app, ["topics", "apply", "--bootstrap-servers", brokers, *options])


def settings_on(brokers: str, *names: str) -> dict[str, dict[str, str]]:
    async def ask() -> dict[str, dict[str, str]]:
        async with connected(KafkaSettings(bootstrap_servers=brokers)) as cluster:
            found = await cluster.found(names)
            return {name: {**topic.settings, "n": str(topic.partitions)} for name, topic in found.items()}

    return asyncio.run(ask())


def test_every_topic_of_the_table_is_made_as_the_table_says_and_a_second_time_nothing_happens(brokers: str) -> None:
    first = apply(brokers, "--gateway", "livepeer-studio")
    assert first.exit_code == 0, first.output
    found = settings_on(brokers, *TOPICS, "gateway.livepeer-studio.requests.v1")
    assert len(found) == len(TOPICS) + 1
    for name, topic in TOPICS.items():
        wanted = topic_settings(topic, replication_factor=1)
        assert {key: found[name][key] for key in wanted} == wanted
        assert found[name]["n"] == str(topic.partitions)
    second = apply(brokers, "--gateway", "livepeer-studio")
    assert second.exit_code == 0, second.output
    assert "Nothing to do" in second.output


def test_a_changed_count_of_partitions_is_refused_and_nothing_else_is_done(
    brokers: str, existing: Callable[..., None]
) -> None:
    existing(AGENT_RESULTS.name, 3, retention_ms="-1", retention_bytes="-1")
    existing(AGENT_HEARTBEATS.name, 6, retention_ms="1000")
    result = apply(brokers)
    assert result.exit_code == 1
    row = next(line for line in result.output.splitlines() if AGENT_RESULTS.name in line and "partitions" in line)
    assert [cell.strip() for cell in row.strip("│").split("│")] == [AGENT_RESULTS.name, "partitions", "12", "3"]
    assert settings_on(brokers, *TOPICS).keys() == {AGENT_RESULTS.name, AGENT_HEARTBEATS.name}
    assert settings_on(brokers, AGENT_HEARTBEATS.name)[AGENT_HEARTBEATS.name]["retention.ms"] == "1000"


def test_a_retention_is_never_shortened(brokers: str, existing: Callable[..., None]) -> None:
    existing(AGENT_HEARTBEATS.name, 6, retention_ms="-1")
    result = apply(brokers)
    assert result.exit_code == 1
    assert "retention.ms" in result.output
    assert settings_on(brokers, AGENT_HEARTBEATS.name)[AGENT_HEARTBEATS.name]["retention.ms"] == "-1"


def test_a_compacted_topic_is_refused(brokers: str, existing: Callable[..., None]) -> None:
    existing(AGENT_RESULTS.name, 12, cleanup_policy="compact")
    result = apply(brokers)
    assert result.exit_code == 1
    assert "compact" in result.output


def test_a_retention_is_lengthened_and_what_else_was_set_on_the_topic_stays(
    brokers: str, existing: Callable[..., None]
) -> None:
    existing(AGENT_RESULTS.name, 12, retention_ms="60000", segment_bytes="14000000")
    result = apply(brokers)
    assert result.exit_code == 0, result.output
    settings = settings_on(brokers, AGENT_RESULTS.name)[AGENT_RESULTS.name]
    assert settings["retention.ms"] == settings["retention.bytes"] == "-1"
    assert settings["segment.bytes"] == "14000000"


def test_two_who_apply_at_once_are_told_to_apply_again(brokers: str, existing: Callable[..., None]) -> None:
    existing(AGENT_RESULTS.name, 12)

    async def create_without_looking() -> None:
        async with connected(KafkaSettings(bootstrap_servers=brokers)) as cluster:
            await cluster.create([AGENT_RESULTS], replication_factor=1)

    with pytest.raises(TopicsChanging, match=r"agent\.results\.v1 came into being"):
        asyncio.run(create_without_looking())


def test_a_replication_factor_that_no_cluster_of_one_has_is_refused_by_a_sentence(brokers: str) -> None:
    result = apply(brokers, "--replication-factor", "3")
    assert result.exit_code == 1
    assert "refused to create the topic pool.terms.v1" in result.output


def test_a_broker_that_is_away_is_named_with_what_to_do() -> None:
    result = apply("127.0.0.1:1")
    assert result.exit_code == 1
    assert "Kafka does not answer at 127.0.0.1:1" in result.output
    assert "millpond stack" in result.output


def test_the_list_needs_no_broker_and_names_every_topic() -> None:
    result = CliRunner().invoke(app, ["topics", "list", "--gateway", "studio"])
    assert result.exit_code == 0, result.output
    for name in (*TOPICS, "gateway.studio.requests.v1"):
        assert name in result.output


@pytest.mark.parametrize("gateway_id", ["", "A", "a.b", "a_b", "-a", "ü", "a" * 65, "a\n"])
def test_a_gateway_id_that_would_not_stay_one_word_of_the_name_is_refused(gateway_id: str) -> None:
    result = CliRunner().invoke(app, ["topics", "list", "--gateway", gateway_id])
    assert result.exit_code == 1
    assert "can't be part of a topic's name" in result.output
