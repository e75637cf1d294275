"""What is done to a cluster, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from millpond.events.topic_plan import Difference, FoundTopic, plan_topics, topic_settings
from millpond.events.topics import AGENT_HEARTBEATS, AGENT_RESULTS, CONTRIBUTOR_SEALED, TOPICS


def found(replicas: int = 3, partitions: int = 12, **settings: str) -> FoundTopic:
    changed = {key.replace("_", "."): value for key, value in settings.items()}
    return FoundTopic(
        partitions=partitions,
        replicas=replicas,
        settings=topic_settings(AGENT_RESULTS, replication_factor=replicas) | changed,
    )


def plan_results(existing: FoundTopic, replication_factor: int = 3) -> tuple[list[Difference], list[Difference]]:
    plan = plan_topics([AGENT_RESULTS], {AGENT_RESULTS.name: existing}, replication_factor=replication_factor)
    assert plan.create == ()
    return list(plan.change), list(plan.refused)


def difference(setting: str, wanted: str, found: str) -> Difference:
    return Difference(AGENT_RESULTS.name, setting, wanted=wanted, found=found)


def test_settings_keep_everything_for_ever_and_never_compact() -> None:
    settings = topic_settings(AGENT_RESULTS, replication_factor=3)
    assert settings == {
        "cleanup.policy": "delete",
        "retention.ms": "-1",
        "retention.bytes": "-1",
        "max.message.bytes": str(1_048_576 + 65_536),
        "min.insync.replicas": "2",
        "unclean.leader.election.enable": "false",
    }
    assert topic_settings(AGENT_HEARTBEATS, replication_factor=3)["retention.ms"] == str(90 * 24 * 3600 * 1000)
    assert topic_settings(CONTRIBUTOR_SEALED, replication_factor=3)["retention.ms"] == str(7 * 24 * 3600 * 1000)
    assert {topic_settings(topic, replication_factor=1)["retention.bytes"] for topic in TOPICS.values()} == {"-1"}


def test_what_is_missing_is_made_and_what_is_as_wanted_is_left_alone() -> None:
    plan = plan_topics(
        [AGENT_RESULTS, AGENT_HEARTBEATS],
        {AGENT_RESULTS.name: found(), "somebody.elses.v1": found(partitions=1)},
        replication_factor=3,
    )
    assert plan.create == (AGENT_HEARTBEATS,)
    assert plan.change == plan.refused == ()


def test_another_count_of_partitions_is_refused_up_and_down() -> None:
    for count in (11, 13):
        assert plan_results(found(partitions=count)) == ([], [difference("partitions", "12", str(count))])


def test_a_retention_may_grow_and_never_shrink() -> None:
    assert plan_results(found(retention_ms="1000")) == ([difference("retention.ms", "-1", "1000")], [])
    assert plan_results(found(retention_bytes="1000")) == ([difference("retention.bytes", "-1", "1000")], [])
    wanted = topic_settings(AGENT_HEARTBEATS, replication_factor=3)
    for longer in (str(int(wanted["retention.ms"]) + 1), "-1"):
        existing = FoundTopic(partitions=6, replicas=3, settings={**wanted, "retention.ms": longer})
        plan = plan_topics([AGENT_HEARTBEATS], {AGENT_HEARTBEATS.name: existing}, replication_factor=3)
        assert [(each.setting, each.found) for each in plan.refused] == [("retention.ms", longer)]
        assert plan.change == ()


@pytest.mark.parametrize("policy", ["compact", "compact,delete"])
def test_a_compacted_topic_is_refused_since_what_a_dispute_needs_may_be_gone(policy: str) -> None:
    assert plan_results(found(cleanup_policy=policy)) == ([], [difference("cleanup.policy", "delete", policy)])


def test_a_setting_the_cluster_does_not_tell_is_not_guessed() -> None:
    existing = found()
    without = replace(existing, settings={k: v for k, v in existing.settings.items() if k != "retention.ms"})
    assert plan_results(without) == ([], [difference("retention.ms", "-1", "not set")])


def test_what_touches_no_record_is_set_either_way() -> None:
    change, refused = plan_results(found(max_message_bytes="10485760", unclean_leader_election_enable="true"))
    assert [each.setting for each in change] == ["max.message.bytes", "unclean.leader.election.enable"]
    assert refused == []


def test_never_more_replicas_in_sync_are_asked_for_than_there_are() -> None:
    # A topic of one replica that waits for two can't be written at all.
    assert plan_results(found(replicas=1, min_insync_replicas="2"), replication_factor=1) == (
        [difference("min.insync.replicas", "1", "2")],
        [],
    )
    assert plan_results(found(replicas=4, min_insync_replicas="3")) == ([], [])
    assert plan_results(found(min_insync_replicas="1")) == ([difference("min.insync.replicas", "2", "1")], [])


def test_fewer_replicas_than_asked_for_are_told_and_more_are_welcome() -> None:
    assert plan_results(found(replicas=1)) == ([], [difference("replicas", "3", "1")])
    assert plan_results(found(replicas=5)) == ([], [])
