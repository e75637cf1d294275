"""What a service says of itself on a port of its own: live, ready, metrics."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from faststream.asgi import AsgiResponse, get

from millpond.stream.leadership import Leadership
from millpond.stream.process import Process
from millpond.stream.reader import Reader
from millpond.telemetry.metrics import Metrics

# No progress for so long while there is more on the log, and no reason known: the client has stalled (incident 52).
STALLED_S = 60.0
# The outbox drains in milliseconds; an older row means that the relay or the broker is in trouble.
OUTBOX_AGE_MAX_S = 30.0


class Health:
    """Answers with reasons: an empty list means yes."""

    def __init__(self, metrics: Metrics, monotonic_s: Callable[[], float], live_after_s: float) -> None:
        self.metrics = metrics
        self._monotonic_s = monotonic_s
        self._live_after_s = live_after_s
        self._process: Process[Any] | None = None
        self._reader: Reader | None = None
        self._leadership: Leadership | None = None
        self._database_seen_at_s = float("-inf")
        self._outbox_age_s = 0.0

    def watch(self, process: Process[Any], reader: Reader, leadership: Leadership | None) -> None:
        """From now on these are asked. ``leadership``: a single-active service's, which reads only while it leads."""
        self._process, self._reader, self._leadership = process, reader, leadership

    def saw_database(self, outbox_records: int, outbox_age_s: float) -> None:
        self._database_seen_at_s, self._outbox_age_s = self._monotonic_s(), outbox_age_s
        self.metrics.set("millpond_stream_outbox_records", outbox_records)
        self.metrics.set("millpond_stream_outbox_oldest_seconds", outbox_age_s)

    def why_not_live(self) -> list[str]:
        """A process that is not live is to be restarted: its loop hangs, or its client has stalled."""
        if self._process is None or self._reader is None:
            return []
        standby = self._leadership is not None and self._leadership.held is None
        turned_at_s = self._leadership.looked_at_s if standby and self._leadership else self._process.turned_at_s
        silent_s = self._monotonic_s() - turned_at_s
        reasons = []
        if silent_s > self._live_after_s:
            reasons.append(f"the poll loop has not turned for {silent_s:.0f} s")
        if not standby:
            reasons += [f"{place} makes no progress" for place in self._reader.stalled(STALLED_S)]
        return reasons

    def why_not_ready(self) -> list[str]:
        if self._process is None or self._reader is None:
            return ["starting"]
        standby = self._leadership is not None and self._leadership.held is None
        reasons = []
        if not standby and not self._reader.ready:
            reasons.append("positions are not known yet")
        if self._monotonic_s() - self._database_seen_at_s > self._live_after_s:
            reasons.append("the database doesn't answer")
        if self._outbox_age_s > OUTBOX_AGE_MAX_S:
            reasons.append(f"the outbox doesn't drain: its oldest record is {self._outbox_age_s:.0f} s old")
        reasons += [f"{place} is stopped: {stop.reason}" for place, stop in self._reader.stops.items()]
        return reasons


def routes(health: Health) -> Sequence[tuple[str, Any]]:
    """``/live``, ``/ready`` (200 or 503 with reasons) and ``/metrics`` for AsgiFastStream."""

    def answer(reasons: list[str]) -> AsgiResponse:
        body = json.dumps({"ok": not reasons, "reasons": reasons}).encode()
        return AsgiResponse(body, 503 if reasons else 200, {"content-type": "application/json"})

    @get
    async def live(_scope: Any) -> AsgiResponse:
        return answer(health.why_not_live())

    @get
    async def ready(_scope: Any) -> AsgiResponse:
        return answer(health.why_not_ready())

    @get
    async def metrics(_scope: Any) -> AsgiResponse:
        return AsgiResponse(health.metrics.exposition(), 200, {"content-type": "text/plain; version=0.0.4"})

    return (("/live", live), ("/ready", ready), ("/metrics", metrics))
