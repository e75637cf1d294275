"""Epochs that were closed once give the same bytes for ever, whatever the rules have become since."""

from __future__ import annotations

from itertools import groupby

import pytest

from millpond.events.rewards_statements import StatementIssued
from millpond_rewards.rules import Opening, after_closing
from rewards.recorded_epochs import RecordedEpoch, recompute, recorded_epochs


def openings() -> list[tuple[RecordedEpoch, Opening]]:
    """Each epoch with what the one before handed to it, from what that one published."""
    found = []
    for _, epochs in groupby(recorded_epochs(), key=lambda epoch: epoch.name):
        opening = Opening()
        for epoch in epochs:
            found.append((epoch, opening))
            statements = [StatementIssued.model_validate_json(value) for value in epoch.published[1:]]
            opening = after_closing(opening, epoch.closed, statements)
    return found


@pytest.mark.parametrize(("epoch", "opening"), openings(), ids=str)
def test_a_closed_epoch_still_pays_the_same(epoch: RecordedEpoch, opening: Opening) -> None:
    closed = recompute(epoch, opening)
    assert (closed.epoch.to_bytes(), *(each.to_bytes() for each in closed.statements)) == epoch.published


def test_every_policy_of_the_terms_has_recorded_epochs() -> None:
    from millpond_rewards.rules import SPLITS

    assert {epoch.closed.rules for epoch in recorded_epochs()} == set(SPLITS)
