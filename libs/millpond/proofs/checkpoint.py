"""The pool's signature over an epoch: its root, the root before, and all of EpochClosed (pots, cut, terms).

Ed25519 under the key that the terms name as ``receipt_key``, in the frame of ``device_message``: whoever can check a
receipt can check a checkpoint, and no signature of one can be shown as one of the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

from millpond.errors import MillpondError
from millpond.events.rewards_epochs import Checkpoint, EpochClosed
from millpond.identity.device_signature import verify_device

KIND: Final = "checkpoint"

# Signs the text of a checkpoint: 64 bytes as 0x hex, always the same for the same text.
SignText = Callable[[str], str]


class CheckpointRefused(MillpondError):
    """The checkpoint of an epoch proves nothing."""


class CheckpointOfAnother(CheckpointRefused):
    """The checkpoint's {field} is {found}, and that of epoch {epoch} as it was closed is {expected}: they don't belong
    together, or one of them was changed."""


class WrongCheckpointSignature(CheckpointRefused):
    """The checkpoint of epoch {epoch} is not signed by {key} for the pool {pool!r}. Either a field was changed, or the
    key is another pool's: the terms name its receipt_key."""


def closed_hash(closed: bytes) -> str:
    """Of the value of an EpochClosed record."""
    return "0x" + hashlib.sha256(closed).hexdigest()


def checkpoint_text(*, epoch: int, root: str, previous_root: str, closed: str) -> str:
    """What is signed, in the frame ``millpond/1``, pool, ``checkpoint``: one fact a line."""
    return f"{epoch}\n{root}\n{previous_root}\n{closed}"


def sign_checkpoint(closed: EpochClosed, sign: SignText) -> Checkpoint:
    facts = {
        "epoch": closed.epoch,
        "root": closed.root,
        "previous_root": closed.previous_root,
        "closed": closed_hash(closed.to_bytes()),
    }
    return Checkpoint(**facts, signature=sign(checkpoint_text(**facts)))  # type: ignore[arg-type]


def check_signature(checkpoint: Checkpoint, *, pool: str, key: str) -> None:
    """Raises ``WrongCheckpointSignature``."""
    text = checkpoint_text(
        epoch=checkpoint.epoch,
        root=checkpoint.root,
        previous_root=checkpoint.previous_root,
        closed=checkpoint.closed,
    )
    if not verify_device(pool=pool, kind=KIND, text=text, device=key, signature=checkpoint.signature):
        raise WrongCheckpointSignature(epoch=checkpoint.epoch, key=key, pool=pool)


def check_checkpoint(checkpoint: Checkpoint, closed: bytes, *, pool: str, key: str) -> EpochClosed:
    """The epoch, if ``checkpoint`` is the pool's signature over exactly these bytes of its EpochClosed record.

    Raises a ``CheckpointRefused``.
    """
    check_signature(checkpoint, pool=pool, key=key)
    event = EpochClosed.model_validate_json(closed)
    for field, found, expected in (
        ("epoch", checkpoint.epoch, event.epoch),
        ("closed", checkpoint.closed, closed_hash(closed)),
        ("root", checkpoint.root, event.root),
        ("previous_root", checkpoint.previous_root, event.previous_root),
    ):
        if found != expected:
            raise CheckpointOfAnother(field=field, found=found, epoch=event.epoch, expected=expected)
    return event
