"""Wiring of the registry: one active process, a warm standby."""

from __future__ import annotations

from functools import partial

from millpond.events.topics import (
    AGENT_ENROLMENTS,
    AGENT_HEARTBEATS,
    OPERATOR_COMMANDS,
    POOL_TERMS,
    REGISTRY_CAPACITY,
    REGISTRY_GATEWAYS,
    REGISTRY_GPUS,
    REGISTRY_MEMBERS,
    REWARDS_EPOCHS,
    deadletters,
)
from millpond.identity import Domain
from millpond.settings import PoolSettings, load
from millpond.stream import Service
from millpond_registry.rules import Pool, State, conclude, decide, fold, recall
from millpond_registry.store import RegistryStore


def build() -> Service[State]:
    """Raises ``SettingsInvalid``."""
    settings = load(PoolSettings)
    return registry(Pool(Domain(settings.id, settings.chain_id), frozenset(settings.operators)))


def registry(pool: Pool) -> Service[State]:
    return Service(
        name="registry",
        shape="single_active",
        reads=(AGENT_ENROLMENTS, AGENT_HEARTBEATS, OPERATOR_COMMANDS, REWARDS_EPOCHS),
        writes=(POOL_TERMS, REGISTRY_MEMBERS, REGISTRY_GATEWAYS, REGISTRY_GPUS, REGISTRY_CAPACITY),
        dead_letters=deadletters("registry"),
        decide=partial(decide, pool),
        store=RegistryStore(),
        fold=fold,
        recall=partial(recall, pool),
        conclude=conclude,
    )
