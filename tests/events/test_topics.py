"""The topic table, held against what it was decided to be: written out by hand, since none of it may ever change."""

from __future__ import annotations

from datetime import timedelta

import pytest

from millpond.events.roles import OPERATOR, SERVICES
from millpond.events.topic import Written
from millpond.events.topics import TOPICS, InvalidGatewayId, UnknownService, deadletters, gateway_requests

DAYS_90, DAYS_7 = timedelta(days=90), timedelta(days=7)
ALL = set(SERVICES)

# (topic, key, partitions, owner, readers, retention, poison)
EXPECTED = [
    ("pool.terms.v1", "pool", 1, "registry", ALL - {"registry"}, None, "stop"),
    ("gateway.jobs.v1", "job", 12, "edge", {"scheduler"}, None, "stop"),
    ("agent.enrolments.v1", "contributor", 6, "edge", {"registry"}, None, "stop"),
    ("agent.heartbeats.v1", "device", 6, "edge", {"registry", "scheduler"}, DAYS_90, "aside"),
    ("agent.progress.v1", "job", 12, "edge", {"scheduler"}, DAYS_90, "aside"),
    ("agent.results.v1", "job", 12, "edge", {"scheduler", "metering", "inspector"}, None, "stop"),
    ("operator.commands.v1", "subject", 6, "operator", ALL, None, "aside"),
    (
        "registry.members.v1",
        "contributor",
        6,
        "registry",
        {"scheduler", "metering", "rewards", "treasury", "edge"},
        None,
        "stop",
    ),
    ("registry.gateways.v1", "gateway", 1, "registry", {"edge", "scheduler", "rewards"}, None, "stop"),
    ("registry.gpus.v1", "gpu", 6, "registry", {"scheduler", "metering", "rewards"}, None, "stop"),
    ("registry.capacity.v1", "capability", 6, "registry", {"edge", "bridge"}, None, "aside"),
    ("scheduler.assignments.v1", "job", 12, "scheduler", {"metering", "edge", "bridge"}, None, "stop"),
    ("scheduler.reads.v1", "scheduler", 1, "scheduler", set(), DAYS_90, "aside"),
    ("scheduler.standings.v1", "gpu", 6, "scheduler", {"edge"}, None, "aside"),
    ("inspector.observations.v1", "job", 12, "inspector", {"metering"}, None, "stop"),
    ("metering.usage.v1", "contributor", 6, "metering", {"rewards", "edge", "scheduler"}, None, "stop"),
    ("metering.challenges.v1", "epoch", 1, "metering", {"inspector", "scheduler", "registry"}, None, "stop"),
    ("bridge.payments.v1", "job", 12, "bridge", {"metering"}, None, "stop"),
    ("chain.revenue.v1", "orchestrator", 1, "chain_watcher", {"rewards", "scheduler", "treasury"}, None, "stop"),
    ("chain.transfers.v1", "slot", 1, "chain_watcher", {"treasury", "rewards"}, None, "stop"),
    ("chain.prices.v1", "pair", 1, "chain_watcher", {"rewards"}, None, "stop"),
    (
        "rewards.epochs.v1",
        "pool",
        1,
        "rewards",
        {"metering", "registry", "scheduler", "treasury", "rewards"},
        None,
        "stop",
    ),
    ("rewards.statements.v1", "contributor", 6, "rewards", {"edge"}, None, "stop"),
    ("rewards.payouts.v1", "contributor", 6, "rewards", {"treasury", "edge"}, None, "stop"),
    (
        "treasury.settlements.v1",
        "slot or payout",
        1,
        "treasury",
        {"rewards", "edge", "chain_watcher", "treasury"},
        None,
        "stop",
    ),
    ("contributor.sealed.v1", "contributor", 6, "edge", {"treasury"}, DAYS_7, "aside"),
    ("contributor.disputes.v1", "contributor", 6, "edge", {"metering", "rewards"}, None, "stop"),
    ("rewards.verdicts.v1", "contributor", 6, "rewards", {"metering", "edge"}, None, "stop"),
    ("edge.deadletters.v1", "as the original", 12, "edge", {"edge"}, None, None),
    ("registry.deadletters.v1", "as the original", 6, "registry", {"registry"}, None, None),
    ("scheduler.deadletters.v1", "as the original", 12, "scheduler", {"scheduler"}, None, None),
    ("inspector.deadletters.v1", "as the original", 12, "inspector", {"inspector"}, None, None),
    ("metering.deadletters.v1", "as the original", 12, "metering", {"metering"}, None, None),
    ("bridge.deadletters.v1", "as the original", 12, "bridge", {"bridge"}, None, None),
    ("chain_watcher.deadletters.v1", "as the original", 6, "chain_watcher", {"chain_watcher"}, None, None),
    ("rewards.deadletters.v1", "as the original", 6, "rewards", {"rewards"}, None, None),
    ("treasury.deadletters.v1", "as the original", 6, "treasury", {"treasury"}, None, None),
]

# Decided where it was seen: a repeat is known by what was observed and not by a number.
OBSERVED = {
    "gateway.jobs.v1",
    "agent.enrolments.v1",
    "agent.heartbeats.v1",
    "agent.progress.v1",
    "agent.results.v1",
    "operator.commands.v1",
    "bridge.payments.v1",
    "chain.revenue.v1",
    "chain.transfers.v1",
    "chain.prices.v1",
    "contributor.sealed.v1",
    "contributor.disputes.v1",
}
# No money hangs on whether an old heartbeat comes twice.
FORGOTTEN_ITEMS = {"agent.heartbeats.v1", "agent.progress.v1", "contributor.sealed.v1"}


@pytest.mark.parametrize("row", EXPECTED, ids=lambda row: row[0])
def test_a_topic_is_what_it_was_decided_to_be_for_ever(row: tuple[object, ...]) -> None:
    topic = TOPICS[str(row[0])]
    actual = (topic.name, topic.key, topic.partitions, topic.owner, set(topic.readers), topic.retention, topic.poison)
    assert actual == row


def test_the_table_holds_nothing_else() -> None:
    assert list(TOPICS) == [row[0] for row in EXPECTED]


def test_a_repeat_is_told_by_number_or_by_item_and_never_by_luck() -> None:
    assert {name for name, topic in TOPICS.items() if topic.written is Written.BY_SOURCE} == OBSERVED
    assert {name for name, topic in TOPICS.items() if topic.items_kept} == OBSERVED - FORGOTTEN_ITEMS
    assert Written.BY_ANYONE not in {topic.written for topic in TOPICS.values()}


def test_whatever_joins_by_job_has_the_same_partitions() -> None:
    jobs = [topic for topic in (*TOPICS.values(), gateway_requests("studio")) if topic.key == "job"]
    assert {topic.partitions for topic in jobs} == {12}


def test_names_have_dots_only_and_no_two_collide_in_kafkas_metrics() -> None:
    names = [*TOPICS, gateway_requests("a-b").name]
    # Kafka's metrics write "." as "_", so that a.b and a_b would be one topic there.
    assert len({name.replace(".", "_") for name in names}) == len(names)
    for topic in TOPICS.values():
        domain, dataset, version = topic.name.split(".")
        assert (dataset.isalpha(), version) == (True, "v1")
        assert domain in {*SERVICES, OPERATOR, "pool", "gateway", "agent", "contributor", "chain"}


def test_a_gateways_topic_is_its_own_and_believed_in_nothing() -> None:
    topic = gateway_requests("studio-1")
    assert topic.name == "gateway.studio-1.requests.v1"
    assert (topic.key, topic.partitions, topic.owner) == ("any", 12, "gateway-studio-1")
    assert (topic.readers, topic.poison, topic.written) == (("edge",), "aside", Written.BY_ANYONE)
    assert topic.retention is None
    for gateway_id in ("", "Studio", "a.b", "a_b", "-a", "a" * 65, "a\n"):
        with pytest.raises(InvalidGatewayId):
            gateway_requests(gateway_id)


def test_dead_letters_have_room_for_the_largest_input_and_are_nobody_elses() -> None:
    for service in SERVICES:
        inputs = [topic for topic in (*TOPICS.values(), gateway_requests("studio")) if service in topic.readers]
        letters = deadletters(service)
        assert letters == TOPICS[f"{service}.deadletters.v1"]
        assert letters.partitions == max(topic.partitions for topic in inputs)
        largest = max(topic.value_bytes_max for topic in inputs if topic != letters)
        assert letters.value_bytes_max > largest * 4 / 3
    with pytest.raises(UnknownService, match="portal"):
        deadletters("portal")


def test_every_event_has_one_topic_and_types_are_found_by_name() -> None:
    for topic in TOPICS.values():
        assert len(topic.event_types) == len(topic.events)
        for event in topic.events:
            assert topic.event_types[event.type_name] is event
