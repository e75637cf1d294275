"""Commands that are imported when they are called: nobody waits for a video library to be told the topics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group


@dataclass(frozen=True, slots=True)
class Lazy:
    """``home``: ``module:name`` of a command's function, or of a ``typer.Typer``. ``help``: its first line, once more."""

    home: str
    help: str

    def load(self) -> Any:
        module, _, name = self.home.partition(":")
        found = getattr(import_module(module), name)
        if isinstance(found, typer.Typer):
            return get_group(found)
        alone = typer.Typer(add_completion=False)
        alone.command()(found)
        return get_command(alone)


class LazyGroup(TyperGroup):
    """``COMMANDS`` by name, in the order of the help. Help is shown without importing any of them."""

    COMMANDS: ClassVar[Mapping[str, Lazy]] = {}

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        lazy = self.COMMANDS.get(cmd_name)
        return None if lazy is None else TyperCommand(cmd_name, help=lazy.help)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, _, rest = super().resolve_command(ctx, args)
        assert name is not None  # an unknown one has ended the command by now
        return name, self.COMMANDS[name].load(), rest


def lazy_group(commands: Mapping[str, Lazy]) -> type[LazyGroup]:
    """A group of these commands, for ``typer.Typer(cls=…)``."""

    class Group(LazyGroup):
        COMMANDS = commands

    return Group
