"""Gas per payee of a batch, in a token that costs what USDC costs; beside it, what single transfers cost."""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from eth_utils.address import to_checksum_address

from benchmarks.figure import Benchmark, Run
from chain.anvil import CHAIN_ID, OWNER, TREASURY
from millpond.chain.client import EvmClient
from millpond.chain.deploy import deploy, send
from millpond.chain.payouts import PAYOUTS, Batch, Order
from millpond.chain.rpc import Rpc
from millpond.localstack import LocalStack
from millpond_demo.livepeer.protocol import artifact, deploy_usdc

PAYEES: Final = 200
# Some 12 USDC each: an amount whose bytes cost what an amount's bytes cost.
AMOUNT: Final = 12_345_678
SINGLE_TRANSFERS: Final = 10
USDC: Final = artifact("Usdc").abi


def measure(_: LocalStack) -> Run:
    with TemporaryDirectory() as directory, LocalStack(Path(directory), ("anvil",)) as chain:
        return asyncio.run(_measure(chain.anvil.url))


async def _measure(url: str) -> Run:
    async with Rpc(url) as rpc:
        client = EvmClient(rpc, CHAIN_ID)
        token = await deploy_usdc(client, OWNER)
        payouts = await deploy(client, OWNER, PAYOUTS, [OWNER.address, TREASURY.address])
        payees = [str(to_checksum_address(f"0x{0xC0FFEE << 100 | n:040x}")) for n in range(PAYEES)]
        await send(client, OWNER, to=token, data=USDC.call("mint", TREASURY.address, 2**60))
        await send(client, TREASURY, to=token, data=USDC.call("approve", payouts, 2**60))
        # They hold some already: a first payment costs everybody 17,100 more.
        for payee in payees:
            await send(client, OWNER, to=token, data=USDC.call("mint", payee, 1))
        orders = tuple(Order(payee, AMOUNT) for payee in payees)
        batch = Batch(CHAIN_ID, payouts, 1, "0x" + "ab" * 32, token, orders)
        paid = await send(client, TREASURY, to=payouts, data=batch.call())
        single = [
            (await send(client, TREASURY, to=token, data=USDC.call("transfer", payee, AMOUNT))).gas_used
            for payee in payees[:SINGLE_TRANSFERS]
        ]
        return Run(paid.gas_used / PAYEES, sum(single) / SINGLE_TRANSFERS)


# Gas is what it is: the goal is absolute, and one run says it all.
GAS_PER_PAYEE = Benchmark("treasury.gas_per_payee", "gas", 12_500, "less", measure, runs=1, judged="value")
