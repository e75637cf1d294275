"""The payout contract on a real chain, before recipients of every kind."""

from __future__ import annotations

from dataclasses import replace

import pytest
from eth_utils.address import to_checksum_address

from chain.anvil import OWNER, STRANGER, TREASURY, Anvil, hostile
from millpond.chain.abi import Decoded
from millpond.chain.account import Signer
from millpond.chain.answers import Receipt
from millpond.chain.deploy import TransactionFailed, deploy, send
from millpond.chain.errors import Reverted
from millpond.chain.payouts import AMOUNT_MAX, GAS_PER_PAYEE, PAYOUTS, Batch, NotAnOrder, Order
from millpond.events.chain_transfers import ETH
from millpond_demo.livepeer.protocol import artifact, deploy_usdc

ROOT = "0x" + "ab" * 32
USDC = artifact("Usdc").abi


def wallet(number: int) -> str:
    return str(to_checksum_address(f"0x{number + 0x1000:040x}"))


@pytest.fixture
async def payouts(anvil: Anvil) -> str:
    return await deploy(anvil.client, OWNER, PAYOUTS, [OWNER.address, TREASURY.address])


@pytest.fixture
async def usdc(anvil: Anvil, payouts: str) -> str:
    """The treasury has 1,000 USDC, all of which the contract may take."""
    token = await deploy_usdc(anvil.client, OWNER)
    await send(anvil.client, OWNER, to=token, data=USDC.call("mint", TREASURY.address, 1_000_000_000))
    await send(anvil.client, TREASURY, to=token, data=USDC.call("approve", payouts, 1_000_000_000))
    return token


def batch(contract: str, *orders: Order, slot: int = 1, asset: str = ETH) -> Batch:
    return Batch(31337, contract, slot, ROOT, asset, orders)


async def fill(anvil: Anvil, batch: Batch, signer: Signer = TREASURY, gas: int | None = None) -> Receipt:
    value = batch.total if batch.asset == ETH else 0
    return await send(anvil.client, signer, to=batch.contract, data=batch.call(), value=value, gas=gas)


async def usdc_of(anvil: Anvil, token: str, holder: str) -> int:
    found = USDC.answer("balanceOf", await anvil.client.call(token, USDC.call("balanceOf", holder), "latest"))
    assert isinstance(found, int)
    return found


def events(receipt: Receipt) -> list[Decoded]:
    return [decoded for log in receipt.logs if (decoded := PAYOUTS.abi.decode(log)) is not None]


async def test_a_batch_pays_each_order_and_says_which_it_was(anvil: Anvil, payouts: str) -> None:
    paid = batch(payouts, Order(wallet(1), 10**18), Order(wallet(2), 1))
    before = await anvil.client.balance(TREASURY.address, "latest")
    receipt = await fill(anvil, paid)
    (filled,) = events(receipt)
    assert filled.arguments == {
        "slot": 1,
        "digest": paid.digest(),
        "epochRoot": ROOT,
        "asset": ETH,
        "total": 10**18 + 1,
        "payees": 2,
        "unpaidTotal": 0,
    }
    assert await anvil.client.balance(wallet(1), "latest") == 10**18
    assert await anvil.client.balance(wallet(2), "latest") == 1
    gas = receipt.gas_used * receipt.effective_gas_price
    assert await anvil.client.balance(TREASURY.address, "latest") == before - paid.total - gas


async def test_a_slot_is_filled_once_whichever_key_signs(anvil: Anvil, payouts: str) -> None:
    paid = batch(payouts, Order(wallet(3), 5))
    await fill(anvil, paid)
    with pytest.raises(Reverted):
        await fill(anvil, paid)
    await send(anvil.client, OWNER, to=payouts, data=PAYOUTS.abi.call("setPayer", STRANGER.address))
    with pytest.raises(Reverted):
        await fill(anvil, paid, STRANGER)
    with pytest.raises(Reverted):
        await fill(anvil, batch(payouts, Order(wallet(3), 6)), STRANGER)
    assert await anvil.client.balance(wallet(3), "latest") == 5
    # The new payer pays, the old one no longer does.
    await fill(anvil, batch(payouts, Order(wallet(3), 6), slot=2), STRANGER)
    with pytest.raises(Reverted):
        await fill(anvil, batch(payouts, Order(wallet(3), 6), slot=3))


async def test_only_the_owner_names_the_payer_and_ownership_is_taken_not_given(anvil: Anvil, payouts: str) -> None:
    with pytest.raises(Reverted):
        await send(anvil.client, TREASURY, to=payouts, data=PAYOUTS.abi.call("setPayer", STRANGER.address))
    await send(anvil.client, OWNER, to=payouts, data=PAYOUTS.abi.call("offerOwnership", STRANGER.address))
    with pytest.raises(Reverted):
        await send(anvil.client, TREASURY, to=payouts, data=PAYOUTS.abi.call("acceptOwnership"))
    await send(anvil.client, OWNER, to=payouts, data=PAYOUTS.abi.call("setPayer", TREASURY.address))
    await send(anvil.client, STRANGER, to=payouts, data=PAYOUTS.abi.call("acceptOwnership"))
    with pytest.raises(Reverted):
        await send(anvil.client, OWNER, to=payouts, data=PAYOUTS.abi.call("setPayer", OWNER.address))


@pytest.mark.parametrize("kind", ["Reverts", "BurnsGas", "AnswersTooMuch"])
async def test_a_hostile_recipient_stays_unpaid_and_stops_nobody(anvil: Anvil, payouts: str, kind: str) -> None:
    villain = await deploy(anvil.client, OWNER, hostile(kind))
    before = await anvil.client.balance(TREASURY.address, "latest")
    paid = batch(payouts, Order(wallet(4), 7), Order(villain, 10**18), Order(wallet(5), 9))
    receipt = await fill(anvil, paid)
    unpaid, filled = events(receipt)
    assert unpaid.arguments == {"slot": 1, "index": 1, "recipient": villain, "amount": 10**18}
    assert filled.arguments["unpaidTotal"] == 10**18
    assert [await anvil.client.balance(wallet(n), "latest") for n in (4, 5)] == [7, 9]
    # What it was owed is the pool's again, and its mischief cost no more than its share of gas.
    gas = receipt.gas_used * receipt.effective_gas_price
    assert await anvil.client.balance(TREASURY.address, "latest") == before - 16 - gas
    assert await anvil.client.balance(payouts, "latest") == 0
    assert receipt.gas_used < 200_000 + GAS_PER_PAYEE


async def test_a_recipient_that_needs_60_000_gas_is_paid(anvil: Anvil, payouts: str) -> None:
    thirsty = await deploy(anvil.client, OWNER, hostile("Thirsty"))
    (filled,) = events(await fill(anvil, batch(payouts, Order(thirsty, 10**18))))
    assert filled.arguments["unpaidTotal"] == 0
    assert await anvil.client.balance(thirsty, "latest") == 10**18


async def test_too_little_gas_fails_all_rather_than_leave_someone_unpaid(anvil: Anvil, payouts: str) -> None:
    thirsty = await deploy(anvil.client, OWNER, hostile("Thirsty"))
    paid = batch(payouts, Order(thirsty, 10**18))
    for gas in (110_000, 140_000, 170_000):
        with pytest.raises(TransactionFailed):
            await fill(anvil, paid, gas=gas)
    (filled,) = events(await fill(anvil, paid, gas=400_000))
    assert filled.arguments["unpaidTotal"] == 0


async def test_a_payer_that_is_paid_itself_cannot_fill_a_second_slot_meanwhile(anvil: Anvil, payouts: str) -> None:
    itself = hostile("PaysItself")
    payer = await deploy(anvil.client, OWNER, itself)
    await send(anvil.client, OWNER, to=payouts, data=PAYOUTS.abi.call("setPayer", payer))
    call = itself.abi.call("pay", payouts, [Order(payer, 10**18).packed()])
    receipt = await send(anvil.client, STRANGER, to=payer, data=call, value=10**18, gas=2_000_000)
    assert [each.event for each in events(receipt)] == ["SlotFilled"]
    came_back = await anvil.client.call(payer, itself.abi.call("cameBack"), "latest")
    assert itself.abi.answer("cameBack", came_back) is False


async def test_the_value_must_be_the_sum_of_the_orders(anvil: Anvil, payouts: str, usdc: str) -> None:
    paid = batch(payouts, Order(wallet(6), 5))
    for value in (4, 6):
        with pytest.raises(Reverted):
            await send(anvil.client, TREASURY, to=payouts, data=paid.call(), value=value)
    tokens = replace(paid, asset=usdc)
    with pytest.raises(Reverted):
        await send(anvil.client, TREASURY, to=payouts, data=tokens.call(), value=5)


async def test_a_token_pays_all_but_whom_it_blocks(anvil: Anvil, payouts: str, usdc: str) -> None:
    await send(anvil.client, OWNER, to=usdc, data=USDC.call("setBlocked", wallet(8), True))
    paid = batch(payouts, *(Order(wallet(n), 10 + n) for n in (7, 8, 9)), asset=usdc)
    unpaid, filled = events(await fill(anvil, paid))
    assert unpaid.arguments["recipient"] == wallet(8)
    assert filled.arguments["unpaidTotal"] == 18
    assert [await usdc_of(anvil, usdc, wallet(n)) for n in (7, 8, 9)] == [17, 0, 19]
    assert await usdc_of(anvil, usdc, TREASURY.address) == 1_000_000_000 - 36
    assert await usdc_of(anvil, usdc, payouts) == 0


async def test_an_address_that_is_no_token_pays_nobody(anvil: Anvil, payouts: str) -> None:
    with pytest.raises(Reverted):
        await fill(anvil, batch(payouts, Order(wallet(1), 5), asset=wallet(99)))


async def test_the_digest_is_the_contracts_own(anvil: Anvil, payouts: str, usdc: str) -> None:
    paid = batch(payouts, Order(wallet(1), AMOUNT_MAX), Order(wallet(2), 1), slot=2**64 - 1, asset=usdc)
    call = PAYOUTS.abi.call("digestOf", paid.slot, bytes.fromhex(ROOT[2:]), usdc, [o.packed() for o in paid.orders])
    assert PAYOUTS.abi.answer("digestOf", await anvil.client.call(payouts, call, "latest")) == paid.digest()
    for other in (
        replace(paid, slot=1),
        replace(paid, asset=ETH),
        replace(paid, epoch_root="0x" + "cd" * 32),
        replace(paid, orders=paid.orders[::-1]),
        replace(paid, chain_id=1),
        replace(paid, contract=usdc),
    ):
        assert other.digest() != paid.digest()


@pytest.mark.parametrize("amount", [0, -1, 2**96])
def test_an_amount_that_an_order_cannot_hold_is_refused(amount: int) -> None:
    with pytest.raises(NotAnOrder):
        Order(wallet(1), amount)
