"""What treasury found out from the chain about what stands on its own topic: recorded inputs of the rules.

``at_ms``: when it looked, in Unix milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass

from millpond.events.treasury_settlements import Answer


@dataclass(frozen=True, slots=True)
class Float:
    """What is in the wallet, in wei, and what a unit of gas may cost. ``taken``: the slot was filled, by whomever."""

    balance: int
    fee_per_gas: int
    taken: bool
    at_ms: int


@dataclass(frozen=True, slots=True)
class Signed:
    """The transaction that was asked for. Nobody has seen it; the same question may be asked, and answered, again."""

    sender: str
    nonce: int
    transaction: str
    raw: str
    gas_limit: int
    fee_per_gas_max: int
    priority_fee_per_gas: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class NotNow:
    """Why the question has no answer yet: the node is away, fees are too high, the money is not there."""

    reason: str
    sentence: str
    at_ms: int
    # It would fail whenever it is asked: a withdrawal of more than there is.
    for_good: bool = False


@dataclass(frozen=True, slots=True)
class Sent:
    """What the node said to the bytes. ``reverted``: they are in a final block, and failed."""

    answer: Answer
    detail: str
    at_ms: int
    reverted: bool = False


Finding = Float | Signed | NotNow | Sent
