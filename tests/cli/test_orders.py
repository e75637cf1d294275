"""The operator's commands before anything is sent: what is wrong is one sentence. Answers are in tests/registry."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from millpond_cli.app import app
from registry.pond import EXAMPLE
from stream import operators
from stream.in_process import CHAIN_ID, POOL_ID

POOL = {"MILLPOND_POOL_ID": POOL_ID, "MILLPOND_POOL_CHAIN_ID": str(CHAIN_ID)}
ADDRESS = "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf"


@pytest.fixture
def signing(tmp_path: Path) -> tuple[str, ...]:
    keystore, password_file = operators.keystore(tmp_path)
    return "--keystore", keystore, "--password-file", password_file, "--bootstrap-servers", "127.0.0.1:1"


def invoke(*arguments: str, environment: dict[str, str] | None = None) -> Result:
    result = CliRunner().invoke(app, arguments, env=environment or POOL | {"COLUMNS": "200"})
    assert "Traceback" not in result.output
    return result


def terms_file(directory: Path) -> str:
    path = directory / "terms.yaml"
    path.write_text(EXAMPLE.read_text().replace("pool: demo", f"pool: {POOL_ID}"))
    return str(path)


@pytest.mark.parametrize(
    "command",
    [
        ("gateway", "admit", "acme"),
        ("gateway", "suspend", "acme", "--reason", "r"),
        ("contributor", "approve", ADDRESS),
        ("contributor", "suspend", ADDRESS, "--reason", "r"),
    ],
    ids=" ".join,
)
def test_a_kafka_that_is_away_is_one_sentence_and_no_key_is_shown(
    command: tuple[str, ...], signing: tuple[str, ...]
) -> None:
    result = invoke(*command, *signing)
    assert result.exit_code == 1
    assert result.output.startswith("Kafka does not answer at 127.0.0.1:1")
    assert "mpk_" not in result.output


def test_the_terms_of_another_pool_are_not_even_signed(tmp_path: Path, signing: tuple[str, ...]) -> None:
    result = invoke("terms", "publish", str(EXAMPLE), *signing)
    assert (result.exit_code, "is about the pool 'demo', and MILLPOND_POOL_ID is 'pond'" in result.output) == (1, True)
    result = invoke("terms", "publish", terms_file(tmp_path), *signing)
    assert result.output.startswith("Kafka does not answer at 127.0.0.1:1")
    result = invoke("terms", "show", "--bootstrap-servers", "127.0.0.1:1")
    assert result.output.startswith("Kafka does not answer at 127.0.0.1:1")


def test_a_file_that_is_no_terms_is_refused_with_line_and_field(tmp_path: Path, signing: tuple[str, ...]) -> None:
    path = Path(terms_file(tmp_path))
    path.write_text(path.read_text().replace("lease_s: 10 ", "lease_s: ten "))
    result = invoke("terms", "publish", str(path), *signing)
    assert result.exit_code == 1
    assert "work.lease_s is 'ten': Input should be a valid integer" in result.output


@pytest.mark.parametrize("gateway", ["Acme", "a" * 65, "-acme", "acme.eu", "acme\n"])
def test_a_gateway_s_name_is_part_of_a_topic_s(gateway: str, signing: tuple[str, ...]) -> None:
    result = invoke("gateway", "admit", *signing, "--", gateway)
    assert (result.exit_code, "can't be part of a topic's name" in result.output) == (1, True)


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        (ADDRESS.lower(), f"with it: {ADDRESS}"),
        # One letter in the other case: whose it was, nobody knows.
        (ADDRESS.replace("7E", "7e"), "lacks a valid checksum"),
        ("0x12", "is no address"),
        (ADDRESS.removeprefix("0x"), "is no address"),
    ],
)
def test_an_address_has_its_checksum(address: str, problem: str, signing: tuple[str, ...]) -> None:
    result = invoke("contributor", "approve", address, *signing)
    assert (result.exit_code, problem in " ".join(result.output.split())) == (2, True), result.output


def test_a_missing_pool_and_a_wrong_password_are_named(signing: tuple[str, ...]) -> None:
    result = invoke("gateway", "admit", "acme", *signing, environment={"MILLPOND_POOL_ID": ""})
    assert (result.exit_code, "MILLPOND_POOL_ID is not set" in result.output) == (1, True)
    Path(signing[3]).write_text("wrong\n")
    result = invoke("gateway", "admit", "acme", *signing)
    assert (result.exit_code, "does not open" in result.output) == (1, True)
