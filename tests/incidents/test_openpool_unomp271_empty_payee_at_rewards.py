"""Incident 9, `openpool-unomp271-empty-payee`, at rewards: nobody's work is nobody's pay.

openpool-manager kept which worker a job belongs to in memory: after a restart it credited the empty address, and paid the
zero address; UNOMP paid "n/a". Whoever can't be paid has no statement and no order; what his work is worth is carried.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from millpond.events.metering_usage import UsageRecorded
from millpond.events.rewards_payouts import PayoutOrdered
from millpond.events.rewards_statements import StatementIssued
from millpond_rewards.rules.statements import is_payee
from rewards.story import ANN, BEN, Story, commission, line, terms, ticket

ZERO = "0x" + "00" * 20
WRONG_CHECKSUM = BEN.swapcase().replace("0X", "0x")
NO_PAYEES = ("", "n/a", "0x0", ZERO, WRONG_CHECKSUM)

# Who is paid what of 1,000 wei, by whose work: ten units of ANN's, and ten of nobody's.
Pays = Callable[[str], Mapping[str, int]]


def openpool(nobody: str) -> Mapping[str, int]:
    """What the source did: whatever stands where an address should is credited."""
    return {ANN: 500, nobody: 500}


def millpond(nobody: str) -> Mapping[str, int]:
    story = Story().tell(terms(split=commission(0)), line(ANN, 10, number=1))
    work = line(BEN, 10, number=2)
    # As it would stand on the topic if metering's own checks had failed: the model lets only addresses pass.
    forged = UsageRecorded.model_construct(**{**work.__dict__, "contributor": nobody})
    if nobody in (ZERO, WRONG_CHECKSUM):
        story.tell(forged)
    else:
        with pytest.raises(ValueError, match="contributor"):
            UsageRecorded.model_validate_json(forged.to_bytes())
    pot = story.tell(ticket(1_000, number=1)).close().pots[0]
    story.wait(60)
    paid = {order.recipient: order.amount for order in story.all(PayoutOrdered)}
    assert {each.contributor for each in story.all(StatementIssued)} == paid.keys()
    assert pot.contributors + pot.carried_out == 1_000
    return paid


def check(pays: Pays) -> None:
    for nobody in NO_PAYEES:
        paid = pays(nobody)
        assert all(is_payee(recipient) for recipient in paid), paid


def test_openpool_unomp271_empty_payee() -> None:
    check(millpond)


def test_the_double_pays_nobody() -> None:
    with pytest.raises(AssertionError):
        check(openpool)


def test_what_cannot_be_attributed_is_carried_and_not_the_others() -> None:
    assert millpond(ZERO) == {ANN: 500}
