"""What was published against what the chain itself says: every ticket, withdrawal and payout, and the balances."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from millpond.chain.abi import Abi, Decoded
from millpond.chain.answers import BlockId, Receipt
from millpond.chain.client import EvmClient
from millpond.chain.livepeer import LIVEPEER, Ticket, random_hash
from millpond.chain.payouts import PAYOUTS
from millpond.chain.rpc import Rpc
from millpond.events.chain_revenue import FeesWithdrawn, TicketRedeemed
from millpond.events.chain_transfers import ETH, SlotFilled
from millpond.events.on_chain import Logged
from millpond.money import Asset
from millpond_cli.audit.difference import Difference, difference
from millpond_cli.audit.published import Said
from millpond_cli.audit.run import Audited

# One of the chain's logs: its transaction, and its index in the block.
LogId = tuple[str, int]
Facts = Mapping[str, object]


def compare_with_chain(url: str, audited: Audited) -> dict[str, Any]:
    """What was compared, for people. Raises ``Difference``, and ``ChainError``s where the node can't be believed."""

    async def compare() -> dict[str, Any]:
        async with Rpc(url) as rpc:
            pots = [pot.asset for closed in audited.closed for pot in closed.pots]
            return await _Comparison(EvmClient(rpc, Asset.parse(pots[0]).chain_id), audited).all()

    return asyncio.run(compare())


class _Comparison:
    def __init__(self, client: EvmClient, audited: Audited) -> None:
        self._client = client
        self._audited = audited

    async def all(self) -> dict[str, Any]:
        books, settled = self._audited.books, self._audited.settled
        tickets = list(books.tickets.values())
        income = await self._compare(tickets, LIVEPEER, ("WinningTicketTransfer", "WinningTicketRedeemed"))
        found = {**_tickets(income, {said.event.orchestrator for said in tickets})}
        _same(tickets, {_id(said.event): _ticket_facts(said.event) for said in tickets}, found)
        withdrawals = list(settled.withdrawals.values())
        drawn = await self._compare(withdrawals, LIVEPEER, ("WithdrawFees",))
        whose = {said.event.orchestrator for said in withdrawals}
        _same(
            withdrawals,
            {_id(said.event): _withdrawal_facts(said.event) for said in withdrawals},
            {_log_id(each): _drawn(each) for each in drawn if each.arguments["delegator"] in whose},
        )
        slots = list(settled.filled.values())
        fills = await self._compare(slots, PAYOUTS.abi, ("SlotFilled",))
        _same(
            slots,
            {_id(said.event): _slot_facts(said.event) for said in slots},
            {_log_id(each): _filled(each) for each in fills},
        )
        return {
            "tickets": len(tickets),
            "income": str(sum(said.event.amount for said in tickets)),
            "withdrawals": len(withdrawals),
            "slots": len(slots),
            **await self._claimable(drawn),
            **await self._treasury(slots, withdrawals),
        }

    async def _compare(self, said: Sequence[Said[Any]], abi: Abi, events: Iterable[str]) -> list[Decoded]:
        """All logs of these kinds, of the contracts that logged what was published, from the first of them to the last.

        The last block must be the one that was called final; and each transaction is there.
        """
        if not said:
            return []
        last = max((each.event for each in said), key=lambda event: event.block_number)
        first = min(each.event.block_number for each in said)
        addresses = {log.address for each in said for log in (await self._receipt(each)).logs if _is(log, abi, events)}
        topics = [abi.topics[event] for event in events]
        logs = await self._client.logs(first, BlockId(last.block_number, last.block_hash), addresses, topics)
        return [decoded for log in logs if (decoded := abi.decode(log)) is not None]

    async def _receipt(self, said: Said[Logged]) -> Receipt:
        event = said.event
        receipt = await self._client.receipt(event.transaction)
        found = "no such transaction" if receipt is None else f"block {receipt.block_number} {receipt.block_hash}"
        if receipt is None or receipt.block_hash != event.block_hash or receipt.status != 1:
            raise difference(
                f"The chain does not hold what {type(event).__name__} says is final.",
                published=f"{event.transaction} in block {event.block_number} {event.block_hash}",
                found=found,
                behind=[said.spot],
            )
        return receipt

    async def _claimable(self, drawn: Sequence[Decoded]) -> dict[str, Any]:
        """What Livepeer says that the orchestrator could claim at the last block that was reconciled."""
        said = self._audited.books.reconciled
        if said is None or not drawn:
            return {}
        event = said.event
        call = LIVEPEER.call("pendingFees", event.orchestrator, 0)
        answer = LIVEPEER.answer("pendingFees", await self._client.call(drawn[0].log.address, call, event.block_number))
        if answer != event.found:
            raise difference(
                f"Livepeer says something else about the pool's pending fees in block {event.block_number}.",
                published=event.found,
                found=answer,
                behind=[said.spot],
            )
        return {"pending_fees": str(answer)}

    async def _treasury(
        self, slots: Sequence[Said[SlotFilled]], withdrawals: Sequence[Said[FeesWithdrawn]]
    ) -> dict[str, Any]:
        """The treasury's wallet = float + withdrawn - paid - gas: what the float comes to, which can't be below nothing."""
        sent = list(self._audited.settled.transactions.values())
        if not sent:
            return {}
        wallet = sent[0].event.sender
        known: list[Said[Any]] = [*withdrawals, *slots, *sent]
        last = max(said.event.block_number for said in known)
        balance = await self._client.balance(wallet, last)
        filling = {said.event.transaction for said in slots}
        paid = sum(said.event.total - said.event.unpaid_total for said in slots if said.event.asset == ETH)
        gas = sum(said.event.gas_paid for said in sent)
        other = sum(said.event.value for said in sent if said.event.transaction not in filling)
        withdrawn = sum(said.event.amount for said in withdrawals if said.event.recipient == wallet)
        float_ = balance - withdrawn + paid + gas + other
        if float_ < 0:
            raise difference(
                "The treasury's wallet holds less than was withdrawn into it, minus what it paid and its gas.",
                published=f"withdrawn {withdrawn} - paid {paid} - gas {gas} - other {other}",
                found=f"balance {balance} in block {last}",
                behind=[said.spot for said in known],
            )
        return {"treasury": wallet, "balance": str(balance), "float": str(float_), "gas": str(gas)}


def _same(said: Sequence[Said[Any]], published: Mapping[LogId, Facts], found: Mapping[LogId, Facts]) -> None:
    """Raises ``Difference`` for the first log, in the order of the topic, that only one side has, or that says otherwise."""
    for each in said:
        log_id = _id(each.event)
        if found.get(log_id) != published[log_id]:
            raise _differs(each, published[log_id], found.get(log_id, {}))
    for log_id, facts in found.items():
        if log_id not in published:
            raise difference(
                "The chain holds something that was not published, between what was.",
                published="nothing",
                found=f"log {log_id[1]} of {log_id[0]}: {_told(facts)}",
                behind=[said[0].spot, said[-1].spot],
            )


def _differs(said: Said[Any], published: Facts, found: Facts) -> Difference:
    return difference(
        f"The chain says something else than {type(said.event).__name__} in block {said.event.block_number}.",
        published=_told(published),
        found=_told(found) or "no such log",
        behind=[said.spot],
    )


def _told(facts: Facts) -> str:
    return ", ".join(f"{name} {value}" for name, value in facts.items())


def _id(event: Logged) -> LogId:
    return event.transaction, event.log_index


def _log_id(decoded: Decoded) -> LogId:
    return decoded.log.transaction_hash, decoded.log.log_index


def _is(log: Any, abi: Abi, events: Iterable[str]) -> bool:
    decoded = abi.decode(log)
    return decoded is not None and decoded.event in events


def _tickets(logs: Iterable[Decoded], whose: set[str]) -> dict[LogId, Facts]:
    """A redeemed ticket paid what the transfer just before it, of the same sender and transaction, moved; or nothing."""
    found: dict[LogId, Facts] = {}
    before: Decoded | None = None
    for each in (log for log in logs if log.arguments["recipient"] in whose):
        if each.event == "WinningTicketRedeemed":
            said = each.arguments
            belongs = (
                before is not None
                and before.log.transaction_hash == each.log.transaction_hash
                and before.arguments["sender"] == said["sender"]
            )
            ticket = Ticket(
                recipient=said["recipient"],
                sender=said["sender"],
                face_value=said["faceValue"],
                winning_probability=said["winProb"],
                sender_nonce=said["senderNonce"],
                recipient_random_hash=random_hash(said["recipientRand"]),
                aux_data=bytes.fromhex(said["auxData"][2:]),
            )
            found[_log_id(each)] = {
                "ticket": "0x" + ticket.hash().hex(),
                "amount": before.arguments["amount"] if before is not None and belongs else 0,
                "sender": said["sender"],
            }
        before = each if each.event == "WinningTicketTransfer" else None
    return found


def _ticket_facts(event: TicketRedeemed) -> Facts:
    return {"ticket": event.ticket, "amount": event.amount, "sender": event.sender}


def _withdrawal_facts(event: FeesWithdrawn) -> Facts:
    return {"recipient": event.recipient, "amount": event.amount}


def _drawn(decoded: Decoded) -> Facts:
    return {"recipient": decoded.arguments["recipient"], "amount": decoded.arguments["amount"]}


def _slot_facts(event: SlotFilled) -> Facts:
    return {
        "contract": event.contract,
        "slot": event.slot,
        "digest": event.digest,
        "root": event.epoch_root,
        "total": event.total,
        "unpaid": event.unpaid_total,
    }


def _filled(decoded: Decoded) -> Facts:
    said = decoded.arguments
    return {
        "contract": decoded.log.address,
        "slot": said["slot"],
        "digest": said["digest"],
        "root": said["epochRoot"],
        "total": said["total"],
        "unpaid": said["unpaidTotal"],
    }
