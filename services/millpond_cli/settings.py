"""``millpond settings``: every variable, what it means, and what it is now."""

from __future__ import annotations

import json
import os
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from millpond.settings import SETTINGS as SHARED
from millpond.settings import Settings, SettingsInvalid, Variable, load, unknown_variables, variables
from millpond_agent.settings import AgentSettings
from millpond_chain_watcher.settings import WatcherSettings
from millpond_cli.gateway.settings import GatewaySettings
from millpond_edge.settings import EdgeSettings, RequestsSettings
from millpond_inspector.settings import InspectorSettings
from millpond_metering.settings import MeteringSettings
from millpond_rewards.settings import RewardsSettings
from millpond_runner.settings import RunnerSettings
from millpond_treasury.settings import TreasurySettings

# What all programs share, what each service reads besides, and what is read on a gateway's or a contributor's machine.
SETTINGS: Final[tuple[type[Settings], ...]] = (
    *SHARED,
    EdgeSettings,
    RequestsSettings,
    InspectorSettings,
    MeteringSettings,
    WatcherSettings,
    RewardsSettings,
    TreasurySettings,
    GatewaySettings,
    AgentSettings,
    RunnerSettings,
)

# A pipe has no width; rich would assume 80 columns and break the variables' names.
PIPE_COLUMNS: Final = 180


def settings(as_json: Annotated[bool, typer.Option("--json", help="One JSON document, for programs.")] = False) -> None:
    """List every MILLPOND_* variable, its meaning and its value; fails if one is invalid or unknown."""
    # Once each: what Livepeer's contracts are called is read by two services.
    listed = list({variable.name: variable for kind in SETTINGS for variable in variables(kind)}.values())
    problems = list(dict.fromkeys((*_invalid(), *_unknown())))
    if as_json:
        document = {"variables": [_row(variable) for variable in listed], "problems": problems}
        typer.echo(json.dumps(document, indent=2))
    else:
        console = Console()
        if not console.is_terminal:
            console.width = PIPE_COLUMNS
        console.print(_table(listed))
        for problem in problems:
            typer.echo(problem, err=True)
    if problems:
        raise typer.Exit(1)


def _row(variable: Variable) -> dict[str, str | bool | None]:
    return {
        "name": variable.name,
        "meaning": variable.meaning,
        "default": variable.default,
        "required": variable.default is None,
        "value": variable.current(os.environ),
        "used_by": variable.used_by,
    }


def _table(listed: list[Variable]) -> Table:
    table = Table(title="Settings: environment variables")
    for heading in ("variable", "meaning", "default", "now", "used by"):
        table.add_column(heading, overflow="fold")
    for variable in listed:
        # Only what is set is shown as "now", so that one sees at a glance what differs from the defaults.
        now = variable.current(os.environ) or ""
        default = "required" if variable.default is None else variable.default
        table.add_row(*map(_plain, ("\n".join(variable.names), variable.meaning, default, now, variable.used_by)))
    return table


def _plain(text: str) -> str:
    return text.replace("[", r"\[")  # rich would read brackets as markup


def _invalid() -> list[str]:
    """What is wrong, program by program; a required variable may be absent, since not every program needs it."""
    problems = []
    for kind in SETTINGS:
        try:
            load(kind)
        except SettingsInvalid as error:
            lines = str(error.facts["problems"]).splitlines()
            problems += [line.removeprefix("- ") for line in lines if " is not set. " not in line]
    return problems


def _unknown() -> list[str]:
    return [
        f"{name} is set, but nothing reads it. Remove it" + (f", or did you mean {near}?" if near else ".")
        for name, near in unknown_variables(SETTINGS).items()
    ]
