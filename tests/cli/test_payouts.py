"""``millpond payouts`` at a real edge: what a contributor reads about his money, once, whoever is killed meanwhile."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from eth_account import Account
from typer.testing import CliRunner

from edge.joining.conftest import tables
from edge.joining.visitors import ALICE, MALLORY, address_of
from edge.money import ETH, TRANSACTION, held, ordered, say, settled, statement, withdrawn
from edge.pool import WITHIN_S, RunningEdge, running_edge
from millpond.events.event import Event
from millpond.events.rewards_statements import Adjustment, Remark, WorkHeld
from millpond.events.scheduler_assignments import AgreedPrice
from millpond_cli.app import app
from millpond_cli.ether import amount_of, in_ether
from millpond_cli.payouts import lines

__all__ = ["tables"]

HIS, HERS = address_of(ALICE), address_of(MALLORY)
AMOUNT = "1.234567890123456789 ETH"
# Exit code, output, errors.
Ended = tuple[int, str, str]


@dataclass
class Wallet:
    directory: Path

    def options(self, key: str = ALICE) -> list[str]:
        keystore, password = self.directory / f"{key[-2:]}.json", self.directory / "password"
        # Two rounds: this key guards nothing.
        keystore.write_text(json.dumps(Account.encrypt(key, "secret", kdf="pbkdf2", iterations=2)))
        password.write_text("secret\n")
        password.chmod(0o600)
        return ["--keystore", str(keystore), "--password-file", str(password)]


@pytest.fixture
def wallet(tmp_path: Path) -> Wallet:
    return Wallet(tmp_path)


@pytest.fixture
async def edge(tables: asyncpg.Pool, tmp_path: Path) -> AsyncIterator[RunningEdge]:
    async with running_edge(tmp_path / "blobs", database=tables) as edge:
        yield edge


async def ran(url: str, options: Sequence[str]) -> Ended:
    async with asyncio.timeout(WITHIN_S):
        result = await asyncio.to_thread(CliRunner().invoke, app, ["payouts", url, *options])
    return result.exit_code, result.stdout, result.stderr


@asynccontextmanager
async def started(url: str, options: Sequence[str]) -> AsyncIterator[asyncio.subprocess.Process]:
    """In a process of its own, which can be ended, and has ended behind the block."""
    program = Path(sys.executable).with_name("millpond")
    process = await asyncio.create_subprocess_exec(
        *(program, "payouts", url, *options), stdout=asyncio.subprocess.PIPE, preexec_fn=_hears_ctrl_c
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _hears_ctrl_c() -> None:
    # Who was started in the background of a shell ignores it, and so would whatever he starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def read(event: Event, epoch: int = 0) -> list[str]:
    data = json.dumps({"epoch": epoch, "event": json.loads(event.to_bytes())})
    return list(lines(event.type_name, data))


def test_each_event_is_a_line_with_every_digit() -> None:
    assert read(statement(HIS, 2), 2) == [f"epoch 2  earned {AMOUNT}; 3.703703670370370367 ETH in all epochs"]
    assert read(ordered(HIS)) == [f"epoch 0  ordered {AMOUNT} to {HIS}"]
    assert read(withdrawn(HIS)) == ["epoch 0  order taken back (disputed): A verdict could lower it."]
    assert read(held(HIS)) == ["epoch 0  waits (float-low): The treasury holds too little."]
    assert read(settled(HIS)) == [f"epoch 0  paid {AMOUNT} in transaction {TRANSACTION}"]
    returned = settled(HIS, outcome="returned", reason="recipient-reverts", sentence="It could not take it.")
    assert read(returned) == [
        f"epoch 0  not paid: {AMOUNT} in transaction {TRANSACTION} returned (recipient-reverts): It could not take it."
    ]


def test_a_statement_says_why_it_is_not_more() -> None:
    price = AgreedPrice(unit="pixel", wei=1, per_units=1)
    waiting = WorkHeld(price=price, reason="count-differs", lines=3, units=9, set_aside=5)
    names = ordered(HIS).payout
    change = Adjustment(amount=-7, reason="overpaid", sentence="7 wei \x1b[2Jtoo many.", names=names)
    said = statement(HIS, held=(waiting,), adjustments=(change,), remarks=(Remark(reason="new", sentence="Welcome."),))
    assert read(said)[1:] == [
        "  held: 3 lines (count-differs), 0.000000000000000005 ETH set aside until they are decided",
        "  corrected: -0.000000000000000007 ETH (overpaid): 7 wei ?[2Jtoo many.",
        "  new: Welcome.",
    ]


def test_amounts_are_never_rounded() -> None:
    assert [in_ether(wei) for wei in (0, 1, 10**18, 10**17, 10**30 + 1)] == [
        "0",
        "0.000000000000000001",
        "1",
        "0.1",
        "1000000000000.000000000000000001",
    ]
    token = "eip155:1/erc20:0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48"
    assert amount_of(7, token) == f"7 of the smallest unit of {token}"
    assert amount_of(10, ETH) == "0.00000000000000001 ETH"


async def test_what_is_new_is_printed_once_and_only_ones_own(edge: RunningEdge, wallet: Wallet, tmp_path: Path) -> None:
    say(edge.log, statement(HERS), settled(HERS), statement(HIS), ordered(HIS), ordered(HERS), held(HIS))
    await edge.settled()
    options = [*wallet.options(), "--cursor-file", str(tmp_path / "seen")]
    code, out, err = await ran(edge.url, options)
    assert (code, err) == (0, "")
    assert sorted(out.splitlines()) == sorted([*read(statement(HIS)), *read(ordered(HIS)), *read(held(HIS))])
    assert await ran(edge.url, options) == (0, "", "")
    say(edge.log, settled(HIS))
    await edge.settled()
    assert await ran(edge.url, options) == (0, read(settled(HIS))[0] + "\n", "")
    # Its session is over with it.
    assert await edge.door.database.fetchval("SELECT count(*) FROM sign_ins WHERE token_hash IS NOT NULL") == 0


async def test_who_follows_is_ended_and_edge_is_too_and_nothing_is_missed_or_seen_twice(
    tables: asyncpg.Pool, wallet: Wallet, tmp_path: Path
) -> None:
    options = [*wallet.options(), "--cursor-file", str(tmp_path / "seen"), "--follow"]
    async with AsyncExitStack() as first:
        async with running_edge(tmp_path / "one", database=tables) as edge:
            log, port = edge.log, int(edge.url.rsplit(":", 1)[1])
            say(log, *(statement(HIS, epoch) for epoch in range(3)))
            await edge.settled()
            process = await first.enter_async_context(started(edge.url, options))
            printed = await _lines(process, 3)
        # The first edge is gone; the command waits for the next.
        async with running_edge(tmp_path / "two", log, database=tables, port=port) as edge:
            say(log, statement(HIS, 3), ordered(HIS, 3))
            printed += await _lines(process, 2)
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 0
            say(log, settled(HIS, 3))
            await edge.settled()
            async with started(edge.url, options) as again:
                printed += await _lines(again, 1)
                again.kill()
                rest, _ = await again.communicate()
    told = [*(read(statement(HIS, epoch), epoch)[0] for epoch in range(4)), read(ordered(HIS, 3), 3)[0]]
    assert sorted(printed) == sorted([*told, read(settled(HIS, 3), 3)[0]])
    assert rest == b""


async def _lines(process: asyncio.subprocess.Process, count: int) -> list[str]:
    assert process.stdout is not None
    async with asyncio.timeout(WITHIN_S):
        return [(await process.stdout.readline()).decode().rstrip("\n") for _ in range(count)]


async def test_a_cursor_of_another_wallet_or_pool_is_not_used(
    edge: RunningEdge, wallet: Wallet, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    kept: dict[str, Any] = {"pool": edge.url, "contributor": HERS, "cursor": "x"}
    for content in (json.dumps(kept), json.dumps({**kept, "contributor": HIS, "pool": "http://else"}), "nonsense"):
        seen.write_text(content)
        code, out, err = await ran(edge.url, [*wallet.options(), "--cursor-file", str(seen)])
        assert (code, out) == (1, "")
        assert "--cursor-file" in err
        assert seen.read_text() == content


async def test_at_another_address_than_the_pools_own_nothing_is_signed(
    tables: asyncpg.Pool, wallet: Wallet, tmp_path: Path
) -> None:
    settings = {"public_url": "https://pool.example"}
    async with running_edge(tmp_path / "blobs", database=tables, settings=settings) as edge:
        code, out, err = await ran(edge.url, wallet.options())
        assert (code, out) == (1, "")
        assert "Nothing was signed" in err
        assert await tables.fetchval("SELECT count(*) FROM sign_ins WHERE signature IS NOT NULL") == 0


@pytest.mark.parametrize("url", ["pool.example", "ftp://pool.example", "http://a@b", "http://[x", "http://x:99999"])
async def test_what_is_no_address_of_a_pool_is_said(url: str, wallet: Wallet) -> None:
    code, _, err = await ran(url, wallet.options())
    assert (code, "is no address of a pool" in err) == (1, True)
