"""Wiring of the scheduler."""

from __future__ import annotations

from functools import partial

from millpond.events.topics import SCHEDULER_ASSIGNMENTS, SCHEDULER_READS, deadletters
from millpond.settings import PoolSettings, load
from millpond.stream.service import Service
from millpond_scheduler.rules import READS, Board, conclude, decide, fold, recall
from millpond_scheduler.store import BoardStore


def build() -> Service[Board]:
    """Raises ``SettingsInvalid``."""
    return scheduler(load(PoolSettings).id)


def scheduler(pool: str) -> Service[Board]:
    return Service(
        name="scheduler",
        shape="single_active",
        reads=READS,
        writes=(SCHEDULER_ASSIGNMENTS, SCHEDULER_READS),
        dead_letters=deadletters("scheduler"),
        decide=partial(decide, pool=pool),
        conclude=conclude,
        store=BoardStore(READS),
        fold=fold,
        recall=recall,
    )
