"""``chain.revenue.v1``: what the chain paid the orchestrator. Key: the orchestrator (checksum address).

ETH is in wei, LPT in 10^-18. Income is the sum of ``TicketRedeemed.amount`` that is final, and nothing else.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from millpond.events.fields import Address, Amount, Hash32
from millpond.events.ids import Sentence
from millpond.events.on_chain import AtBlock, Count, Logged

PartsPerMillion = Annotated[int, Field(strict=True, ge=0, le=1_000_000)]


class TicketRedeemed(Logged):
    """A winning ticket was used up. ``amount`` is what it moved to the orchestrator's claim: at most ``face_value``, maybe 0.

    ``ticket`` is the ticket's hash, which the broker takes once; ``log_index`` is that of WinningTicketRedeemed.
    """

    orchestrator: Address
    sender: Address
    face_value: Amount
    amount: Amount
    ticket: Hash32


class RewardMinted(Logged):
    """LPT of a round: net of the protocol's treasury, gross of delegators."""

    orchestrator: Address
    amount: Amount


class CutsChanged(Logged):
    """``reward_cut``: part of LPT rewards that the orchestrator keeps. ``fee_share``: part of fees that goes to delegators."""

    orchestrator: Address
    reward_cut: PartsPerMillion
    fee_share: PartsPerMillion


class RoundStarted(Logged):
    """A round of Livepeer's."""

    round: Count


class FeesWithdrawn(Logged):
    """ETH left the orchestrator's claim for ``recipient``'s wallet."""

    orchestrator: Address
    recipient: Address
    amount: Amount


class ClaimableSnapshot(AtBlock):
    """What Livepeer says the orchestrator can claim, at a final block: fees in wei, stake in 10^-18 LPT."""

    orchestrator: Address
    pending_fees: Amount
    pending_stake: Amount


class _Reconciliation(AtBlock):
    # At a final block. ``expected``: what was claimable when watching began, plus final income, minus final withdrawals.
    # ``found``: the pending fees that Livepeer says.
    orchestrator: Address
    expected: Amount
    found: Amount


class IncomeReconciled(_Reconciliation):
    """Everything that came or went is known, to the wei: ``expected`` = ``found``. Lifts an earlier IncomeUnexplained."""


class IncomeUnexplained(_Reconciliation):
    """Something came or went that no event tells of. No epoch is closed and nothing is paid until it is reconciled."""

    sentence: Sentence
