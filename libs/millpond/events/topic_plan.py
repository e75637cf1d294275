"""What a cluster must do to hold the topics of the table, and what stands in the way. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from millpond.events.topic import Topic

# A batch holds keys, headers and framing beside the values; the producer's batches end far below this.
BATCH_OVERHEAD_BYTES_MAX: Final = 65_536
# One broker may be lost without losing what was acknowledged, and without standing still.
REPLICAS_FOR_TWO_IN_SYNC: Final = 3
UNLIMITED: Final = -1

# Growing these loses nothing; shrinking them deletes records.
GROWING: Final = ("retention.ms", "retention.bytes")
# These touch no record that is there, whichever way they change.
SETTABLE: Final = ("max.message.bytes", "min.insync.replicas", "unclean.leader.election.enable")


@dataclass(frozen=True, slots=True)
class FoundTopic:
    """A topic as the cluster has it. ``settings`` are those in force, the brokers' defaults included."""

    partitions: int
    # Of the partition that has the fewest.
    replicas: int
    settings: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Difference:
    """Where a topic of the cluster differs from the table."""

    topic: str
    setting: str
    wanted: str
    found: str


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """``create``: missing topics. ``change``: what is safe to change. ``refused``: what nobody may change in place."""

    create: tuple[Topic, ...]
    change: tuple[Difference, ...]
    refused: tuple[Difference, ...]


def topic_settings(topic: Topic, *, replication_factor: int) -> dict[str, str]:
    """Kafka's settings of a topic (retention in milliseconds, sizes in bytes); -1 means without limit."""
    return {
        "cleanup.policy": "delete",
        "retention.ms": str(_retention_ms(topic.retention)),
        # Only time may forget: a burst of heartbeats must not push out what a dispute could still ask for.
        "retention.bytes": str(UNLIMITED),
        "max.message.bytes": str(topic.value_bytes_max + BATCH_OVERHEAD_BYTES_MAX),
        "min.insync.replicas": "2" if replication_factor >= REPLICAS_FOR_TWO_IN_SYNC else "1",
        # A broker that missed records must never become the leader: positions would point past the log's end.
        "unclean.leader.election.enable": "false",
    }


def plan_topics(wanted: Iterable[Topic], found: Mapping[str, FoundTopic], *, replication_factor: int) -> TopicPlan:
    """Compares the table with the cluster; topics that only the cluster has are nobody's business here."""
    create, differences = [], []
    for topic in wanted:
        existing = found.get(topic.name)
        if existing is None:
            create.append(topic)
        else:
            differences += _differences(topic, existing, replication_factor)
    return TopicPlan(
        create=tuple(create),
        change=tuple(difference for difference in differences if _is_safe(difference)),
        refused=tuple(difference for difference in differences if not _is_safe(difference)),
    )


def _differences(topic: Topic, existing: FoundTopic, replication_factor: int) -> list[Difference]:
    wanted = {
        "partitions": str(topic.partitions),
        # More replicas than asked for are nobody's loss.
        "replicas": str(max(replication_factor, existing.replicas)),
        **topic_settings(topic, replication_factor=existing.replicas),
    }
    # An operator may ask for more in sync than we do, but not for more than there are: nothing could be written.
    in_sync = int(existing.settings.get("min.insync.replicas", 1))
    wanted["min.insync.replicas"] = str(min(max(in_sync, int(wanted["min.insync.replicas"])), existing.replicas))
    has = {"partitions": str(existing.partitions), "replicas": str(existing.replicas), **existing.settings}
    return [
        Difference(topic.name, setting, wanted=text, found=has.get(setting, "not set"))
        for setting, text in wanted.items()
        if has.get(setting) != text
    ]


def _is_safe(difference: Difference) -> bool:
    """Partitions are fixed for ever, what was compacted is already gone, and replicas are moved by Kafka's own tools."""
    if difference.setting in SETTABLE:
        return True
    if difference.setting not in GROWING or difference.found == "not set":
        return False
    wanted, found = int(difference.wanted), int(difference.found)
    return found != UNLIMITED and (wanted == UNLIMITED or wanted > found)


def _retention_ms(retention: timedelta | None) -> int:
    return UNLIMITED if retention is None else retention // timedelta(milliseconds=1)
