"""What the machine must have, and the command that installs what it lacks."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable

from millpond.errors import MillpondError

# Program -> its package for apt-get and for brew.
PACKAGES = {
    "java": ("openjdk-17-jre-headless", "openjdk@17"),
    "mvn": ("maven", "maven"),
    "node": ("nodejs", "node"),
    "npm": ("npm", "node"),
    "postgres": ("postgresql", "postgresql@17"),
}
OTHERWISE = {"anvil": "npm install -g @foundry-rs/anvil@1.7.1"}


class MissingPrerequisite(MillpondError):
    """The local stack needs {programs}: install with `{command}`."""


def require(programs: Iterable[str]) -> None:
    """Raises ``MissingPrerequisite``, naming all that are missing at once, unless each program is on the PATH."""
    refuse(absent(programs))


def absent(programs: Iterable[str]) -> list[str]:
    return [program for program in programs if shutil.which(program) is None]


def refuse(missing: Iterable[str]) -> None:
    """Raises ``MissingPrerequisite`` if there are any."""
    if programs := sorted(set(missing)):
        raise MissingPrerequisite(programs=" and ".join(programs), command=install_command(programs))


def install_command(programs: Iterable[str]) -> str:
    packaged = [program for program in programs if program in PACKAGES]
    commands = [OTHERWISE[program] for program in programs if program not in PACKAGES]
    if packaged and sys.platform == "darwin":
        commands.insert(0, "brew install " + " ".join(PACKAGES[program][1] for program in packaged))
    elif packaged:
        prefix = "" if os.geteuid() == 0 else "sudo "
        commands.insert(0, f"{prefix}apt-get install -y " + " ".join(PACKAGES[program][0] for program in packaged))
    return " && ".join(commands)
