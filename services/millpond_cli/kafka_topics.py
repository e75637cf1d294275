"""Topics on a real cluster: what is there, and making it what the table says. Foreign errors stop here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaConnectionError, KafkaError, TopicAlreadyExistsError, for_code

from millpond.errors import MillpondError
from millpond.events.topic import Topic
from millpond.events.topic_plan import Difference, FoundTopic, TopicPlan, plan_topics, topic_settings
from millpond.settings import KafkaSettings

# Forty topics on a slow broker take a second or two; nobody waits at a prompt for longer than this.
CLUSTER_SECONDS_MAX: Final = 60
REQUEST_MS_MAX: Final = 20_000
SETTLE_SECONDS: Final = 0.05
REPLICAS_MAX: Final = 3

# Where a setting's value comes from (DescribeConfigs): this one says "set on the topic itself".
_SET_ON_TOPIC: Final = 1


class KafkaAway(MillpondError):
    """Kafka does not answer at {servers}: {cause}. Start it (`millpond stack`), or name the right --bootstrap-servers."""


class KafkaRefused(MillpondError):
    """Kafka at {servers} refused {what}: {cause}"""


class TopicsChanging(MillpondError):
    """{topic} came into being while the topics were applied: somebody else makes topics too. Apply again."""


class Cluster:
    """A Kafka cluster's topics. Raises ``KafkaRefused``, and what ``connected`` raises."""

    def __init__(self, admin: AIOKafkaAdminClient, servers: str) -> None:
        self._admin = admin
        self._servers = servers

    async def brokers(self) -> int:
        return len((await self._admin.describe_cluster())["brokers"])

    async def names(self) -> list[str]:
        """All topics but Kafka's own."""
        return sorted(
            topic["topic"] for topic in await self._admin.describe_topics() if not topic["topic"].startswith("__")
        )

    async def found(self, names: Iterable[str]) -> dict[str, FoundTopic]:
        """Those of the topics that exist, with the settings in force."""
        wanted = set(names)
        # All topics, then ours: asking for one by name would make it where auto-creation was left on.
        there = {topic["topic"]: topic["partitions"] for topic in await self._admin.describe_topics()}
        existing = sorted(wanted & there.keys())
        settings = await self._settings(existing)
        return {
            name: FoundTopic(
                partitions=len(there[name]),
                replicas=min(len(partition["replicas"]) for partition in there[name]),
                settings={key: value for key, (value, _) in settings[name].items()},
            )
            for name in existing
        }

    async def create(self, topics: Sequence[Topic], *, replication_factor: int) -> None:
        """Creates the topics and waits until every partition has a leader. Raises ``TopicsChanging``."""
        if not topics:
            return
        new = [
            NewTopic(
                topic.name,
                topic.partitions,
                replication_factor,
                topic_configs=topic_settings(topic, replication_factor=replication_factor),
            )
            for topic in topics
        ]
        response = await self._admin.create_topics(new)
        for name, code, message in response.topic_errors:
            if code == TopicAlreadyExistsError.errno:
                raise TopicsChanging(topic=name)
            self._check(f"to create the topic {name}", code, message)
        wanted = {topic.name for topic in topics}
        await _until(lambda: self._are_led(wanted))

    async def change(self, differences: Iterable[Difference]) -> None:
        """Gives topics the wanted settings, and waits until they are in force; what else was set on them stays."""
        changes: dict[str, dict[str, str]] = {}
        for difference in differences:
            changes.setdefault(difference.topic, {})[difference.setting] = difference.wanted
        if not changes:
            return
        # The only request aiokafka knows replaces all settings of a topic: those that it has must go along.
        current = await self._settings(sorted(changes))
        resources = [
            ConfigResource(
                ConfigResourceType.TOPIC,
                name,
                {key: value for key, (value, source) in current[name].items() if source == _SET_ON_TOPIC} | change,
            )
            for name, change in changes.items()
        ]
        for response in await self._admin.alter_configs(resources):
            for code, message, _, name in response.resources:
                self._check(f"to change the topic {name}", code, message)
        await _until(lambda: self._have(changes))

    async def _are_led(self, names: set[str]) -> bool:
        led = {
            topic["topic"]
            for topic in await self._admin.describe_topics()
            if topic["partitions"] and all(partition["leader"] >= 0 for partition in topic["partitions"])
        }
        return names <= led

    async def _have(self, changes: Mapping[str, Mapping[str, str]]) -> bool:
        settings = await self._settings(sorted(changes))
        return all(settings[name][key][0] == text for name, change in changes.items() for key, text in change.items())

    async def _settings(self, names: Sequence[str]) -> dict[str, dict[str, tuple[str, int]]]:
        if not names:
            return {}
        resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
        settings: dict[str, dict[str, tuple[str, int]]] = {}
        for response in await self._admin.describe_configs(resources):
            for code, message, _, name, entries in response.resources:
                self._check(f"to describe the topic {name}", code, message)
                settings[name] = {entry[0]: (entry[1], entry[3]) for entry in entries}
        return settings

    def _check(self, what: str, code: int, message: str | None) -> None:
        if code:
            kind = for_code(code)
            raise KafkaRefused(servers=self._servers, what=what, cause=message or kind.description or kind.__name__)


async def _until(holds: Callable[[], Awaitable[bool]]) -> None:
    # The controller acts at once; the broker that answers us knows of it a moment later. ``connected`` bounds this.
    while True:
        if await holds():
            return
        await asyncio.sleep(SETTLE_SECONDS)


@asynccontextmanager
async def connected(settings: KafkaSettings) -> AsyncIterator[Cluster]:
    """A connection to the cluster that ``settings`` name, for at most CLUSTER_SECONDS_MAX.

    Raises ``KafkaAway`` when nobody answers there.
    """
    servers = settings.bootstrap_servers
    admin = AIOKafkaAdminClient(**settings.client_options(), request_timeout_ms=REQUEST_MS_MAX)
    try:
        async with asyncio.timeout(CLUSTER_SECONDS_MAX):
            await admin.start()
            yield Cluster(admin, servers)
    except (KafkaConnectionError, TimeoutError) as cause:
        raise KafkaAway(servers=servers, cause=str(cause) or "no answer in time") from cause
    except KafkaError as cause:
        raise KafkaRefused(servers=servers, what="a request", cause=str(cause) or repr(cause)) from cause
    finally:
        await admin.close()


async def apply_topics(
    settings: KafkaSettings, wanted: Sequence[Topic], *, replication_factor: int | None = None
) -> TopicPlan:
    """Makes the cluster hold ``wanted``, and says what was done; if anything is refused, nothing is done.

    Without a replication factor: as many replicas as there are brokers, three at most.
    """
    async with connected(settings) as cluster:
        replicas = replication_factor or min(REPLICAS_MAX, await cluster.brokers())
        plan = plan_topics(wanted, await cluster.found(topic.name for topic in wanted), replication_factor=replicas)
        if not plan.refused:
            await cluster.create(plan.create, replication_factor=replicas)
            await cluster.change(plan.change)
        return plan
