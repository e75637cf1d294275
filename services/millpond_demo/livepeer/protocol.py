"""Livepeer on a local chain: contracts with its events and its way to hold value, and the hands that move them.

Only the demo and tests deploy these. The product knows Livepeer's own, through the Controller's address.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from eth_account import Account
from eth_account.messages import encode_defunct

from millpond.chain.abi import Artifact
from millpond.chain.account import Signer
from millpond.chain.answers import Receipt
from millpond.chain.client import EvmClient
from millpond.chain.deploy import deploy, send
from millpond.chain.livepeer import Ticket, contract_id, random_hash

POOL_SIZE: Final = 10
REWARD_PER_ROUND: Final = 10**18
# Every ticket wins: how tickets are drawn is go-livepeer's business.
ALWAYS: Final = 2**256 - 1
# More than a ticket's redemption needs.
REDEMPTION_GAS: Final = 300_000


def artifact(contract: str) -> Artifact:
    return Artifact.read("millpond_demo.livepeer.contracts", contract)


@dataclass(frozen=True)
class Livepeer:
    """The addresses of one deployment. Each method is a transaction of the signer it names."""

    client: EvmClient
    controller: str
    broker: str
    bonding: str
    rounds: str
    minter: str
    token: str

    async def start_round(self, signer: Signer) -> Receipt:
        return await self._send(signer, "RoundsManager", self.rounds, "initializeRound")

    async def register(self, orchestrator: Signer, *, reward_cut: int = 0, fee_share: int = 0) -> Receipt:
        return await self._send(orchestrator, "BondingManager", self.bonding, "transcoder", reward_cut, fee_share)

    async def reward(self, orchestrator: Signer) -> Receipt:
        return await self._send(orchestrator, "BondingManager", self.bonding, "reward")

    async def withdraw_fees(self, orchestrator: Signer, recipient: str, amount: int) -> Receipt:
        return await self._send(orchestrator, "BondingManager", self.bonding, "withdrawFees", recipient, amount)

    async def fund(self, gateway: Signer, *, deposit: int, reserve: int = 0) -> Receipt:
        arguments = deposit, reserve
        return await self._send(
            gateway, "TicketBroker", self.broker, "fundDepositAndReserve", *arguments, value=deposit + reserve
        )

    async def ticket(self, sender: str, recipient: str, *, face_value: int, sender_nonce: int) -> Ticket:
        """A ticket of the present round, whose recipient's random number is its sender's nonce."""
        rounds = artifact("RoundsManager").abi
        number = rounds.answer(
            "currentRound", await self.client.call(self.rounds, rounds.call("currentRound"), "latest")
        )
        block_hash = rounds.answer(
            "blockHashForRound",
            await self.client.call(self.rounds, rounds.call("blockHashForRound", number), "latest"),
        )
        aux_data = number.to_bytes(32, "big") + bytes.fromhex(block_hash[2:])
        return Ticket(recipient, sender, face_value, ALWAYS, sender_nonce, random_hash(sender_nonce), aux_data)

    async def redeem(self, redeemer: Signer, gateway_key: bytes, *tickets: Ticket) -> Receipt:
        """All in one transaction: by itself if there is one, else as a batch, which passes over those that fail."""
        calls = [redemption(ticket, gateway_key) for ticket in tickets]
        if len(calls) == 1:
            return await self._send(redeemer, "TicketBroker", self.broker, "redeemWinningTicket", *calls[0])
        columns = tuple(list(column) for column in zip(*calls, strict=True))
        # Not estimated: with too little gas the batch passes over the last ones, and looks as if it had done its work.
        gas = REDEMPTION_GAS * (len(calls) + 1)
        return await self._send(redeemer, "TicketBroker", self.broker, "batchRedeemWinningTickets", *columns, gas=gas)

    async def move_broker(self, owner: Signer, *, must_be_covered: bool = True) -> Livepeer:
        """A new ticket broker takes the old one's place at the Controller."""
        broker = await _broker(self.client, owner, self.controller, must_be_covered=must_be_covered)
        await _register(self.client, owner, self.controller, TicketBroker=broker)
        return replace(self, broker=broker)

    async def _send(
        self,
        signer: Signer,
        contract: str,
        to: str,
        function: str,
        *arguments: Any,
        value: int = 0,
        gas: int | None = None,
    ) -> Receipt:
        data = artifact(contract).abi.call(function, *arguments)
        return await send(self.client, signer, to=to, data=data, value=value, gas=gas)


def redemption(ticket: Ticket, gateway_key: bytes) -> tuple[tuple[Any, ...], bytes, int]:
    """The arguments with which anybody redeems a ticket."""
    signature = Account.sign_message(encode_defunct(ticket.hash()), gateway_key).signature
    fields = (
        ticket.recipient,
        ticket.sender,
        ticket.face_value,
        ticket.winning_probability,
        ticket.sender_nonce,
        ticket.recipient_random_hash,
        ticket.aux_data,
    )
    return fields, bytes(signature), ticket.sender_nonce


async def deploy_livepeer(client: EvmClient, owner: Signer, *, must_be_covered: bool = True) -> Livepeer:
    """All contracts, known to the Controller, in round 1."""
    controller = await deploy(client, owner, artifact("Controller"))
    token = await deploy(client, owner, artifact("LivepeerToken"))
    minter = await deploy(client, owner, artifact("Minter"), [controller, token])
    rounds = await deploy(client, owner, artifact("RoundsManager"), [controller])
    bonding = await deploy(client, owner, artifact("BondingManager"), [controller, REWARD_PER_ROUND])
    broker = await _broker(client, owner, controller, must_be_covered=must_be_covered)
    await send(client, owner, to=token, data=artifact("LivepeerToken").abi.call("setMinter", minter))
    await _register(
        client,
        owner,
        controller,
        Minter=minter,
        RoundsManager=rounds,
        BondingManager=bonding,
        TicketBroker=broker,
        LivepeerToken=token,
    )
    livepeer = Livepeer(client, controller, broker, bonding, rounds, minter, token)
    await livepeer.start_round(owner)
    return livepeer


async def deploy_usdc(client: EvmClient, owner: Signer) -> str:
    """A token that behaves and costs as USDC does, behind its proxy; ``owner`` mints."""
    proxy = await deploy(client, owner, artifact("UsdcProxy"), [await deploy(client, owner, artifact("Usdc"))])
    await send(client, owner, to=proxy, data=artifact("Usdc").abi.call("initialize"))
    return proxy


async def _broker(client: EvmClient, owner: Signer, controller: str, *, must_be_covered: bool) -> str:
    return await deploy(client, owner, artifact("TicketBroker"), [controller, POOL_SIZE, must_be_covered])


async def _register(client: EvmClient, owner: Signer, controller: str, **contracts: str) -> None:
    for name, address in contracts.items():
        identity = bytes.fromhex(contract_id(name)[2:])
        call = artifact("Controller").abi.call("setContractInfo", identity, address, b"\0" * 20)
        await send(client, owner, to=controller, data=call)
