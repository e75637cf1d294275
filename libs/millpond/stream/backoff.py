"""How long to wait before trying again."""

from __future__ import annotations

FIRST_S = 0.1


def backoff_s(failures: int, *, longest_s: float) -> float:
    """Seconds before the next try: 0.1, 0.2, 0.4 ... after 0, 1, 2 failures before this one, at most ``longest_s``."""
    # Twenty doublings are more than a day: beyond that only the number would grow.
    return min(FIRST_S * 2.0 ** min(failures, 20), longest_s)
