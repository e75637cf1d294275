"""``chain.transfers.v1``: what became of the pool's payments. Key: the slot in decimal digits; of a transaction, its hash.

Treasury's wallet moves by final events alone: for each slot ``unpaid_total - total`` of its asset (what could not be paid comes
back in the same transaction), for each transaction ``-gas_paid``, and ``-value`` if it is none that filled a slot.
"""

from __future__ import annotations

from typing import Final

from millpond.events.fields import Address, Amount, Hash32
from millpond.events.on_chain import Count, InTransaction, Logged

# Stands where a token's contract would: the chain's own coin.
ETH: Final = "0x0000000000000000000000000000000000000000"


class SlotFilled(Logged):
    """A slot of the payout contract was filled, which happens once. ``asset`` is the token's contract, or ``ETH``.

    ``digest`` is over the batch's orders (``millpond.chain``), ``total`` the sum of their amounts, ``payees`` their
    count; ``unpaid_total`` of it stayed with the payer: one PayeeUnpaid each, in the same transaction.
    """

    contract: Address
    slot: Count
    digest: Hash32
    epoch_root: Hash32
    asset: Address
    total: Amount
    payees: Count
    unpaid_total: Amount


class PayeeUnpaid(Logged):
    """A recipient could not take its payment: it reverted, used up its gas, or the token refuses it.

    ``index`` counts the batch's orders from 0.
    """

    contract: Address
    slot: Count
    index: Count
    recipient: Address
    amount: Amount


class TreasuryTransaction(InTransaction):
    """A transaction of treasury's key, whoever signed it there: a gap between these and treasury's own tells of a foreign one.

    ``to`` is None where a contract was made. ``gas_paid`` and ``value`` in wei; of one that failed, no value moved.
    """

    sender: Address
    nonce: Count
    to: Address | None
    succeeded: bool
    gas_used: Count
    gas_paid: Amount
    value: Amount
