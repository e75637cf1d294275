"""``millpond agent join``: the machine asks, the wallet delegates, the machine consents, the pool decides."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pydantic import ValidationError
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from millpond.identity import (
    ActionRefused,
    DelegateDevice,
    Domain,
    SignedAction,
    load_or_make_device_key,
    verify_action,
)
from millpond_agent.edge_client import Delegation, Device, EdgeClient, Enrolment, Pool, edge_client
from millpond_agent.errors import EdgeAway, EdgeRefused, JoinFailed
from millpond_agent.membership import remember_pool
from millpond_agent.running import KEY_FILE
from millpond_agent.settings import AgentSettings

LOOK_EVERY_S: Final = 1.0
DECISION_LOOK_EVERY_S: Final = 0.3
SCOPE: Final = "work"

# Asked with the contributor's address: whether the machine is to work for it.
Confirm = Callable[[str], bool]


async def join(
    url: str,
    settings: AgentSettings,
    console: Console,
    *,
    delegation: Path | None,
    confirm: Confirm,
    again: bool,
    wait_s: float,
) -> None:
    """Returns when the device is registered, or waits for the operator's approval.

    ``delegation``: a file of `millpond delegate` in place of a wallet in the browser; it is handed in also by a device
    that is in already, as with ``again``. ``wait_s``: for the pool's answer.
    Raises ``JoinFailed``, ``EdgeAway``, ``EdgeRefused``, ``OtherPool`` or what the key's file is wrong with.
    """
    key = load_or_make_device_key(settings.directory / KEY_FILE)
    async with edge_client(url, key) as edge:
        pool = await edge.pool()
        remember_pool(settings.directory, edge.url, pool)
        standing = await edge.device()
        if again or delegation or standing.state not in ("registered", "waiting"):
            if delegation is None:
                given = await _delegated_in_browser(edge, key.device, console)
            else:
                given = _delegation_in(delegation)
            signed = _verified(given, pool, key.device, edge)
            if not confirm(signed.signer):
                raise JoinFailed(problem=f"it is not to work for {signed.signer}. Nothing was sent.")
            await edge.delegate(signed)
            standing = await _decision(edge, wait_s)
        _tell(standing, pool, console, wait_s)


async def _delegated_in_browser(edge: EdgeClient, device: str, console: Console) -> Delegation:
    enrolment = await edge.enrol()
    _show(enrolment, device, console)
    while edge.now() < enrolment.expires_at:
        try:
            enrolled = await edge.enrolled(enrolment.code)
        except EdgeAway:
            # The code lives in the pool, not in the connection.
            await asyncio.sleep(LOOK_EVERY_S)
            continue
        if enrolled.delegation is not None:
            return enrolled.delegation
        if enrolled.state == "expired":
            break
        await asyncio.sleep(LOOK_EVERY_S)
    raise JoinFailed(problem=f"the code {enrolment.code} has expired. Run the command again for a new one.")


def _delegation_in(path: Path) -> Delegation:
    try:
        return Delegation.model_validate(json.loads(path.read_bytes()))
    except OSError as error:
        raise JoinFailed(problem=f"{path} can't be read: {error.strerror}.") from error
    except ValueError as error:
        if isinstance(error, ValidationError):
            first = error.errors(include_url=False, include_input=False)[0]
            problem = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        else:
            problem = "it is not JSON"
        text = f"{path} is no delegation ({problem}). Make one with `millpond delegate`."
        raise JoinFailed(problem=text) from error


def _verified(given: Delegation, pool: Pool, device: str, edge: EdgeClient) -> SignedAction:
    """Checked here, before anything is sent: edge is not asked what was signed."""
    domain = Domain(pool=pool.pool, chain_id=pool.chain_id)
    signed = SignedAction(given.signer, given.action, given.message, given.signature)
    try:
        action = verify_action(signed, domain=domain, signers=frozenset({given.signer}))
    except ActionRefused as error:
        where = f"the pool {pool.pool} on chain {pool.chain_id}"
        raise JoinFailed(problem=f"the delegation does not count for {where}: {error}") from error
    assert isinstance(action, DelegateDevice)
    if action.device != device:
        raise JoinFailed(problem=f"the delegation is for the device {action.device}, and this one is {device}.")
    if action.scope != SCOPE:
        raise JoinFailed(problem=f"the delegation's scope is {action.scope!r}, and only {SCOPE!r} is of use.")
    if action.expires_at <= edge.now().timestamp():
        raise JoinFailed(problem="the delegation has expired. Make a new one with `millpond delegate`.")
    return signed


async def _decision(edge: EdgeClient, wait_s: float) -> Device:
    """What the registry has decided; what it had not, after ``wait_s``."""
    loop = asyncio.get_running_loop()
    until = loop.time() + wait_s
    while True:
        standing = Device(state="unknown")
        try:
            standing = await edge.device()
        except (EdgeAway, EdgeRefused) as error:
            if loop.time() > until:
                raise JoinFailed(problem=f"the pool has the delegation, but does not answer now: {error}") from error
        if standing.state in ("registered", "refused", "removed") or loop.time() > until:
            return standing
        await asyncio.sleep(DECISION_LOOK_EVERY_S)


def _show(enrolment: Enrolment, device: str, console: Console) -> None:
    if not console.is_terminal:
        console.print(f"Open {enrolment.link} in the browser with your wallet.", soft_wrap=True)
        console.print(f"The page must show the code {enrolment.code} and the device {device}.", soft_wrap=True)
        return
    text = Text.assemble(
        "Open this page in the browser that has your wallet:\n\n",
        (enrolment.link, f"cyan link {enrolment.link}"),
        "\n\nIt must show this code:  ",
        (enrolment.code, "bold"),
        f"\nand this device:  {device[:18]}…{device[-8:]}\n\n",
        ("The wallet's key stays where it is. This machine gets the right to work, never to touch money.", "grey50"),
    )
    console.print(Panel(text, title="Lend this machine", border_style="cyan", padding=(1, 3), expand=False))


def _tell(standing: Device, pool: Pool, console: Console, wait_s: float) -> None:
    match standing.state:
        case "registered":
            console.print(f"This machine works for {standing.contributor} in the pool {pool.pool}.", soft_wrap=True)
            console.print("Start it: millpond agent run")
        case "waiting":
            console.print(
                "Waiting for the operator's approval. `millpond agent run` may be started now: work begins with it.",
                soft_wrap=True,
            )
        case "unknown":
            raise JoinFailed(
                problem=f"the pool has the delegation, but has not answered within {wait_s:g} s. Ask again."
            )
        case _:
            raise JoinFailed(problem=standing.sentence or f"the pool says: {standing.state}.")
