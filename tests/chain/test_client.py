"""What the client believes, and what it asks for."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from chain.anvil import OWNER, STRANGER, TREASURY, Anvil
from chain.proxy import before
from millpond.chain.account import Signer, Transfer
from millpond.chain.client import EvmClient
from millpond.chain.deploy import deploy, send
from millpond.chain.errors import BadAnswer, NoAnswer, Refused, WrongChain
from millpond.chain.payouts import PAYOUTS, Batch, Order
from millpond.chain.rpc import Rpc
from millpond.events.chain_transfers import ETH


async def test_logs_that_are_too_many_are_asked_for_in_halves(anvil: Anvil, anvil_url: str) -> None:
    payouts = await deploy(anvil.client, OWNER, PAYOUTS, [OWNER.address, TREASURY.address])
    first = (await anvil.client.header("latest")).number
    for slot in range(1, 8):
        batch = Batch(31337, payouts, slot, "0x" + "00" * 32, ETH, (Order(STRANGER.address, slot),))
        await send(anvil.client, TREASURY, to=payouts, data=batch.call(), value=slot)
    last = (await anvil.client.header("latest")).id
    asked = [payouts], [PAYOUTS.abi.topics["SlotFilled"]]
    whole = await anvil.client.logs(first, last, *asked)
    assert len(whole) == 7

    def at_most_two(method: str, _: list[Any], answer: Any) -> Any:
        if method == "eth_getLogs" and len(answer["result"]) > 2:
            return {"jsonrpc": "2.0", "id": answer["id"], "error": {"code": -32005, "message": "more than 2 results"}}
        return answer

    async with before(anvil_url) as proxy, Rpc(proxy.url) as rpc:
        proxy.told = at_most_two
        assert await EvmClient(rpc, 31337).logs(first, last, *asked) == whole
        # A single block that is refused can't be halved: the refusal comes out.
        proxy.told = lambda method, _, answer: (
            answer | {"error": {"code": 1, "message": "no"}} if method == "eth_getLogs" else answer
        )
        with pytest.raises(Refused):
            await EvmClient(rpc, 31337).logs(first, last, *asked)


@pytest.mark.parametrize("lacking", [None, {"hash": "0x" + "77" * 32}], ids=["behind", "on another branch"])
async def test_a_node_that_lacks_the_block_has_not_said_that_there_are_no_logs(
    anvil: Anvil, anvil_url: str, lacking: dict[str, str] | None
) -> None:
    head = await anvil.client.header("latest")

    def told(method: str, _: list[Any], answer: Any) -> Any:
        if method == "eth_getLogs":
            return answer | {"result": []}
        if method == "eth_getBlockByNumber":
            return answer | {"result": lacking and answer["result"] | lacking}
        return answer

    asked = [STRANGER.address], [PAYOUTS.abi.topics["SlotFilled"]]
    async with before(anvil_url) as proxy, Rpc(proxy.url) as rpc:
        assert await EvmClient(rpc, 31337).logs(0, head.id, *asked) == []
        proxy.told = told
        with pytest.raises(BadAnswer):
            await EvmClient(rpc, 31337).logs(0, head.id, *asked)


async def test_a_question_is_asked_once(anvil_url: str) -> None:
    async with before(anvil_url) as proxy, Rpc(proxy.url) as rpc:
        proxy.body = web.Response(status=502, text="")
        with pytest.raises(NoAnswer):
            await rpc.ask("eth_getTransactionCount", TREASURY.address, "latest")
        assert proxy.asked == ["eth_getTransactionCount"]


async def test_a_node_of_another_chain_is_not_believed(anvil_url: str) -> None:
    async with Rpc(anvil_url) as rpc:
        with pytest.raises(WrongChain, match="31337"):
            await EvmClient(rpc, 42161).header("latest")


async def test_a_block_that_is_not_there_is_no_answer_about_it(anvil: Anvil) -> None:
    head = await anvil.client.header("latest")
    with pytest.raises(BadAnswer):
        await anvil.client.header(head.number + 5)


async def test_nobody_answers_where_there_is_no_contract(anvil: Anvil) -> None:
    with pytest.raises(BadAnswer, match="no such contract"):
        await anvil.client.call(STRANGER.address, b"\1\2\3\4", "latest")


async def test_a_key_in_the_url_is_never_told() -> None:
    async with Rpc("http://user:word@127.0.0.1:9/v2/secret-key", answer_s=1) as rpc:
        with pytest.raises(NoAnswer) as raised:
            await rpc.ask("eth_chainId")
    assert "secret-key" not in str(raised.value)
    assert "word" not in str(raised.value)


def test_a_signer_shows_its_address_only_and_signs_the_same_bytes_again() -> None:
    signer = Signer(b"\7" * 32)
    assert "07" * 32 not in repr(signer)
    transfer = Transfer(42161, 5, STRANGER.address, 10**18, b"\1", 100_000, 10**9, 10**8)
    assert signer.sign(transfer) == signer.sign(transfer)
    assert signer.sign(transfer).raw[0] == 2
