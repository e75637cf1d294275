"""Two contributors with wallets of their own, and the three machines that they lend."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from millpond_demo.commands import millpond_command, run_command, signed_by
from millpond_demo.keys import Wallet, make_wallet
from millpond_demo.pool import CHAIN_ID, POOL_ID, Pool

# On two cores three encoders side by side are more than enough.
SLOTS: Final = 1


@dataclass
class Machine:
    """A contributor's machine: its own state directory, and the agent as a process under ``name``."""

    name: str
    owner: Wallet
    directory: Path
    device: str = ""

    @property
    def environment(self) -> dict[str, str]:
        return {
            "MILLPOND_AGENT_DIRECTORY": str(self.directory),
            # As the demo's terms want it.
            "MILLPOND_AGENT_HEARTBEAT_S": "1",
            "MILLPOND_LOG_FORMAT": "console",
        }

    @property
    def receipts(self) -> list[Path]:
        """The countersigned lines that it has got."""
        return sorted(self.directory.glob("receipts/*.json"))

    @property
    def _delegation(self) -> Path:
        return self.directory / "delegation.json"

    async def set_up(self) -> None:
        """The machine makes its key; the wallet, elsewhere, delegates it; a file travels. No pool is needed."""
        self.device = (await run_command(("agent", "device"), self.environment)).strip()
        purpose = ("--device", self.device, "--pool", POOL_ID, "--chain-id", str(CHAIN_ID))
        delegation = await run_command(("delegate", *purpose, *signed_by(self.owner)), {})
        await asyncio.to_thread(self._delegation.write_text, delegation)

    async def join(self, pool: Pool) -> None:
        """Raises ``CommandFailed`` with what the pool says against it."""
        await run_command(("agent", "join", pool.url, "--delegation", str(self._delegation)), self.environment)

    def start_agent(self, pool: Pool) -> None:
        command = [millpond_command(), "agent", "run", "--slots", str(SLOTS), "--plain"]
        pool.programs.start(self.name, command, self.environment)


def lend_machines(directory: Path) -> list[Machine]:
    """Ada lends two, Bob one."""
    ada, bob = (make_wallet(directory / "keys", name) for name in ("ada", "bob"))
    names = (("ada-1", ada), ("ada-2", ada), ("bob-1", bob))
    return [Machine(name, owner, directory / "machines" / name) for name, owner in names]


async def set_up_all(machines: Sequence[Machine]) -> None:
    """Side by side: a wallet's word for a device has a nonce of that device's own."""
    await asyncio.gather(*(machine.set_up() for machine in machines))


async def join_all(pool: Pool, machines: Sequence[Machine]) -> None:
    """Each machine works as soon as it has joined. Raises ``CommandFailed``."""

    async def join(machine: Machine) -> None:
        await machine.join(pool)
        machine.start_agent(pool)

    await asyncio.gather(*map(join, machines))
