"""metering's state in a dict, under the keys that the rules name: what isn't named isn't loaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from millpond_metering.rules import Epoch, Job, State
from millpond_metering.rules.state import EPOCH_KEY, epoch_key, epoch_of

Kept = dict[str, Any]


class MemoryStore:
    schema = ""

    async def load(self, connection: Kept, keys: Sequence[str] | None) -> State:
        return loaded(connection, keys or ())

    async def save(self, connection: Kept, before: State, after: State) -> None:
        saved(connection, after)


def loaded(kept: Kept, keys: Sequence[str]) -> State:
    jobs: dict[str, Job] = {key: kept[key] for key in keys if key in kept and not key.startswith(EPOCH_KEY)}
    epochs: dict[int, Epoch] = {epoch_of(key): kept.get(key, Epoch()) for key in keys if key.startswith(EPOCH_KEY)}
    return State(jobs, epochs)


def saved(kept: Kept, state: State) -> None:
    kept.update(state.jobs)
    kept.update({epoch_key(epoch): known for epoch, known in state.epochs.items()})
