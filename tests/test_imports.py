"""The import contracts cover every service, and each of them can fail."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONFIGURATION = (ROOT / "pyproject.toml").read_text()
CONTRACTS = tomllib.loads(CONFIGURATION)["tool"]["importlinter"]

# The smallest pool that keeps the contracts.
PACKAGES = {
    "millpond": "",
    "millpond/events": "",
    "millpond/stream": "",
    "millpond_cli": "import millpond_registry",
    "millpond_registry": "import millpond.stream",
    "millpond_registry/rules": "import re",
    "millpond_scheduler": "import millpond.events",
}


def lint(directory: Path, **broken: str) -> subprocess.CompletedProcess[str]:
    """Runs the project's own contracts over PACKAGES, with the text of some packages replaced."""
    for package, text in (PACKAGES | {name.replace("__", "/"): text for name, text in broken.items()}).items():
        (directory / package).mkdir()
        (directory / package / "__init__.py").write_text(text)
    packages = ', "millpond_registry", "millpond_scheduler"]'
    root_packages = next(line for line in CONFIGURATION.splitlines() if line.startswith("root_packages = "))
    text = CONFIGURATION.replace(root_packages, root_packages.replace("]", packages))
    (directory / "pyproject.toml").write_text(text)
    # -P keeps this checkout's directory out, and a bare path the installed packages: those of the test are found first.
    program = "import sys; sys.path.insert(0, '.'); from importlinter.cli import lint_imports_command as run; run()"
    return subprocess.run(
        [sys.executable, "-P", "-c", program, "--no-cache"], cwd=directory, capture_output=True, text=True, timeout=60
    )


def test_every_service_is_held_by_the_contracts() -> None:
    services = {path.parent.name for path in (ROOT / "services").glob("*/__init__.py")}
    assert set(CONTRACTS["root_packages"]) == {"millpond", *services}
    layers = " ".join(CONTRACTS["contracts"][0]["layers"])
    assert services <= set(layers.replace("(", " ").replace(")", " ").split())


def test_what_the_design_allows_is_allowed(tmp_path: Path) -> None:
    result = lint(tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "3 kept, 0 broken" in result.stdout


@pytest.mark.parametrize(
    ("broken", "contract"),
    [
        ({"millpond": "import millpond_registry"}, "Libraries know no service"),
        ({"millpond_scheduler": "import millpond_registry.rules"}, "Libraries know no service"),
        ({"millpond_registry": "import millpond_cli"}, "Libraries know no service"),
        ({"millpond_registry__rules": "from time import time"}, "Rules are pure"),
        (
            {"millpond_registry__rules": "import millpond.stream", "millpond__stream": "import asyncpg"},
            "Rules are pure",
        ),
        ({"millpond__events": "import millpond.stream"}, "What is on the topics"),
        ({"millpond__events": "import aiokafka"}, "What is on the topics"),
    ],
)
def test_what_it_forbids_is_found(tmp_path: Path, broken: dict[str, str], contract: str) -> None:
    result = lint(tmp_path, **broken)
    assert result.returncode == 1, result.stdout + result.stderr
    # A long name is folded, so the verdict may stand on the next line.
    verdict = re.search(rf"{contract}.*?(KEPT|BROKEN)", result.stdout, re.DOTALL)
    assert verdict is not None, result.stdout
    assert verdict[1] == "BROKEN", result.stdout
    assert "2 kept, 1 broken" in result.stdout
