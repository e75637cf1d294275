"""Joins by partition hold: partition n of every topic is one member's, however many members there are."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from stream.joining_tally import PARTITIONS, joining_tally
from stream.topics_made import create_topics, new_name
from stream.workers import Worker, Workers, wait_until

WITHIN_S = 120.0


def assigned(worker: Worker, topic: str) -> frozenset[int]:
    """What the group has given to the worker last, by its own log."""
    last = worker.log_text().rpartition("Setting newly assigned partitions")[2].partition("\n")[0]
    found = re.findall(r"TopicPartition\(topic='([^']+)', partition=(\d+)\)", last)
    return frozenset(int(partition) for name, partition in found if name == topic)


def all_are_given(members: Sequence[Worker], topics: Sequence[str]) -> bool:
    """Whether every partition has exactly one member: the group has settled."""
    given = [[number for member in members for number in assigned(member, topic)] for topic in topics]
    everyone = all(assigned(member, topics[0]) for member in members)
    return everyone and all(sorted(numbers) == list(range(PARTITIONS)) for numbers in given)


@pytest.mark.parametrize("count", [5, 7])
async def test_each_member_reads_the_same_partitions_of_both_topics(
    kafka_bootstrap: str, workers: Workers, count: int
) -> None:
    name = new_name("joins")
    service = joining_tally(name)
    topics = [topic.name for topic in service.reads]
    await create_topics(kafka_bootstrap, service)
    members = [workers.start(name, program="stream.joining_tally") for _ in range(count)]
    await wait_until(lambda: all_are_given(members, topics), WITHIN_S)
    assert [assigned(member, topics[0]) for member in members] == [assigned(member, topics[1]) for member in members]

    members.pop().terminate()
    await wait_until(lambda: all_are_given(members, topics), WITHIN_S)
    assert [assigned(member, topics[0]) for member in members] == [assigned(member, topics[1]) for member in members]
    for member in members:
        member.terminate()
