"""The hands of treasury: it asks the chain, signs and sends what it reads on treasury's own topic. The keys stay in here.

Retries are the rules': each look is one, and what it came to is a finding.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple

from millpond.chain.account import SignedTransaction, Signer, Transfer
from millpond.chain.client import EvmClient
from millpond.chain.errors import ChainError, Refused, Reverted
from millpond.chain.livepeer import LIVEPEER, contract_id
from millpond.chain.payouts import PAYOUTS, Batch, Order
from millpond.chain.rpc import Rpc
from millpond.events.chain_transfers import ETH
from millpond.events.ids import Sentence
from millpond.events.treasury_settlements import (
    FeesWithdrawalAsked,
    FeesWithdrawalSigned,
    FloatAsked,
    SlotSigned,
    SlotSigningAsked,
)
from millpond.stream import Received
from millpond_treasury.rules.findings import Finding, Float, NotNow, Sent, Signed

# A node behind the proxy of a provider that doesn't answer in this time is asked again later.
ANSWER_S: Final = 10.0
DETAIL_CHARACTERS_MAX: Final = 500


class Fees(NamedTuple):
    """Wei per gas."""

    highest: int
    priority: int


class Obstacle(NamedTuple):
    """Why there is nothing to plan or to sign now; ``for_good``: nor ever."""

    reason: str
    sentence: str
    for_good: bool = False


class _NotNow(Exception):
    def __init__(self, why: Obstacle) -> None:
        self.why = why


@dataclass(frozen=True)
class Wallet:
    """``payer`` fills the slots; ``orchestrator`` withdraws its fees (None: its key is elsewhere)."""

    rpc_url: str
    chain_id: int
    payer: Signer
    orchestrator: Signer | None
    contract: str
    controller: str
    fee_per_gas_max: int
    now_ms: Callable[[], int]

    async def observe(self, received: Received) -> Finding | None:
        event = received.event
        match event:
            case FloatAsked() | SlotSigningAsked() | FeesWithdrawalAsked():
                return await self._found(event)
            case SlotSigned() | FeesWithdrawalSigned():
                return await self._sent(event)
            case _:
                return None

    async def _found(self, event: FloatAsked | SlotSigningAsked | FeesWithdrawalAsked) -> Finding:
        try:
            async with self._client() as client:
                match event:
                    case FloatAsked():
                        return await self._float(client, event)
                    case SlotSigningAsked():
                        return await self._sign_slot(client, event)
                    case FeesWithdrawalAsked():
                        return await self._sign_withdrawal(client, event)
        except ChainError as trouble:
            return self._not_now(Obstacle("chain-away", _short(trouble)))
        except _NotNow as trouble:
            return self._not_now(trouble.why)

    async def _float(self, client: EvmClient, event: FloatAsked) -> Float:
        fees = await self._fees(client, above=Fees(0, 0))
        taken = await self._taken(client, event.slot)
        return Float(await client.balance(self.payer.address, "latest"), fees.highest, taken, self.now_ms())

    async def _sign_slot(self, client: EvmClient, event: SlotSigningAsked) -> Signed:
        orders = tuple(Order(order.recipient, order.amount) for order in event.orders)
        batch = Batch(self.chain_id, self.contract, event.slot, event.epoch_root, ETH, orders)
        assert (event.contract, event.digest) == (self.contract, batch.digest()), "planned for this contract"
        if await self._taken(client, event.slot):
            raise _NotNow(Obstacle("slot-filled", "The slot is filled already; what filled it is not final yet."))
        return await self._sign(client, self.payer, event, self.contract, batch.call(), batch.total, event.reverts)

    async def _sign_withdrawal(self, client: EvmClient, event: FeesWithdrawalAsked) -> Signed:
        assert self.orchestrator is not None, "the rules refuse it without the key"
        assert self.orchestrator.address == event.orchestrator, "nobody else's fees"
        identity = bytes.fromhex(contract_id("BondingManager")[2:])
        answer = await client.call(self.controller, LIVEPEER.call("getContract", identity), "latest")
        bonding = LIVEPEER.answer("getContract", answer)
        data = LIVEPEER.call("withdrawFees", event.recipient, event.amount)
        return await self._sign(client, self.orchestrator, event, bonding, data, 0, 0)

    async def _sign(
        self,
        client: EvmClient,
        signer: Signer,
        event: SlotSigningAsked | FeesWithdrawalAsked,
        to: str,
        data: bytes,
        value: int,
        reverts: int,
    ) -> Signed:
        fees = await self._fees(client, above=Fees(event.fee_per_gas_above, event.priority_fee_above))
        nonce = await self._nonce(client, signer, event)
        gas = await self._gas(client, signer, to, data, value) * (5 + reverts) // 4
        if (missing := value + gas * fees.highest - await client.balance(signer.address, "latest")) > 0:
            raise _NotNow(_short_of(signer, missing))
        signed: SignedTransaction = signer.sign(
            Transfer(
                chain_id=self.chain_id,
                nonce=nonce,
                to=to,
                value=value,
                data=data,
                gas=gas,
                max_fee_per_gas=fees.highest,
                max_priority_fee_per_gas=fees.priority,
            )
        )
        raw = "0x" + signed.raw.hex()
        return Signed(signer.address, nonce, signed.hash, raw, gas, fees.highest, fees.priority, self.now_ms())

    async def _gas(self, client: EvmClient, signer: Signer, to: str, data: bytes, value: int) -> int:
        if (missing := value - await client.balance(signer.address, "latest")) > 0:
            raise _NotNow(_short_of(signer, missing))
        try:
            return await client.gas(sender=signer.address, to=to, data=data, value=value)
        except Reverted as refusal:
            raise _NotNow(Obstacle("would-revert", _short(refusal), for_good=True)) from refusal

    async def _nonce(self, client: EvmClient, signer: Signer, event: SlotSigningAsked | FeesWithdrawalAsked) -> int:
        """The one of the versions before, or the account's next: nothing of it is on its way."""
        (following,) = await client.nonces(signer.address, ["latest"])
        if following < event.nonce_min:
            raise _NotNow(
                Obstacle("chain-behind", f"The node knows of {following} transactions, not {event.nonce_min}.")
            )
        if event.nonce is None:
            return following
        if following > event.nonce:
            raise _NotNow(Obstacle("nonce-used", "A transaction with this nonce is in a block that is not final yet."))
        return event.nonce

    async def _fees(self, client: EvmClient, *, above: Fees) -> Fees:
        """Twice the base fee, so that it may rise; at least an eighth above those that are to be replaced."""
        # The header's answer is believed only of a node of our chain.
        header, priority = await client.header("latest"), await client.priority_fee()
        priority = max(priority, above.priority * 9 // 8 + 1 if above.highest else 0)
        least = max(header.base_fee_per_gas + priority, above.highest * 9 // 8 + 1 if above.highest else 0)
        if least > self.fee_per_gas_max:
            sentence = f"A unit of gas costs {least} wei, and {self.fee_per_gas_max} are allowed."
            raise _NotNow(Obstacle("fee-above-cap", sentence))
        return Fees(min(max(2 * header.base_fee_per_gas + priority, least), self.fee_per_gas_max), priority)

    async def _taken(self, client: EvmClient, slot: int) -> bool:
        return any(await client.call(self.contract, PAYOUTS.abi.call("filled", slot), "latest"))

    async def _sent(self, event: SlotSigned | FeesWithdrawalSigned) -> Sent:
        """Whatever the node says, the bytes may be out: an error is looked into by hash and by nonce (incident 4)."""
        async with self._client() as client:
            try:
                await client.broadcast(bytes.fromhex(event.raw[2:]))
            except ChainError as trouble:
                return await self._looked_up(client, event, trouble)
        return Sent("accepted", "", self.now_ms())

    async def _looked_up(
        self, client: EvmClient, event: SlotSigned | FeesWithdrawalSigned, trouble: ChainError
    ) -> Sent:
        detail = _short(trouble)
        try:
            receipt = await client.receipt(event.transaction)
            (following,) = await client.nonces(event.sender, ["latest"])
            final = await client.header("finalized")
        except ChainError:
            return Sent("unknown", detail, self.now_ms())
        if receipt is not None:
            reverted = receipt.status != 1 and receipt.block_number <= final.number
            return Sent("known", f"It is in block {receipt.block_number}.", self.now_ms(), reverted)
        if following > event.nonce:
            return Sent("known", "Its nonce is used.", self.now_ms())
        return Sent("refused" if isinstance(trouble, Refused) else "unknown", detail, self.now_ms())

    def _not_now(self, why: Obstacle) -> NotNow:
        return NotNow(why.reason, why.sentence, self.now_ms(), why.for_good)

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[EvmClient]:
        async with Rpc(self.rpc_url, answer_s=ANSWER_S) as rpc:
            yield EvmClient(rpc, self.chain_id)


def _short_of(signer: Signer, missing: int) -> Obstacle:
    return Obstacle(
        "insufficient-float", f"The wallet {signer.address} lacks {missing} wei for the payment and its gas."
    )


def _short(trouble: ChainError) -> Sentence:
    return str(trouble)[:DETAIL_CHARACTERS_MAX]
