"""A bundle needs no broker; a line of it that was edited is named; a contributor finds his pay in it alone."""

from __future__ import annotations

import gzip
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from audit.topics import Pond
from millpond.events.topics import METERING_USAGE
from millpond.stream.recovery.archive import Manifest
from millpond_cli.app import app
from millpond_cli.audit.bundle import Bundle, check_files
from millpond_cli.audit.contributor import PROOFS, audit_contributor
from millpond_cli.audit.difference import Difference
from millpond_cli.audit.export import export_epoch
from rewards.story import ANN, BEN, ticket

NOW = datetime(2026, 1, 3, tzinfo=UTC)


@pytest.fixture(scope="module")
def pond() -> Pond:
    pond = Pond().begin()
    for epoch in range(2):
        pond.work(ANN, f"a{epoch}").work(BEN, f"b{epoch}").work(ANN, f"c{epoch}", claims=7)
        pond.tell(ticket(10**18 + epoch, number=epoch)).close()
        pond.wait(100)
    return pond


@pytest.fixture
async def bundle(pond: Pond, tmp_path: Path) -> Path:
    await export_epoch(tmp_path / "bundle", 1, pond.log(), where="memory", now=NOW)
    return tmp_path / "bundle"


def said(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.output


def test_a_bundle_is_audited_without_a_broker(bundle: Path, pond: Pond) -> None:
    code, output = said("audit", "--bundle", bundle, "--json")
    assert code == 0, output
    found = json.loads(output)
    assert (found["audit"], found["epochs"], found["levels"]) == ("match", [1], 3)
    assert {each["contributor"]: int(each["owed"]) for each in found["contributors"]} == pond.amounts(1)


def test_an_edited_line_of_a_bundle_is_named(bundle: Path) -> None:
    part = next(each for each in Manifest.read(bundle).parts if each.topic == METERING_USAGE.name and each.records > 3)
    lines = gzip.decompress((bundle / part.file).read_bytes()).splitlines(keepends=True)
    row = json.loads(lines[2])
    lines[2] = json.dumps({**row, "timestamp_ms": row["timestamp_ms"] + 1}, separators=(",", ":")).encode() + b"\n"
    (bundle / part.file).write_bytes(gzip.compress(b"".join(lines)))
    code, output = said("audit", "--bundle", bundle)
    assert code == 1
    assert f"Line 3 of {part.file} was edited" in output
    assert f"{part.place}@{row['offset']}" in output


def test_a_bundle_that_lost_a_line_is_told(bundle: Path) -> None:
    part = next(each for each in Manifest.read(bundle).parts if each.topic == METERING_USAGE.name and each.records > 3)
    lines = gzip.decompress((bundle / part.file).read_bytes()).splitlines(keepends=True)
    (bundle / part.file).write_bytes(gzip.compress(b"".join(lines[:-1])))
    with pytest.raises(Difference, match="has lost its last lines"):
        check_files(Bundle.read(bundle))


def test_a_contributor_finds_his_pay_in_his_own_proof_alone(bundle: Path, tmp_path: Path, pond: Pond) -> None:
    alone = tmp_path / "alone" / PROOFS
    alone.mkdir(parents=True)
    shutil.copy(bundle / PROOFS / f"{ANN}.jsonl.gz", alone)
    code, output = said("audit", "--bundle", tmp_path / "alone", "--contributor", ANN, "--json")
    assert code == 0, output
    found = json.loads(output)
    assert found["lines"] == 2
    assert [int(each["amount"]) for each in found["statements"]] == [pond.amounts(1)[ANN]]


@pytest.mark.parametrize(
    ("row", "old", "new", "said"),
    [
        (0, '\\"operator\\":\\"', '\\"operator\\":\\"1', "is not as the pool signed it"),
        (0, '\\"amount\\":\\"', '\\"amount\\":\\"1', "can't be read|leads nowhere"),
        (1, '\\"quantity\\":', '\\"quantity\\":1', "is not under the root"),
        (1, '"index": ', '"index": 1', "is not under the root"),
    ],
)
def test_a_proof_that_was_edited_proves_nothing(bundle: Path, row: int, old: str, new: str, said: str) -> None:
    path = bundle / PROOFS / f"{ANN}.jsonl.gz"
    rows = gzip.decompress(path.read_bytes()).decode().splitlines()
    assert old in rows[row]
    rows[row] = rows[row].replace(old, new, 1)
    path.write_bytes(gzip.compress("\n".join(rows).encode()))
    with pytest.raises(Exception, match=said):
        audit_contributor(path)


def test_a_proof_without_a_line_does_not_come_to_the_statement(bundle: Path) -> None:
    path = bundle / PROOFS / f"{ANN}.jsonl.gz"
    rows = gzip.decompress(path.read_bytes()).decode().splitlines()
    path.write_bytes(gzip.compress("\n".join(rows[:-1]).encode()))
    with pytest.raises(Difference, match="counts other work than his lines"):
        audit_contributor(path)
