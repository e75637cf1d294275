"""What the pool offers, from ``pool.terms.v1``."""

from __future__ import annotations

from millpond.events.pool_terms import TermsPublished
from millpond.stream.decision import Received


class PublishedTerms:
    """``latest`` is the highest version, also if its epoch has not begun: that is what who joins now works under."""

    def __init__(self) -> None:
        self.latest: TermsPublished | None = None

    def apply(self, received: Received) -> None:
        match received.event:
            case TermsPublished(version=version) as terms if self.latest is None or version > self.latest.version:
                self.latest = terms
