"""A chain for one test: anvil's own accounts, and anvil's own commands."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from millpond.chain.abi import Abi, Artifact
from millpond.chain.account import Signer
from millpond.chain.client import EvmClient
from millpond.chain.rpc import Rpc

CHAIN_ID = 31337
# anvil's first accounts, known to everybody: 10,000 ETH each.
KEYS = tuple(
    bytes.fromhex(key)
    for key in (
        "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
        "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
        "5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
        "7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6",
        "47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a",
    )
)
OWNER, GATEWAY, ORCHESTRATOR, TREASURY, STRANGER = map(Signer, KEYS)
GATEWAY_KEY = KEYS[1]


@dataclass(frozen=True)
class Anvil:
    rpc: Rpc
    client: EvmClient

    async def mine(self, blocks: int = 1) -> None:
        await self.rpc.ask("anvil_mine", hex(blocks))

    async def reorganise(self, depth: int) -> None:
        """The last ``depth`` blocks are replaced by empty ones."""
        await self.rpc.ask("anvil_reorg", depth, [])


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Anvil]:
    """The shared chain, put back afterwards as it was."""
    async with Rpc(url) as rpc:
        # What another test has sent, and never saw mined, would be mined in this one.
        await rpc.ask("anvil_dropAllTransactions")
        before = await rpc.ask("evm_snapshot")
        try:
            yield Anvil(rpc, EvmClient(rpc, CHAIN_ID))
        finally:
            await rpc.ask("evm_revert", before)


def hostile(contract: str) -> Artifact:
    """A contract of ``contracts/Hostile.sol``."""
    found: dict[str, Any] = json.loads((Path(__file__).parent / "contracts" / f"{contract}.json").read_bytes())
    return Artifact(Abi(found["abi"]), bytes.fromhex(found["bytecode"][2:]))
