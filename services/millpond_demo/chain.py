"""The demo's chain: Livepeer's contracts on an anvil that makes a block every second, and who has what there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from eth_account import Account

from millpond.chain.account import Signer
from millpond.chain.client import EvmClient
from millpond.chain.deploy import deploy, send
from millpond.chain.payouts import PAYOUTS
from millpond.chain.rpc import Rpc
from millpond.localstack.anvil import CHAIN_ID
from millpond_demo.keys import Wallet, make_wallet
from millpond_demo.livepeer.protocol import Livepeer, deploy_livepeer

ETHER: Final = 10**18
BLOCK_S: Final = 1
# Gas money, and nothing else: what is paid out must have come from the chain.
FLOAT_WEI: Final = ETHER // 10
# Five winning tickets.
TICKETS: Final = 5
FACE_VALUE_WEI: Final = ETHER // 10
# anvil's own accounts, whose keys everybody knows: derived from the words that all such chains begin with.
WORDS: Final = "test test test test test test test test test test test junk"

Account.enable_unaudited_hdwallet_features()


def _known(number: int) -> bytes:
    return bytes(Account.from_mnemonic(WORDS, account_path=f"m/44'/60'/0'/0/{number}").key)


@dataclass(frozen=True)
class Chain:
    """``treasury`` pays, ``orchestrator`` is the pool's on Livepeer; ``from_block``: before it nothing concerns the pool."""

    url: str
    livepeer: Livepeer
    payouts: str
    treasury: Wallet
    orchestrator: Wallet
    from_block: int

    @property
    def settings(self) -> dict[str, str]:
        """What chain_watcher, treasury and an audit need to know of it."""
        return {
            "MILLPOND_CHAIN_RPC_URL": self.url,
            "MILLPOND_CHAIN_PAYOUTS": self.payouts,
            "MILLPOND_CHAIN_CONTROLLER": self.livepeer.controller,
            "MILLPOND_CHAIN_ORCHESTRATOR": self.orchestrator.address,
            "MILLPOND_CHAIN_TREASURY": self.treasury.address,
            "MILLPOND_CHAIN_FROM_BLOCK": str(self.from_block),
            "MILLPOND_CHAIN_POLL_S": "0.3",
        }

    @property
    def treasury_settings(self) -> dict[str, str]:
        """Of treasury alone: where the keys are."""
        return {
            "MILLPOND_TREASURY_KEYSTORE": str(self.treasury.keystore),
            "MILLPOND_TREASURY_PASSWORD_FILE": str(self.treasury.password_file),
            "MILLPOND_TREASURY_ORCHESTRATOR_KEYSTORE": str(self.orchestrator.keystore),
            "MILLPOND_TREASURY_ORCHESTRATOR_PASSWORD_FILE": str(self.orchestrator.password_file),
        }

    async def redeem_tickets(self) -> None:
        """A gateway's winning tickets, redeemed by a stranger: who sends the transaction is of no account."""
        gateway, redeemer = Signer(_known(2)), Signer(_known(3))
        tickets = [
            await self.livepeer.ticket(
                gateway.address, self.orchestrator.address, face_value=FACE_VALUE_WEI, sender_nonce=number
            )
            for number in range(1, TICKETS + 1)
        ]
        await self.livepeer.redeem(redeemer, _known(2), *tickets)

    async def treasury_wei(self) -> int:
        """What the treasury's wallet holds in the last final block."""
        return await self.livepeer.client.balance(self.treasury.address, "finalized")


@asynccontextmanager
async def opened(url: str, keys: Path) -> AsyncIterator[Chain]:
    """Makes the contracts, registers the orchestrator, funds a gateway and the treasury. Keys are written to ``keys``."""
    owner, gateway = Signer(_known(0)), Signer(_known(2))
    async with Rpc(url) as rpc:
        client = EvmClient(rpc, CHAIN_ID)
        livepeer = await deploy_livepeer(client, owner)
        await livepeer.register(Signer(_known(1)))
        await livepeer.start_round(owner)
        await livepeer.fund(gateway, deposit=TICKETS * FACE_VALUE_WEI, reserve=ETHER)
        treasury = make_wallet(keys, "treasury")
        await send(client, owner, to=treasury.address, value=FLOAT_WEI)
        payouts = await deploy(client, owner, PAYOUTS, [owner.address, treasury.address])
        # From now on time goes by as on any chain, and blocks become final.
        await rpc.ask("evm_setIntervalMining", BLOCK_S)
        head = await client.header("latest")
        orchestrator = make_wallet(keys, "orchestrator", _known(1))
        yield Chain(url, livepeer, payouts, treasury, orchestrator, head.number + 1)
