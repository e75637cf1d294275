"""RFC 6962 trees: the definition itself is the double that they are held to."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millpond.proofs.merkle import EMPTY_ROOT, TreeBuilder, inclusion_paths, leaf_hash, root_from_path, tree_root

LEAVES = st.lists(st.binary(max_size=8), max_size=70)


def by_definition(data: list[bytes]) -> bytes:
    """MTH of RFC 6962 §2.1, word for word."""
    if not data:
        return sha256(b"").digest()
    if len(data) == 1:
        return sha256(b"\x00" + data[0]).digest()
    k = 1
    while k * 2 < len(data):
        k *= 2
    return sha256(b"\x01" + by_definition(data[:k]) + by_definition(data[k:])).digest()


@given(LEAVES)
def test_a_root_is_what_the_rfc_defines(data: list[bytes]) -> None:
    assert tree_root(map(leaf_hash, data)) == by_definition(data)


def test_a_known_root() -> None:
    # The tree of certificate-transparency's own test vectors, of 7 leaves.
    data = [bytes.fromhex(text) for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")]
    expected = "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"
    assert tree_root(map(leaf_hash, data)).hex() == expected


@given(LEAVES, st.integers(0, 70))
def test_a_tree_that_was_put_away_goes_on_as_it_was(data: list[bytes], cut: int) -> None:
    tree = TreeBuilder()
    for each in data[:cut]:
        tree.append(leaf_hash(each))
    copied = tree.copy()
    again = TreeBuilder(tree.size, tree.peaks)
    for each in data[cut:]:
        again.append(leaf_hash(each))
    assert again.root() == by_definition(data)
    assert copied.root() == by_definition(data[:cut])


@given(LEAVES.filter(bool))
def test_every_leaf_is_proven_and_nothing_else_is(data: list[bytes]) -> None:
    leaves = list(map(leaf_hash, data))
    root, size = tree_root(leaves), len(data)
    for index, path in enumerate(inclusion_paths(leaves)):
        assert root_from_path(leaves[index], index=index, size=size, path=path) == root
        assert root_from_path(leaf_hash(b"another leaf"), index=index, size=size, path=path) != root
        assert root_from_path(leaves[index], index=index, size=size, path=[*path, root]) is None
        if path:
            assert root_from_path(leaves[index], index=index, size=size, path=path[:-1]) is None


@pytest.mark.parametrize("index", [-1, 1, 2**70])
def test_a_leaf_outside_the_tree_is_not_proven(index: int) -> None:
    assert root_from_path(leaf_hash(b""), index=index, size=1, path=[]) is None


def test_no_leaves_have_a_root_too() -> None:
    assert TreeBuilder().root() == EMPTY_ROOT == tree_root([])
