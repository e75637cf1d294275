"""Incident 4, `miningcore239-error-yet-sent`: an error is not a proof that nothing was sent.

miningcore #239: the wallet answered "not enough money" and confirmed the transfer a second later; the pool kept the
balances and paid the same people again.
"""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from incidents.treasury_world import NaivePayer, error, treasury_world
from millpond.chain.errors import ChainError
from millpond.events.treasury_settlements import SlotBroadcast
from rewards.story import ANN, BEN, CAT

# Above what 64 bits hold.
AMOUNTS = {ANN: 42_178_360_000_000_000_000, BEN: 1, CAT: 3}


class BelievesErrors(NaivePayer):
    """The source: an error answer means that nothing was sent, so it stays owed."""

    async def cycle(self) -> None:
        for who, amount in [*self.owed.items()]:
            try:
                await self.client.broadcast((await self.sign(who, amount)).raw)
            except ChainError:
                continue
            del self.owed[who]


def says(message: str) -> Any:
    return lambda method, parameters, answer: error(answer, message) if method == "eth_sendRawTransaction" else answer


LIES = ["insufficient funds", "already known", "nonce too low", "internal error"]


@pytest.mark.parametrize("message", LIES)
async def test_an_error_after_the_bytes_were_taken_pays_once(anvil_url: str, message: str) -> None:
    async with treasury_world(anvil_url) as world:
        world.order(AMOUNTS)
        signed = await world.until_signed()
        world.proxy.told = says(message)
        await world.step()
        (first,) = [each for each in world.log if isinstance(each, SlotBroadcast)]
        # Automatic mining: it is in a block already, and found there by its hash.
        assert first.answer == "known"
        await world.settle(3)
        assert {who: await world.balance(who) for who in AMOUNTS} == AMOUNTS
        assert world.signed() == {signed.transaction}


BODIES = [
    web.Response(status=500, text="oops"),
    web.Response(text=""),
    web.Response(text="<html>Bad gateway</html>"),
    web.Response(text="null"),
]


@pytest.mark.parametrize("body", BODIES, ids=["500", "empty", "html", "null"])
async def test_no_word_at_all_is_unknown_until_the_chain_is_asked(anvil_url: str, body: web.Response) -> None:
    async with treasury_world(anvil_url) as world:
        world.order(AMOUNTS)
        signed = await world.until_signed()
        # The bytes are out by another way, and this node says nothing that could be believed.
        await world.anvil.client.broadcast(bytes.fromhex(signed.raw[2:]))
        world.proxy.body = body
        await world.step()
        (first,) = [each for each in world.log if isinstance(each, SlotBroadcast)]
        assert first.answer == "unknown"
        world.proxy.body = None
        await world.settle(3)
        assert {who: await world.balance(who) for who in AMOUNTS} == AMOUNTS
        assert world.signed() == {signed.transaction}


async def test_the_double_pays_again_after_each_error(anvil_url: str) -> None:
    async with treasury_world(anvil_url) as world:
        double = BelievesErrors(world, {BEN: 1})
        for message in LIES:
            world.proxy.told = says(message)
            await double.cycle()
            await world.anvil.mine()
        assert await world.balance(BEN) == len(LIES)
