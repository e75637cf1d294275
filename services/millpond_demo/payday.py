"""The second half of the story: the chain pays the orchestrator, the epoch closes, contributors are paid, an audit agrees."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from millpond_demo.chain import FLOAT_WEI, TICKETS
from millpond_demo.commands import signed_by
from millpond_demo.ledger import Money, balance
from millpond_demo.pool import Pool
from millpond_demo.screen import Screen
from millpond_demo.watch import Watch

# A step waits for blocks to become final, and perhaps for a program that was killed.
STEP_S_MAX: Final = 120.0
ORDER_S_MAX: Final = 50

Done = TypeVar("Done")


class Within(Protocol):
    """Waits for so many seconds, and then raises what has not happened."""

    async def __call__(self, limit_s: float, work: Awaitable[Done], what: str) -> Done: ...


@dataclass(frozen=True)
class Payday:
    """Each step raises ``MillpondError`` when anything is not as promised."""

    pool: Pool
    watch: Watch
    screen: Screen
    within: Within

    async def pay(self) -> None:
        """From winning tickets to payments that are final."""
        ledger = self.watch.seen.ledger
        with self.screen.step("winning tickets worth 0.5 ETH are redeemed, and final"):
            await self.pool.chain.redeem_tickets()
            await self._until(lambda: len(ledger.tickets) == TICKETS, "the tickets are not final")
        with self.screen.step("their fees are in the treasury, on the operator's command"):
            await self._order("fees", "withdraw", "--amount", str(ledger.revenue_wei))
            await self._until(lambda: bool(ledger.withdrawn), "the withdrawal is not final")
        with self.screen.step("the epoch is closed: pots, statements, a signed root"):
            await self._order("epoch", "close")
            await self._until(lambda: ledger.closed is not None, "the epoch is not closed")
        with self.screen.step("every contributor is paid, and the payment is final"):
            await self._until(lambda: ledger.is_paid, "not everybody is paid")

    async def balance(self, contributors: Sequence[str]) -> Money:
        """Raises ``DoesNotAddUp``."""
        wallet_wei = await self.pool.chain.treasury_wei()
        return balance(self.watch.seen.ledger, contributors, float_wei=FLOAT_WEI, wallet_wei=wallet_wei)

    async def audit(self) -> str:
        """What an audit in a process of its own says, which has the topics and the chain, and no database."""
        with self.screen.step("an audit comes to the same, to the wei"):
            return await self.pool.command("audit", "--rpc", self.pool.chain.url, environment=self.pool.chain.settings)

    async def _order(self, *command: str) -> None:
        settings = self.pool.chain.settings
        await self.pool.command(
            *command, "--wait", str(ORDER_S_MAX), *signed_by(self.pool.operator), environment=settings
        )

    async def _until(self, happened: Callable[[], bool], what: str) -> None:
        await self.within(STEP_S_MAX, self.watch.until(lambda _: happened()), what)
