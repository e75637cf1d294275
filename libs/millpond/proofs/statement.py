"""That a statement is under an epoch's root: what an order carries, and what its reader checks before it pays."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError

from millpond.errors import MillpondError
from millpond.events.rewards_payouts import InclusionProof, StatementProof
from millpond.events.rewards_statements import StatementIssued
from millpond.proofs.merkle import inclusion_paths, leaf_hash, root_from_path, tree_root


class StatementNotProven(MillpondError):
    """The proof of a statement of epoch {epoch} leads nowhere: {problem}."""


def epoch_root(previous: bytes, line_roots: Sequence[bytes], statements_root: bytes) -> bytes:
    """The root of an epoch: over the root before it, those of each partition's lines, and that of the statements.

    So a root stands for all that was ever published before it, too.
    """
    return tree_root(map(leaf_hash, (previous, *line_roots, statements_root)))


def prove_statements(
    epoch: int, previous: bytes, line_roots: Sequence[bytes], statements: Sequence[bytes]
) -> list[StatementProof]:
    """One proof for each statement (its record's value), in the order of their leaves."""
    leaves = list(map(leaf_hash, statements))
    parts = list(map(leaf_hash, (previous, *line_roots, tree_root(leaves))))
    tree = _proof(len(parts) - 1, len(parts), inclusion_paths(parts)[-1])
    return [
        StatementProof(epoch=epoch, statement=value.decode(), leaf=_proof(index, len(leaves), path), tree=tree)
        for index, (value, path) in enumerate(zip(statements, inclusion_paths(leaves), strict=True))
    ]


def check_statement(proof: StatementProof, *, root: str) -> StatementIssued:
    """The statement, if it is under ``root``, that of its epoch's checkpoint. Raises ``StatementNotProven``."""
    statements_root = _climbed(leaf_hash(proof.statement.encode()), proof.leaf)
    # The statements' tree is the last of the parts: neither lines nor an earlier epoch can be shown as statements.
    if statements_root is None or proof.tree.index != proof.tree.size - 1:
        raise StatementNotProven(epoch=proof.epoch, problem="its path is not one of a tree of that size")
    found = _climbed(leaf_hash(statements_root), proof.tree)
    if found is None or "0x" + found.hex() != root:
        raise StatementNotProven(epoch=proof.epoch, problem=f"it does not come to the root {root}")
    try:
        statement = StatementIssued.model_validate_json(proof.statement)
    except ValidationError as error:
        raise StatementNotProven(epoch=proof.epoch, problem="what is proven is no statement") from error
    if statement.epoch != proof.epoch:
        raise StatementNotProven(epoch=proof.epoch, problem=f"the statement is one of epoch {statement.epoch}")
    return statement


def _proof(index: int, size: int, path: Sequence[bytes]) -> InclusionProof:
    return InclusionProof(index=index, size=size, path=tuple("0x" + beside.hex() for beside in path))


def _climbed(leaf: bytes, proof: InclusionProof) -> bytes | None:
    path = [bytes.fromhex(beside[2:]) for beside in proof.path]
    return root_from_path(leaf, index=proof.index, size=proof.size, path=path)
