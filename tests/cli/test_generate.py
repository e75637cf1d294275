"""``millpond generate``: what is checked in is what the table says."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner, Result

from millpond_cli.app import app

ROOT = Path(__file__).parents[2]


def generate(directory: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["generate", "--directory", str(directory), *options])


def test_what_is_checked_in_is_what_the_table_says() -> None:
    result = generate(ROOT / "deploy" / "generated", "--check")
    assert result.exit_code == 0, result.output


def test_written_once_it_is_fresh(tmp_path: Path) -> None:
    directory = tmp_path / "new"
    assert generate(directory, "--check").exit_code == 1
    assert not directory.exists()
    assert generate(directory).exit_code == 0
    assert generate(directory, "--check").output == ""
    assert generate(directory).output == ""


def test_a_stale_file_is_named_with_what_differs(tmp_path: Path) -> None:
    generate(tmp_path)
    path = tmp_path / "asyncapi.json"
    document = json.loads(path.read_text())
    document["channels"]["agent.results.v1"]["bindings"]["kafka"]["partitions"] = 13
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    result = generate(tmp_path, "--check")
    assert result.exit_code == 1
    assert "asyncapi.json is stale" in result.output
    assert '-          "partitions": 13' in result.output
    assert '+          "partitions": 12' in result.output
    assert "acls.json" not in result.output
