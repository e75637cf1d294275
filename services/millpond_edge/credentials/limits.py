"""How often one credential, or one address, may ask: a bucket of tokens each, in this process's memory."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from millpond_edge.credentials.errors import RateExceeded

# Only credentials that were verified have a bucket; one that is forgotten is full again.
BUCKETS_MAX = 100_000
# By address, for what needs no credential: a room full of machines joins within a minute or two, and who guesses a code
# (38 bits, open for 10 minutes) gets through some thousand.
STRANGERS_PER_S = 5.0
STRANGERS_BURST = 200


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at_s: float


class RateLimits:
    """``rate`` tokens a second flow into each bucket, up to ``burst``; a request takes one.

    Per process: behind several instances of edge a credential may ask that many times as often.
    """

    def __init__(self, *, rate: float, burst: int, monotonic_s: Callable[[], float]) -> None:
        self._rate = rate
        self._burst = burst
        self._monotonic_s = monotonic_s
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, credential: str) -> None:
        """Raises ``RateExceeded``, which says when there is a token again."""
        now_s = self._monotonic_s()
        bucket = self._buckets.setdefault(credential, _Bucket(self._burst, now_s))
        self._buckets.move_to_end(credential)
        if len(self._buckets) > BUCKETS_MAX:
            self._buckets.popitem(last=False)
        bucket.tokens = min(self._burst, bucket.tokens + (now_s - bucket.at_s) * self._rate)
        bucket.at_s = now_s
        if bucket.tokens < 1:
            wait_s = math.ceil((1 - bucket.tokens) / self._rate)
            raise RateExceeded(rate=self._rate, burst=self._burst, wait_s=wait_s)
        bucket.tokens -= 1


def strangers_limits() -> RateLimits:
    """The buckets of those who show no credential: apart, so that they push no credential's bucket out."""
    return RateLimits(rate=STRANGERS_PER_S, burst=STRANGERS_BURST, monotonic_s=time.monotonic)
