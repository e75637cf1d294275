"""Wiring of rewards."""

from __future__ import annotations

from functools import partial

from millpond.events.rewards_epochs import EpochEnding
from millpond.events.topics import (
    AGENT_RESULTS,
    INSPECTOR_OBSERVATIONS,
    REWARDS_EPOCHS,
    REWARDS_PAYOUTS,
    REWARDS_STATEMENTS,
    SCHEDULER_ASSIGNMENTS,
    deadletters,
)
from millpond.identity import Domain
from millpond.proofs import load_receipt_key
from millpond.proofs.checkpoint import KIND, sign_checkpoint
from millpond.settings import KafkaSettings, PoolSettings, load
from millpond.stream import Place, Received, Service
from millpond.stream.kafka.log import KafkaLog
from millpond.stream.log import Log
from millpond.stream.service import Observe
from millpond_rewards.rules import READS, Pool, State, decide, fold, recall
from millpond_rewards.settings import RewardsSettings
from millpond_rewards.store import RewardsStore

# What metering decides usage lines from: its watermarks answer for where these ended.
METERED = (AGENT_RESULTS, SCHEDULER_ASSIGNMENTS, INSPECTOR_OBSERVATIONS)


def build() -> Service[State]:
    """Raises ``SettingsInvalid``, ``ReceiptKeyMissing``, ``ReceiptKeyExposed`` and ``ReceiptKeyUnreadable``."""
    pool, settings = load(PoolSettings), load(RewardsSettings)
    key = load_receipt_key(settings.receipt_key_file)
    sign = partial(sign_checkpoint, sign=lambda text: key.sign(pool=pool.id, kind=KIND, text=text))
    return rewards(
        Pool(
            domain=Domain(pool=pool.id, chain_id=pool.chain_id),
            operators=frozenset(pool.operators),
            epoch_ms=None if settings.epoch_s is None else settings.epoch_s * 1000,
            sign=sign,
        ),
        ends_seen_on(KafkaLog(load(KafkaSettings).client_options())),
    )


def rewards(pool: Pool, observe: Observe) -> Service[State]:
    return Service(
        name="rewards",
        shape="single_active",
        reads=READS,
        writes=(REWARDS_EPOCHS, REWARDS_STATEMENTS, REWARDS_PAYOUTS),
        dead_letters=deadletters("rewards"),
        decide=partial(decide, pool=pool),
        store=RewardsStore(),
        observe=observe,
        fold=partial(fold, pool=pool),
        # What is not in the outputs (lines since the last cut, terms, slots) is taken in again as it is read again.
        recall=partial(recall, pool=pool),
    )


def ends_seen_on(log: Log) -> Observe:
    """Where the logs end that metering reads, once it is on the log that an epoch is ending."""

    async def observe(received: Received) -> dict[str, tuple[int, ...]] | None:
        if not isinstance(received.event, EpochEnding):
            return None
        places = [Place(topic.name, partition) for topic in METERED for partition in range(topic.partitions)]
        extents = await log.extents(places)
        return {
            topic.name: tuple(extents[Place(topic.name, partition)].end for partition in range(topic.partitions))
            for topic in METERED
        }

    return observe
