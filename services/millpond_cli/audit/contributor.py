"""One contributor's pay, from one file of a bundle and the pool's key: his lines, his statement, the signed epoch."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from millpond.errors import MillpondError
from millpond.events.metering_usage import UsageHeld, UsageLine, UsageRecorded
from millpond.events.rewards_epochs import Checkpoint, EpochClosed, Pot
from millpond.events.rewards_payouts import StatementProof
from millpond.events.rewards_statements import StatementIssued
from millpond.events.scheduler_assignments import AgreedPrice
from millpond.events.topics import METERING_USAGE
from millpond.proofs.checkpoint import check_checkpoint
from millpond.proofs.merkle import leaf_hash, root_from_path
from millpond.proofs.statement import check_statement
from millpond.terms import Terms, terms_hash
from millpond_cli.audit.difference import Difference, difference
from millpond_rewards.rules import Count, WorkKey, key_of
from millpond_rewards.rules.weights import BELIEVED, weight

# Where a bundle holds them, a file per contributor.
PROOFS: Final = "contributors"


class NoProof(MillpondError):
    """{path} can't be read as the proof of a contributor's pay: {problem}. The bundle holds one for each contributor who has
    a statement in its epoch."""


@dataclass(frozen=True)
class OwnPay:
    """What came out. ``lines``: by what they count as; ``key``: the pool's, whose signature was checked."""

    contributor: str
    closed: EpochClosed
    statements: tuple[StatementIssued, ...]
    lines: int
    key: str


def audit_contributor(path: Path, *, key: str | None = None) -> OwnPay:
    """``key``: the pool's public key; None: that of the terms in the file. Raises ``Difference`` and ``NoProof``."""
    rows = _rows(path)
    try:
        head = next(rows)
        closed, pool_key = _closed(head, key)
        proofs = [StatementProof.model_validate(each, strict=False) for each in head["statements"]]
        statements = tuple(check_statement(proof, root=closed.root) for proof in proofs)
        who = str(head["contributor"])
        work: dict[WorkKey, Count] = {}
        seen: set[tuple[int, int]] = set()
        for row in rows:
            line = _line(row, closed)
            place = (int(row["partition"]), int(row["index"]))
            if line.contributor != who or place in seen:
                raise _differs(f"{path.name} holds a line twice, or another contributor's.", line.line, who)
            seen.add(place)
            known = work.get(key_of(line), Count(0, 0))
            work[key_of(line)] = Count(known.lines + 1, known.units + line.quantity)
        for statement in statements:
            _check(statement, who, closed, work)
    except (StopIteration, KeyError, TypeError, ValueError, ValidationError) as cause:
        raise NoProof(path=path, problem=repr(cause)[:200]) from cause
    return OwnPay(who, closed, statements, len(seen), pool_key)


def _closed(head: dict[str, Any], key: str | None) -> tuple[EpochClosed, str]:
    closed = head["closed"].encode()
    event = EpochClosed.model_validate_json(closed)
    if terms_hash(head["terms"]) != event.terms_hash:
        raise _differs("The terms in the file are not those of the epoch.", event.terms_hash, terms_hash(head["terms"]))
    terms = Terms.model_validate_json(head["terms"])
    trusted = key or terms.receipt_key
    try:
        checkpoint = Checkpoint.model_validate_json(head["checkpoint"])
        return check_checkpoint(checkpoint, closed, pool=terms.pool, key=trusted), trusted
    except MillpondError as refused:
        raise _differs(f"Epoch {event.epoch} is not as the pool signed it.", event.root, refused) from refused


def _line(row: dict[str, Any], closed: EpochClosed) -> UsageLine:
    kind: type[UsageLine] = UsageHeld if row["type"] == UsageHeld.type_name else UsageRecorded
    value, head = row["value"].encode(), closed.lines[row["partition"]]
    path = [bytes.fromhex(beside[2:]) for beside in row["path"]]
    root = root_from_path(leaf_hash(value), index=row["index"], size=head.size, path=path)
    line = kind.model_validate_json(value)
    if root is None or "0x" + root.hex() != head.root:
        raise _differs(
            f"Line {line.line} is not under the root of {METERING_USAGE.name}[{row['partition']}] in epoch {closed.epoch}.",
            f"root {head.root}",
            "a path that leads elsewhere",
        )
    return line


def _check(statement: StatementIssued, who: str, closed: EpochClosed, work: dict[WorkKey, Count]) -> None:
    """That the statement counts these lines and what was carried in, and pays their share."""
    if statement.contributor != who:
        raise _differs("The statement is another contributor's.", statement.contributor, who)
    pot = next(pot for pot in closed.pots if pot.asset == statement.asset)
    told = [(_key(who, each.price, BELIEVED), each.lines, each.units, each.units_carried) for each in statement.work]
    told += [
        (_key(who, each.price, each.reason), each.lines, each.units, each.units_carried) for each in statement.held
    ]
    for key in work:
        if key not in {each[0] for each in told}:
            raise _differs(f"The statement of {who} passes over work.", "nothing", f"{work[key].units} units of {key}")
    for key, lines, units, carried in told:
        own = work.get(key, Count(0, 0))
        if own.units + carried != units or (not carried and own.lines != lines):
            published, found = (
                f"{units} units in {lines} lines",
                f"{own.units} in {own.lines}, and {carried} carried in",
            )
            raise _differs(f"The statement of {who} counts other work than his lines.", published, found)
    weighed = sum(weight(key, units, pot.weight_scale) for key, _, units, _ in told if key.reason == BELIEVED)
    amount = _share(pot, weighed)
    if (statement.weight, statement.amount) != (weighed, amount):
        published = f"weight {statement.weight}, amount {statement.amount}"
        raise _differs(f"The statement of {who} pays another share.", published, f"weight {weighed}, amount {amount}")


def _key(who: str, price: AgreedPrice, reason: str) -> WorkKey:
    return WorkKey(who, price.wei, price.per_units, reason)


def _share(pot: Pot, weighed: int) -> int:
    return pot.distributed * weighed // pot.weight_total if pot.weight_total else 0


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with gzip.open(path, "rb") as lines:
            for line in lines:
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise NoProof(path=path, problem="a line is no object")
                yield row
    except (OSError, EOFError, zlib.error) as cause:
        raise NoProof(path=path, problem=repr(cause)) from cause


def _differs(what: str, published: object, found: object) -> Difference:
    return difference(what, published=published, found=found, behind=[])


def own_document(pay: OwnPay) -> dict[str, Any]:
    """For programs; amounts are strings."""
    return {
        "audit": "match",
        "epoch": pay.closed.epoch,
        "contributor": pay.contributor,
        "lines": pay.lines,
        "root": pay.closed.root,
        "statements": [statement.model_dump(mode="json") for statement in pay.statements],
    }
