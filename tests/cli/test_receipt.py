"""``millpond receipt``: a contributor checks what the pool has signed, with the file and the pool's public key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from metering.samples import PIXELS, POOL, POOL_KEY, Story, kept, looks, only_line, signed, story
from millpond_agent.membership import FILE, Membership
from millpond_agent.receipts import store_receipt
from millpond_agent.session import SignedClaim
from millpond_cli.app import app


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A receipt where the agent puts it."""
    return store(tmp_path, story())


def store(directory: Path, told: Story) -> Path:
    line, result = only_line(told), told.result
    claim = SignedClaim(4, "JobSucceeded", result.payload, result.signature)
    return store_receipt(directory / "receipts", pool=POOL, device=result.device, line=line, claim=claim)


def verify(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["receipt", "verify", *map(str, arguments)])


def change(path: Path, **event: Any) -> None:
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "event": {**document["event"], **event}}))


def test_a_good_receipt_says_what_was_done_and_what_it_comes_to(stored: Path) -> None:
    result = verify(stored, "--key", POOL_KEY.public)
    assert result.exit_code == 0, result.output
    assert f"{PIXELS:,} pixels" in result.output
    assert "1,200 wei for each 1,000 pixels" in result.output
    # Exact, by hand: 8,316,000 pixels of 25 frames in both sizes, times 1.2 wei.
    assert "9,979,200 wei (0.0000000000099792 ETH)" in result.output


def test_the_agent_s_own_membership_names_the_key(stored: Path) -> None:
    joined = Membership(edge="https://pool.example", pool=POOL, chain_id=1, receipt_key=POOL_KEY.public)
    (stored.parent.parent / FILE).write_text(joined.model_dump_json())
    assert verify(stored).exit_code == 0


def test_without_a_key_nothing_is_good(stored: Path) -> None:
    result = verify(stored)
    assert result.exit_code == 1
    assert "--key 0x…" in result.output


def test_a_changed_figure_is_found(stored: Path) -> None:
    change(stored, quantity=PIXELS * 10)
    result = verify(stored, "--key", POOL_KEY.public)
    assert result.exit_code == 1
    assert "is not the signature of" in result.output
    assert "Good" not in result.output


def test_a_held_line_says_why(tmp_path: Path) -> None:
    # The sentence quotes others: it must not steer the terminal.
    outputs = tuple(each.model_copy(update={"pixels": 1}) for each in story().result.claim.outputs)
    result = signed(story().result.claim.model_copy(update={"outputs": outputs}).model_dump_json())
    held = story().but(result=result, kept=kept(story().job, result), observations=looks(result))
    answer = verify(store(tmp_path, held), "--key", POOL_KEY.public)
    assert answer.exit_code == 0, answer.output
    assert "held (count-differs): 240p: the device claimed 1 pixels" in answer.output


@pytest.mark.parametrize("key", ["", "0x12", POOL_KEY.public.upper(), POOL_KEY.public[2:]])
def test_a_key_that_is_none_is_refused(stored: Path, key: str) -> None:
    result = verify(stored, "--key", key)
    assert result.exit_code == 1
    assert "64 lower-case hex digits" in result.output


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    result = verify(tmp_path / "nothing.json", "--key", POOL_KEY.public)
    assert result.exit_code == 1
    assert "nothing.json" in result.output


def test_a_key_is_made_once(tmp_path: Path) -> None:
    def make() -> Result:
        return CliRunner().invoke(app, ["receipt", "key", str(tmp_path / "receipt.key")])

    first = make()
    assert first.exit_code == 0
    assert first.output.startswith("0x")
    assert make().output == first.output
