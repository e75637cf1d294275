"""Wiring of metering."""

from __future__ import annotations

from functools import partial

from millpond.events.topics import (
    AGENT_RESULTS,
    INSPECTOR_OBSERVATIONS,
    METERING_USAGE,
    REWARDS_EPOCHS,
    SCHEDULER_ASSIGNMENTS,
    deadletters,
)
from millpond.proofs import ReceiptKey, countersign, load_receipt_key
from millpond.settings import PoolSettings, load
from millpond.stream import Service
from millpond_metering.rules import State, decide, fold, keys
from millpond_metering.rules.line import Signatures
from millpond_metering.settings import MeteringSettings
from millpond_metering.store import MeteringStore


def build() -> Service[State]:
    """Raises ``SettingsInvalid``, ``ReceiptKeyMissing``, ``ReceiptKeyExposed`` and ``ReceiptKeyUnreadable``."""
    return metering(load(PoolSettings).id, load_receipt_key(load(MeteringSettings).receipt_key_file))


def metering(pool: str, key: ReceiptKey) -> Service[State]:
    signatures = Signatures(pool, partial(countersign, pool=pool, key=key))
    return Service(
        name="metering",
        shape="grouped",
        reads=(SCHEDULER_ASSIGNMENTS, AGENT_RESULTS, INSPECTOR_OBSERVATIONS, REWARDS_EPOCHS),
        writes=(METERING_USAGE,),
        dead_letters=deadletters("metering"),
        decide=partial(decide, signatures=signatures),
        store=MeteringStore(),
        keys=keys,
        fold=fold,
        # A part that waits for the others has left no output: only the inputs know of it.
        rebuild_reads_from="beginning",
    )
