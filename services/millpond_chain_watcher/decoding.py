"""From logs to what they mean for the pool. What isn't the pool's, or comes from another contract, is passed over."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from millpond.chain.abi import Decoded
from millpond.chain.answers import Header, Log, Receipt, Transaction
from millpond.chain.livepeer import LIVEPEER, TARGETS, Ticket, contract_id, random_hash
from millpond.chain.payouts import PAYOUTS
from millpond.errors import MillpondError
from millpond.events.chain_revenue import CutsChanged, FeesWithdrawn, RewardMinted, RoundStarted, TicketRedeemed
from millpond.events.chain_transfers import PayeeUnpaid, SlotFilled, TreasuryTransaction
from millpond.events.on_chain import InTransaction
from millpond.events.topics import CHAIN_REVENUE, CHAIN_TRANSFERS
from millpond_chain_watcher.rules import Contract, ContractNamed, Contracts, Sighting

# Whose events they are.
EMITTERS: Final[Mapping[str, Contract]] = {
    "WinningTicketTransfer": "TicketBroker",
    "WinningTicketRedeemed": "TicketBroker",
    "Reward": "BondingManager",
    "TranscoderUpdate": "BondingManager",
    "WithdrawFees": "BondingManager",
    "NewRound": "RoundsManager",
}
NAMED: Final[Mapping[str, Contract]] = {contract_id(name): name for name in EMITTERS.values()}
UPGRADED: Final = {contract_id(name): name for name in TARGETS}


class ContractUpgraded(MillpondError):
    """The Controller named {address} as {name} in block {block_number}: Livepeer's events may have another form from there on.
    Nothing is read beyond. Compare the new contract's ABI with libs/millpond/chain/livepeer.json, then add the address to
    MILLPOND_CHAIN_TARGETS."""


class TransferWithoutTicket(MillpondError):
    """Transaction {transaction} moved {amount} wei for {sender}'s ticket, and no redeemed ticket follows. The ticket broker may
    have been upgraded: nothing is read beyond until its ABI is known."""


@dataclass(frozen=True)
class Watched:
    """Whose income, whose transactions, which payout contract. Addresses with checksum."""

    chain_id: int
    controller: str
    orchestrator: str
    treasury: str
    payouts: str


def changes(logs: Iterable[Log], targets: Sequence[str]) -> tuple[ContractNamed, ...]:
    """What the Controller changed. Raises ``ContractUpgraded`` for new code behind a proxy that isn't in ``targets``."""
    named = []
    for log in logs:
        decoded = LIVEPEER.decode(log)
        assert decoded is not None
        identity, address = decoded.arguments["id"], decoded.arguments["contractAddress"]
        if identity in UPGRADED and address not in targets:
            raise ContractUpgraded(address=address, name=UPGRADED[identity], block_number=log.block_number)
        if identity in NAMED:
            named.append(ContractNamed(log.block_number, log.log_index, NAMED[identity], address))
    return tuple(named)


class Decoder:
    """Makes sightings of one range's logs. ``times``: by block number."""

    def __init__(self, watched: Watched, times: Mapping[int, datetime]) -> None:
        self._watched = watched
        self._times = times

    def revenue(self, logs: Iterable[Log], contracts: Contracts) -> list[Sighting]:
        """``logs`` in the order of the chain. An event counts if the Controller named its contract when it was logged."""
        told: list[Decoded] = []
        for log in logs:
            decoded = LIVEPEER.decode(log)
            emitter = decoded and contracts.at(EMITTERS[decoded.event], log.block_number, log.log_index)
            if decoded is not None and log.address == emitter and self._is_ours(decoded):
                told.append(decoded)
        events = [*self._tickets(told), *(event for each in told if (event := self._other(each)) is not None)]
        return [Sighting(CHAIN_REVENUE.name, self._watched.orchestrator, event) for event in events]

    def slots(self, logs: Iterable[Log]) -> list[Sighting]:
        """What the payout contract did."""
        decoded = [each for log in logs if (each := PAYOUTS.abi.decode(log)) is not None]
        return [
            Sighting(CHAIN_TRANSFERS.name, str(each.arguments["slot"]), SLOTS[each.event](self._about(each.log), each))
            for each in decoded
            if each.event in SLOTS
        ]

    def transaction(self, transaction: Transaction, receipt: Receipt) -> Sighting:
        """A transaction of treasury's key."""
        succeeded = receipt.status == 1
        event = TreasuryTransaction(
            chain_id=self._watched.chain_id,
            block_number=receipt.block_number,
            block_hash=receipt.block_hash,
            block_time=self._times[receipt.block_number],
            transaction=transaction.hash,
            finality="observed",
            sender=transaction.sender,
            nonce=transaction.nonce,
            to=transaction.to,
            succeeded=succeeded,
            gas_used=receipt.gas_used,
            gas_paid=receipt.gas_used * receipt.effective_gas_price,
            value=transaction.value if succeeded else 0,
        )
        return Sighting(CHAIN_TRANSFERS.name, transaction.hash, event)

    def _is_ours(self, decoded: Decoded) -> bool:
        whose = {
            "NewRound": None,
            "Reward": "transcoder",
            "TranscoderUpdate": "transcoder",
            "WithdrawFees": "delegator",
        }
        field = whose.get(decoded.event, "recipient")
        return field is None or decoded.arguments[field] == self._watched.orchestrator

    def _tickets(self, told: Iterable[Decoded]) -> Iterable[InTransaction]:
        """A redeemed ticket paid what the transfer just before it moved: less than its face value maybe, or nothing at all."""
        transfer: Decoded | None = None
        for each in told:
            if transfer is not None and not _belongs(transfer, each):
                raise self._lonely(transfer)
            if each.event == "WinningTicketTransfer":
                transfer = each
            elif each.event == "WinningTicketRedeemed":
                yield self._ticket(each, 0 if transfer is None else transfer.arguments["amount"])
                transfer = None
        if transfer is not None:
            raise self._lonely(transfer)

    def _lonely(self, transfer: Decoded) -> TransferWithoutTicket:
        facts = {name: transfer.arguments[name] for name in ("sender", "amount")}
        return TransferWithoutTicket(transaction=transfer.log.transaction_hash, **facts)

    def _ticket(self, redeemed: Decoded, amount: int) -> TicketRedeemed:
        said = redeemed.arguments
        ticket = Ticket(
            recipient=said["recipient"],
            sender=said["sender"],
            face_value=said["faceValue"],
            winning_probability=said["winProb"],
            sender_nonce=said["senderNonce"],
            recipient_random_hash=random_hash(said["recipientRand"]),
            aux_data=bytes.fromhex(said["auxData"][2:]),
        )
        return TicketRedeemed(
            **self._about(redeemed.log),
            orchestrator=said["recipient"],
            sender=said["sender"],
            face_value=said["faceValue"],
            amount=amount,
            ticket="0x" + ticket.hash().hex(),
        )

    def _other(self, decoded: Decoded) -> InTransaction | None:
        about, said = self._about(decoded.log), decoded.arguments
        match decoded.event:
            case "Reward":
                return RewardMinted(**about, orchestrator=said["transcoder"], amount=said["amount"])
            case "TranscoderUpdate":
                cuts = {"reward_cut": said["rewardCut"], "fee_share": said["feeShare"]}
                return CutsChanged(**about, orchestrator=said["transcoder"], **cuts)
            case "WithdrawFees":
                to = {"recipient": said["recipient"], "amount": said["amount"]}
                return FeesWithdrawn(**about, orchestrator=said["delegator"], **to)
            case "NewRound":
                return RoundStarted(**about, round=said["round"])
            case _:
                return None

    def _about(self, log: Log) -> dict[str, Any]:
        return {
            "chain_id": self._watched.chain_id,
            "block_number": log.block_number,
            "block_hash": log.block_hash,
            "block_time": self._times[log.block_number],
            "transaction": log.transaction_hash,
            "finality": "observed",
            "log_index": log.log_index,
        }


def _belongs(transfer: Decoded, redeemed: Decoded) -> bool:
    same_transaction = transfer.log.transaction_hash == redeemed.log.transaction_hash
    same_sender = transfer.arguments["sender"] == redeemed.arguments.get("sender")
    return redeemed.event == "WinningTicketRedeemed" and same_transaction and same_sender


def _filled(about: dict[str, Any], decoded: Decoded) -> InTransaction:
    said = decoded.arguments
    return SlotFilled(
        **about,
        contract=decoded.log.address,
        slot=said["slot"],
        digest=said["digest"],
        epoch_root=said["epochRoot"],
        asset=said["asset"],
        total=said["total"],
        payees=said["payees"],
        unpaid_total=said["unpaidTotal"],
    )


def _unpaid(about: dict[str, Any], decoded: Decoded) -> InTransaction:
    said = decoded.arguments
    return PayeeUnpaid(
        **about,
        contract=decoded.log.address,
        slot=said["slot"],
        index=said["index"],
        recipient=said["recipient"],
        amount=said["amount"],
    )


SLOTS: Final[Mapping[str, Callable[[dict[str, Any], Decoded], InTransaction]]] = {
    "SlotFilled": _filled,
    "PayeeUnpaid": _unpaid,
}


def times(headers: Iterable[Header]) -> dict[int, datetime]:
    return {header.number: header.time for header in headers}
