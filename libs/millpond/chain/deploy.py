"""Making contracts and sending single transactions, one after the other: for set-up, by hand or by a program.

Not for payouts: what treasury sends is stored and published before it leaves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from millpond.chain.abi import Artifact
from millpond.chain.account import Signer, Transfer
from millpond.chain.answers import Receipt
from millpond.chain.client import EvmClient
from millpond.errors import MillpondError

LOOK_EVERY_S: Final = 0.05
MINED_S_MAX: Final = 60.0


class TransactionFailed(MillpondError):
    """Transaction {transaction} of {sender} was mined and reverted."""


class NotMined(MillpondError):
    """Transaction {transaction} of {sender} is not in a block after {seconds:g} s. It may still come."""


async def send(
    client: EvmClient, signer: Signer, *, to: str | None, data: bytes = b"", value: int = 0, gas: int | None = None
) -> Receipt:
    """Returns once it is in a block. ``gas`` is estimated unless given. Raises ``ChainError``s and the two above."""
    (nonce,), head = await client.nonces(signer.address, ["latest"]), await client.header("latest")
    estimated = gas or await client.gas(sender=signer.address, to=to, data=data, value=value) * 5 // 4
    tip = await client.priority_fee()
    signed = signer.sign(
        Transfer(
            chain_id=client.chain_id,
            nonce=nonce,
            to=to,
            value=value,
            data=data,
            gas=estimated,
            max_fee_per_gas=2 * head.base_fee_per_gas + tip,
            max_priority_fee_per_gas=tip,
        )
    )
    await client.broadcast(signed.raw)
    receipt = await _mined(client, signed.hash, signer.address)
    if receipt.status != 1:
        raise TransactionFailed(transaction=signed.hash, sender=signer.address)
    return receipt


async def deploy(client: EvmClient, signer: Signer, artifact: Artifact, arguments: Sequence[Any] = ()) -> str:
    """The new contract's address."""
    receipt = await send(client, signer, to=None, data=artifact.bytecode + artifact.abi.constructor(*arguments))
    assert receipt.contract_address is not None
    return receipt.contract_address


async def _mined(client: EvmClient, transaction: str, sender: str) -> Receipt:
    try:
        async with asyncio.timeout(MINED_S_MAX):
            # The other side is a node, which sends no word.
            while (receipt := await client.receipt(transaction)) is None:  # noqa: ASYNC110
                await asyncio.sleep(LOOK_EVERY_S)
    except TimeoutError as cause:
        raise NotMined(transaction=transaction, sender=sender, seconds=MINED_S_MAX) from cause
    return receipt
