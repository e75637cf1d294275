"""Incident 44, `geth24078-bad-answer-is-not-empty`: a node that doesn't have a block says that nothing happened in it.

Behind one URL, one node of two is 20 blocks behind: it answers [] for what it hasn't seen (go-ethereum #24078, lotus #13749,
subql #1999). Here an empty answer counts with the proof that the same node has the block.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from chain.proxy import Proxy, Told
from incidents.chain_world import ChainWorld, NaiveWatcher, chain_world
from millpond.chain.rpc import Rpc
from millpond.errors import MillpondError
from millpond.events.chain_revenue import IncomeUnexplained, TicketRedeemed

SEED = 24078
BEHIND = 20
TICKETS = 8
LOOKS_MAX = 400


class LaggingNode:
    """What a healthy node answers that has not got further than ``head``; which node answers a request is chance."""

    def __init__(self, proxy: Proxy, blocks: dict[str, Any], head: int) -> None:
        self._proxy = proxy
        self._blocks = blocks
        self._head = head
        self._chance = random.Random(SEED)
        self._answers: dict[int, bool] = {}

    def told(self, method: str, parameters: list[Any], answer: Any) -> Any:
        # One request, one node: also where it asks several things.
        if not self._answers.setdefault(self._proxy.requests, self._chance.random() < 0.25):
            return answer
        if method == "eth_blockNumber":
            return answer | {"result": hex(self._head)}
        if method == "eth_getBlockByNumber":
            return answer | {"result": self._block(parameters[0], answer["result"])}
        if method == "eth_getLogs":
            return answer | {"result": [log for log in answer["result"] if int(log["blockNumber"], 16) <= self._head]}
        if method in ("eth_call", "eth_getTransactionCount") and self._is_beyond(parameters[1]):
            return {"jsonrpc": "2.0", "id": answer["id"], "error": {"code": -32000, "message": "header not found"}}
        return answer

    def _block(self, at: str, true: Any) -> Any:
        return self._blocks[at] if at in self._blocks else None if self._is_beyond(at) else true

    def _is_beyond(self, at: str) -> bool:
        return at.startswith("0x") and int(at, 16) > self._head


async def lag(world: ChainWorld, rpc: Rpc) -> LaggingNode:
    head = int(await rpc.ask("eth_blockNumber"), 16) - BEHIND
    ends = {"latest": head, "finalized": head - 2}
    blocks = {tag: await rpc.ask("eth_getBlockByNumber", hex(number), False) for tag, number in ends.items()}
    return LaggingNode(world.proxy, blocks, head)


async def test_what_a_lagging_node_does_not_know_is_found_all_the_same(anvil_url: str, database: str) -> None:
    print(f"seed {SEED}")
    async with chain_world(anvil_url, database) as world:
        for face_value in range(1, TICKETS + 1):
            await world.watch.pool.redeem(face_value)
            await world.watch.pool.anvil.mine(3)
        node = await lag(world, world.watch.pool.anvil.rpc)
        world.proxy.told = node.told
        refused = 0
        for _ in range(LOOKS_MAX):
            try:
                await world.watch.look()
            except MillpondError:
                refused += 1
            if len(world.watch.said(TicketRedeemed, "final")) == TICKETS:
                break
        assert refused > 0
        truth = await world.receipts()
        assert world.income() == truth == await world.pending_fees() == sum(range(1, TICKETS + 1))
        assert not world.watch.said(IncomeUnexplained)


async def test_the_double_believes_the_lagging_node(anvil_url: str, database: str) -> None:
    async with chain_world(anvil_url, database) as world:
        naive = NaiveWatcher(world, "WinningTicketTransfer", world.watch.pool.livepeer.broker)
        await world.watch.pool.redeem(7)
        await world.watch.pool.anvil.mine(1)
        # It hears of the head from the one node, and asks the other for the logs.
        world.proxy.told = lambda method, _, answer: answer | {"result": []} if method == "eth_getLogs" else answer
        await naive.look()
        world.proxy.told = None
        await naive.look()
        assert naive.income == 0
        await world.watch.settle()
        assert world.income() == 7


def without_proof(node: str) -> Told:
    """What a node tells that is on another chain or branch, or doesn't say whether it has the block."""

    def told(method: str, parameters: list[Any], answer: Any) -> Any:
        match node, method:
            case "another chain", "eth_chainId":
                return answer | {"result": "0x1"}
            case "another branch", "eth_getBlockByNumber" if parameters[0] not in ("latest", "finalized"):
                return answer | {"result": answer["result"] | {"hash": "0x" + "77" * 32}}
            case "no block", "eth_getBlockByNumber" if parameters[0] != "latest":
                return answer | {"result": None}
            case "null logs", "eth_getLogs":
                return answer | {"result": None}
            case "logs not asked for", "eth_getLogs":
                return answer | {"result": [log | {"address": "0x" + "11" * 20} for log in answer["result"]]}
        return answer

    return told


async def test_an_answer_without_proof_moves_nothing(anvil_url: str, database: str) -> None:
    async with chain_world(anvil_url, database) as world:
        await world.watch.pool.redeem(7)
        for node in ("another chain", "another branch", "no block", "null logs", "logs not asked for"):
            world.proxy.told = without_proof(node)
            for _ in range(3):
                with pytest.raises(MillpondError):
                    await world.watch.look()
            assert not world.watch.said(TicketRedeemed), node
        world.proxy.told = None
        await world.watch.settle()
        assert world.income() == 7
