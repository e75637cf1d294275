"""The root README keeps what it says: its links, its targets, its commands, and what they print."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from millpond.localstack import LocalStack
from millpond_cli.app import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def shell(script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MILLPOND_")}
    return subprocess.run(
        ["bash", "-euc", script], cwd=ROOT, env={**clean, **variables}, capture_output=True, text=True, timeout=120
    )


def blocks() -> list[str]:
    return re.findall(r"```sh\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\((?!http)([^)#]+)\)", README))))
def test_a_link_leads_somewhere(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize(
    "place", re.findall(r"^\|[^|]+\| `([a-z_/]+)`", README.split("## Where things are")[1], re.MULTILINE)
)
def test_a_folder_is_there(place: str) -> None:
    assert (ROOT / place).is_dir()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"(?:^|`)make ([a-z]+)\b", README, re.MULTILINE))))
def test_a_make_target_exists(target: str) -> None:
    assert re.search(rf"^{target}:.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)


def commands() -> list[list[str]]:
    found = []
    for entry in re.findall(r"\| `millpond ([^`]+)` \|", README):
        *group, first = entry.split(" · ")[0].split()
        found += [[*group, name] for name in (first, *entry.split(" · ")[1:])]
    return found


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_a_command_of_the_table_exists(command: list[str]) -> None:
    shown = CliRunner().invoke(app, [*command, "--help"])
    assert shown.exit_code == 0, shown.output


def test_the_commands_beside_a_stack_work(stack: LocalStack, tmp_path: Path) -> None:
    (described,) = [block for block in blocks() if ".local/stack/env" in block]
    environment = tmp_path / "env"
    environment.write_text("".join(f"{name}={value}\n" for name, value in stack.environment.items()))
    ran = shell(described.replace(".local/stack/env", str(environment)), COLUMNS="200")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "agent.results.v1" in ran.stdout
