"""``millpond delegate``, ``revoke``, ``leave``: what they sign counts, and what is wrong is said."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from typer.testing import CliRunner, Result

from millpond.identity import DelegateDevice, Domain, LeavePool, RevokeDevice, SignedAction, verify_action
from millpond_cli.app import app

WALLET = Account.from_key("0x" + "07" * 32)
DEVICE = "0x" + "ab" * 32
DOMAIN = Domain(pool="test-pool", chain_id=31337)
FOR_THE_POOL = ("--pool", DOMAIN.pool, "--chain-id", str(DOMAIN.chain_id))


@pytest.fixture(scope="module")
def wallet(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """The options that open it."""
    directory = tmp_path_factory.mktemp("wallet")
    # Two rounds: this key guards nothing.
    keystore = Account.encrypt(WALLET.key, "secret", kdf="pbkdf2", iterations=2)
    (directory / "keystore.json").write_text(json.dumps(keystore))
    (directory / "password").write_text("secret\n")
    (directory / "password").chmod(0o600)
    return ("--keystore", str(directory / "keystore.json"), "--password-file", str(directory / "password"))


class Edge(HTTPServer):
    status = 202
    answer: bytes = b"{}"

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.got: list[tuple[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Edge

    def do_POST(self) -> None:  # the library's own name
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append((self.path, json.loads(body)))
        self.send_response(self.server.status)
        self.send_header("content-length", str(len(self.server.answer)))
        self.end_headers()
        self.wfile.write(self.server.answer)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def edge() -> Iterator[Edge]:
    with Edge() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def action_of(document: dict[str, Any]) -> Any:
    """What the wallet signed, for exactly this pool."""
    return verify_action(SignedAction(**document), domain=DOMAIN, signers=frozenset({WALLET.address}))


def test_a_delegation_is_printed_as_agent_join_takes_it(wallet: tuple[str, ...]) -> None:
    before = time.time()
    result = invoke("delegate", "--device", DEVICE, "--days", "2", *FOR_THE_POOL, *wallet)
    assert result.exit_code == 0, result.output
    action = action_of(json.loads(result.stdout))
    assert isinstance(action, DelegateDevice)
    assert (action.device, action.scope) == (DEVICE, "work")
    assert 0 <= action.expires_at - int(before) - 2 * 86_400 < 60
    assert before * 1000 - 1 <= action.nonce <= time.time() * 1000


def test_a_nonce_can_be_chosen(wallet: tuple[str, ...]) -> None:
    result = invoke("delegate", "--device", DEVICE, "--nonce", "7", *FOR_THE_POOL, *wallet)
    assert action_of(json.loads(result.stdout)).nonce == 7


def test_a_device_that_can_t_be_one_is_named(wallet: tuple[str, ...]) -> None:
    result = invoke("delegate", "--device", "0xABC", *FOR_THE_POOL, *wallet)
    assert result.exit_code == 1
    assert "device of DelegateDevice is '0xABC'" in result.output
    assert not result.stdout


def test_a_wrong_password_is_said_and_nothing_printed(wallet: tuple[str, ...], tmp_path: Path) -> None:
    other = tmp_path / "password"
    other.write_text("another\n")
    other.chmod(0o600)
    result = invoke("delegate", "--device", DEVICE, *FOR_THE_POOL, *wallet[:2], "--password-file", str(other))
    assert result.exit_code == 1
    assert "does not open" in result.output


def test_a_revocation_is_handed_in_signed(wallet: tuple[str, ...], edge: Edge) -> None:
    result = invoke("revoke", edge.url + "/", "--device", DEVICE, *FOR_THE_POOL, *wallet)
    assert result.exit_code == 0, result.output
    ((path, body),) = edge.got
    action = action_of(body)
    assert path == "/revocations"
    assert isinstance(action, RevokeDevice)
    assert action.device == DEVICE


def test_a_departure_is_handed_in_signed(wallet: tuple[str, ...], edge: Edge) -> None:
    result = invoke("leave", edge.url, *FOR_THE_POOL, *wallet)
    assert result.exit_code == 0, result.output
    ((path, body),) = edge.got
    assert path == "/departures"
    assert isinstance(action_of(body), LeavePool)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b'{"error": {"reason": "nonce-low", "sentence": "Use a nonce above 9."}}', "Use a nonce above 9."),
        (b"<html>Bad gateway</html>", "Bad gateway"),
    ],
)
def test_a_refusal_is_told_in_edge_s_words(wallet: tuple[str, ...], edge: Edge, answer: bytes, said: str) -> None:
    edge.status, edge.answer = 400, answer
    result = invoke("leave", edge.url, *FOR_THE_POOL, *wallet)
    assert result.exit_code == 1
    assert said in result.output


def test_an_edge_that_can_t_be_reached_is_named(wallet: tuple[str, ...]) -> None:
    result = invoke("leave", "http://127.0.0.1:9", *FOR_THE_POOL, *wallet)
    assert result.exit_code == 1
    assert "http://127.0.0.1:9/departures" in result.output
