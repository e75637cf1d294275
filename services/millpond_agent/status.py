"""``millpond agent status``: the pool's word on this machine, and the machine's own figures."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime

from millpond.identity import load_or_make_device_key
from millpond_agent.edge_client import Device, edge_client
from millpond_agent.errors import EdgeUnknown, SessionUnreadable
from millpond_agent.membership import read_membership
from millpond_agent.running import KEY_FILE
from millpond_agent.session import FILE, Figures, read_figures
from millpond_agent.settings import AgentSettings
from millpond_agent.view import eth


async def status_lines(settings: AgentSettings, edge_url: str | None) -> list[str]:
    """Also while the agent runs. Raises ``EdgeUnknown``, ``EdgeAway`` or ``EdgeRefused``."""
    membership = read_membership(settings.directory)
    url = edge_url or settings.edge or (membership.edge if membership else None)
    if url is None:
        raise EdgeUnknown
    key = load_or_make_device_key(settings.directory / KEY_FILE)
    async with edge_client(url, key) as edge:
        pool = await edge.pool()
        standing = await edge.device()
    lines = [f"pool         {pool.pool} at {url}", f"device       {key.device}", f"state        {_state(standing)}"]
    figures = _figures(settings)
    if figures is not None:
        lines += [
            f"done         {figures.done} jobs, {figures.pixels / 1e6:,.1f} megapixels; {figures.failed} failed",
            f"earned       {eth(figures.earned_wei)} on {figures.receipts} receipts: gross, before the pool's split",
        ]
        if figures.held_wei:
            lines.append(f"held         {eth(figures.held_wei)}: counted, and under review")
    return lines


def _state(standing: Device) -> str:
    whose = f" for {standing.contributor}" if standing.contributor else ""
    why = f": {standing.sentence}" if standing.sentence else ""
    return f"{standing.state}{whose}{why}"


def _figures(settings: AgentSettings) -> Figures | None:
    """None before the first start."""
    path = settings.directory / FILE
    if not path.exists():
        return None
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            return read_figures(database, datetime.fromtimestamp(0, tz=UTC))
    except sqlite3.Error as error:
        raise SessionUnreadable(path=path, problem=error) from error
