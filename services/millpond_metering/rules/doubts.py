"""Why a line is held. The reason is for programs, the sentence for the contributor."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

DoubtReason = Literal[
    "payee-invalid",
    "wrong-signature",
    "claim-unreadable",
    "lease-differs",
    "outputs-differ",
    "output-unavailable",
    "output-unreadable",
    "size-differs",
    "decode-differs",
    "count-differs",
]
# If several apply, the first of these is given.
PRECEDENCE: Final[tuple[DoubtReason, ...]] = (
    "payee-invalid",
    "wrong-signature",
    "claim-unreadable",
    "lease-differs",
    "outputs-differ",
    "output-unavailable",
    "output-unreadable",
    "size-differs",
    "decode-differs",
    "count-differs",
)


@dataclass(frozen=True, slots=True)
class Doubt:
    reason: DoubtReason
    sentence: str


def gravest(doubts: Iterable[Doubt]) -> Doubt | None:
    """Of several with one reason the first."""
    return min(doubts, key=lambda doubt: PRECEDENCE.index(doubt.reason), default=None)
