"""RFC 6962 trees (SHA-256, §2.1): a root over leaves in their order, and the proof that a leaf is one of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final

# Leaves and nodes are hashed under different prefixes: no node can be shown as a leaf.
LEAF: Final = b"\x00"
_NODE: Final = b"\x01"
# The root of a tree without leaves: the hash of nothing.
EMPTY_ROOT: Final = sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf whose content is ``data``: a record's value, as it stands on its topic."""
    return sha256(LEAF + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(_NODE + left + right).digest()


class TreeBuilder:
    """Grows by one leaf at a time and remembers no more than one hash per bit of its size."""

    __slots__ = ("peaks", "size")

    def __init__(self, size: int = 0, peaks: Iterable[bytes] = ()) -> None:
        """``peaks``: the roots of the complete trees that ``size`` leaves make, the largest first."""
        self.size = size
        self.peaks = list(peaks)
        assert len(self.peaks) == size.bit_count(), (size, len(self.peaks))

    def append(self, leaf: bytes) -> None:
        """``leaf``: a ``leaf_hash``."""
        node, size, peaks = leaf, self.size, self.peaks
        while size & 1:
            # node_hash, written out: an audit does this for every line of a month.
            node = sha256(_NODE + peaks.pop() + node).digest()
            size >>= 1
        peaks.append(node)
        self.size += 1

    def root(self) -> bytes:
        if not self.peaks:
            return EMPTY_ROOT
        root = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            root = node_hash(peak, root)
        return root

    def copy(self) -> TreeBuilder:
        return TreeBuilder(self.size, self.peaks)


def tree_root(leaves: Iterable[bytes]) -> bytes:
    """The root over leaf hashes, in their order."""
    tree = TreeBuilder()
    for leaf in leaves:
        tree.append(leaf)
    return tree.root()


def tree_levels(leaves: Sequence[bytes]) -> list[list[bytes]]:
    """All hashes of a tree: the leaf hashes first, the root alone last."""
    levels = [list(leaves)]
    while len(levels[-1]) > 1:
        below = levels[-1]
        # An odd node at the end has nobody beside it, and goes up as it is.
        pairs = [node_hash(*below[n : n + 2]) for n in range(0, len(below) - 1, 2)]
        levels.append([*pairs, *below[len(pairs) * 2 :]])
    return levels


def path_in(levels: Sequence[Sequence[bytes]], index: int) -> list[bytes]:
    """The hashes beside a leaf's way to the root, from below (§2.1.1)."""
    return [level[beside] for depth, level in enumerate(levels[:-1]) if (beside := (index >> depth) ^ 1) < len(level)]


def inclusion_paths(leaves: Sequence[bytes]) -> list[list[bytes]]:
    """Of every leaf hash, the hashes beside its way to the root."""
    levels = tree_levels(leaves)
    return [path_in(levels, index) for index in range(len(leaves))]


def root_from_path(leaf: bytes, *, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """The root that a leaf hash and its path come to; None if no tree of ``size`` leaves has such a path.

    RFC 9162 §2.1.3.2, which verifies the same trees.
    """
    if not 0 <= index < size:
        return None
    place, last, root = index, size - 1, leaf
    for beside in path:
        if last == 0:
            return None
        if place & 1 or place == last:
            root = node_hash(beside, root)
            while not place & 1 and place:
                place >>= 1
                last >>= 1
        else:
            root = node_hash(root, beside)
        place >>= 1
        last >>= 1
    return root if last == 0 else None
