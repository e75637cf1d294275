"""Rules that take their time are not a frozen process: a batch that takes longer than its locks may be held is decided."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from millpond.stream.decision import Decision, Input
from millpond.stream.postgres.database import IDLE_IN_TRANSACTION_MS
from stream.disasters import caught_up
from stream.in_process import running
from stream.state import buckets
from stream.tally import drops_topic, tally
from stream.topics_made import create_topics, new_name, produce, rain
from stream.workers import wait_until

DROPS = 12
# All of one batch together: well above what the server takes for frozen.
EACH_S = 2 * IDLE_IN_TRANSACTION_MS / 1_000 / DROPS
WITHIN_S = 120.0


async def test_a_batch_of_slow_rules_is_decided(kafka_bootstrap: str, database: str) -> None:
    name = new_name()
    plain = tally(name)

    def decide(state: Mapping[str, Any], each: Input) -> Decision[Mapping[str, Any]]:
        time.sleep(EACH_S)
        return plain.decide(state, each)  # type: ignore[return-value, arg-type]

    slow = tally(name, decide=decide)
    await create_topics(kafka_bootstrap, slow)
    # One bucket, so one partition, so one batch.
    await produce(kafka_bootstrap, name, rain(DROPS, buckets=1), drops_topic(name))
    async with running(slow, kafka_bootstrap, database):
        await wait_until(lambda: caught_up(kafka_bootstrap, database, slow), WITHIN_S)
    ((total, drops),) = (await buckets(database, name)).values()
    assert (total, drops) == (sum(fall.drop.amount for fall in rain(DROPS, buckets=1)), DROPS)
