"""Incident 2, `nomp674-send-then-record`: what can't be written down must not leave.

NOMP #674: paid, could not record it (the server was out of memory), and paid again each cycle until the wallet was empty.
"""

from __future__ import annotations

from incidents.treasury_world import NaivePayer, treasury_world
from millpond.events.treasury_settlements import SlotSigned
from rewards.story import ANN, BEN, CAT

AMOUNTS = {ANN: 10_000_000_000_000_000, BEN: 5_000_000_000_000_000, CAT: 7_000_000_000_000_001}
CYCLES = 20


class SendsThenRecords(NaivePayer):
    """The source: the effect comes before the record, and the record may fail."""

    async def cycle(self, *, database_refuses: bool) -> None:
        for who, amount in [*self.owed.items()]:
            await self.client.broadcast((await self.sign(who, amount)).raw)
            if not database_refuses:
                del self.owed[who]


async def test_while_the_database_refuses_only_what_was_stored_before_leaves(anvil_url: str) -> None:
    async with treasury_world(anvil_url, orders_max=1) as world:
        start = await world.balance(world.treasury.address)
        world.order(AMOUNTS)
        sent: list[str] = []
        world.proxy.told = lambda method, parameters, answer: (
            sent.append(parameters[0]) or answer if method == "eth_sendRawTransaction" else answer
        )
        await world.until_signed()
        world.refuses = True
        for _ in range(CYCLES):
            await world.step()
            await world.pass_time(1)
        stored = {event.raw for event in world.log if isinstance(event, SlotSigned)}
        assert set(sent) == stored
        assert len(stored) == 1
        world.refuses = False
        settled = await world.settle(3)
        assert {each.recipient: each.amount for each in settled} == AMOUNTS
        assert {who: await world.balance(who) for who in AMOUNTS} == AMOUNTS
        assert len(set(sent)) == 3
        spent = start - await world.balance(world.treasury.address)
        assert spent == sum(AMOUNTS.values()) + await world.gas_paid()


async def test_a_kill_before_or_after_each_step_pays_once(anvil_url: str) -> None:
    async with treasury_world(anvil_url, orders_max=1) as world:
        world.order(AMOUNTS)
        for _ in range(400):
            if len(world.all_settled()) == 3:
                break
            # Every single step is lost once before and once after its effect, then done.
            await world.step(dies="before")
            await world.step(dies="after")
            await world.step()
        assert {who: await world.balance(who) for who in AMOUNTS} == AMOUNTS
        assert len(world.signed()) == 3
        assert len(world.all_settled()) == 3


async def test_the_double_pays_in_every_cycle(anvil_url: str) -> None:
    async with treasury_world(anvil_url) as world:
        double = SendsThenRecords(world, AMOUNTS)
        for _ in range(CYCLES):
            await double.cycle(database_refuses=True)
        await double.cycle(database_refuses=False)
        assert await world.balance(ANN) == (CYCLES + 1) * AMOUNTS[ANN]
