"""What the rules know of the jobs and epochs that a transaction is about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from millpond_metering.rules.parts import Job
from millpond_metering.rules.watermarks import Epoch


@dataclass(frozen=True, slots=True)
class State:
    """A job or an epoch that isn't there has not been heard of."""

    jobs: Mapping[str, Job] = field(default_factory=dict)
    epochs: Mapping[int, Epoch] = field(default_factory=dict)

    def with_job(self, job: str, known: Job) -> State:
        return State({**self.jobs, job: known}, self.epochs)

    def with_epoch(self, epoch: int, known: Epoch) -> State:
        return State(self.jobs, {**self.epochs, epoch: known})


NOTHING: Final = State()
EPOCH_KEY: Final = "epoch/"


def epoch_key(epoch: int) -> str:
    """Under which an epoch is kept, and the name of the timer that looks at it again. No job is called so."""
    return f"{EPOCH_KEY}{epoch}"


def epoch_of(key: str) -> int:
    return int(key.removeprefix(EPOCH_KEY))
