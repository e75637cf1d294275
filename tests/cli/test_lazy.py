"""Commands are found by name, and told of, before they are imported."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from millpond_cli.app import COMMANDS, app

HEAVY = ("aiokafka", "av", "eth_account", "asyncpg")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_all_says_of_each_command_what_its_own_help_says(name: str) -> None:
    command = COMMANDS[name].load()
    assert command.help.strip().splitlines()[0] == COMMANDS[name].help


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_answers_under_its_name(name: str) -> None:
    result = CliRunner().invoke(app, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert f"Usage: root {name}" in result.output or f" {name} " in result.output


def test_a_command_that_is_none_is_refused_by_name() -> None:
    result = CliRunner().invoke(app, ["topcs"])
    assert result.exit_code == 2
    assert "topcs" in result.output


def test_help_imports_none_of_what_makes_commands_slow() -> None:
    program = (
        "import sys\nfrom typer.testing import CliRunner\nfrom millpond_cli.app import app\n"
        "CliRunner().invoke(app, ['--help'])\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
