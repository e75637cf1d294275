"""``millpond settings``."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from millpond.settings import SETTINGS, Settings, variables
from millpond_cli.settings import SETTINGS as LISTED
from millpond_cli.settings import settings

SERVICES = Path(__file__).parents[2] / "services"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(("MILLPOND_", "OTEL_")):
            monkeypatch.delenv(name)


def run(*arguments: str) -> Result:
    app = typer.Typer()
    app.command()(settings)
    return CliRunner().invoke(app, arguments)


def test_every_variable_is_listed_with_its_meaning() -> None:
    result = run()
    assert result.exit_code == 0, result.output
    listed = [variable for kind in SETTINGS for variable in variables(kind)]
    for variable in listed:
        assert variable.name in result.output


def test_every_service_with_settings_of_its_own_is_among_them() -> None:
    found = set()
    for path in SERVICES.glob("*/settings.py"):
        module = importlib.import_module(f"{path.parent.name}.settings")
        found |= {kind for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, Settings)}
    assert found - {Settings} <= {*LISTED, *SETTINGS}


def test_secrets_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLPOND_POSTGRES_DSN", "postgresql://pond:hunter2@db/pond")
    monkeypatch.setenv("MILLPOND_TELEMETRY_OTLP_ENDPOINT", "http://me:hunter2@collector:4318")
    for result in (run(), run("--json")):
        assert "hunter2" not in result.output
        assert "********" in result.output


def test_json_tells_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLPOND_HEALTH_PORT", "9000")
    document = json.loads(run("--json").stdout)
    rows = {row["name"]: row for row in document["variables"]}
    assert rows["MILLPOND_HEALTH_PORT"]["value"] == "9000"
    assert rows["MILLPOND_HEALTH_PORT"]["default"] == "8080"
    assert rows["MILLPOND_POSTGRES_DSN"]["required"] is True
    assert document["problems"] == []


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("MILLPOND_HEALTH_PRT", "1", "did you mean MILLPOND_HEALTH_PORT?"),
        ("MILLPOND_HEALTH_PORT", "x", "MILLPOND_HEALTH_PORT is 'x'"),
    ],
)
def test_what_is_wrong_fails_the_command(monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str) -> None:
    monkeypatch.setenv(name, value)
    for result in (run(), run("--json")):
        assert result.exit_code == 1
        assert says in result.output
