"""``millpond database apply`` on a real PostgreSQL."""

from __future__ import annotations

import uuid
from pathlib import Path

from typer.testing import CliRunner

from millpond_cli.app import app


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["database", "apply", *arguments], env={"COLUMNS": "200"})
    return result.exit_code, result.output


def test_each_service_with_a_password_file_gets_its_role(database: str, tmp_path: Path) -> None:
    name = f"s{uuid.uuid4().hex[:10]}"
    (tmp_path / name).write_text("secret\n")
    code, output = run("--admin-dsn", database, "--passwords", str(tmp_path), "--service", name)
    assert (code, output.strip()) == (0, f"{name}: role and schema are there")


def test_without_password_files_it_says_what_it_looks_for(database: str, tmp_path: Path) -> None:
    code, output = run("--admin-dsn", database, "--passwords", str(tmp_path))
    assert code == 1
    assert "no file named after a service" in output


def test_a_database_that_is_away_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "metering").write_text("secret")
    code, output = run("--admin-dsn", "postgresql://a:b@127.0.0.1:1/x", "--passwords", str(tmp_path))
    assert code == 1
    assert "doesn't answer" in output
    assert "Traceback" not in output


def test_an_empty_password_is_refused(database: str, tmp_path: Path) -> None:
    (tmp_path / "metering").write_text("\n")
    code, output = run("--admin-dsn", database, "--passwords", str(tmp_path))
    assert code == 1
    assert "is empty" in output
