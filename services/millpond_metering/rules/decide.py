"""The entrance: a record completes its job's line, or waits; an epoch that closes gets its watermarks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from millpond.events.metering_usage import UsageHeld, UsageRecorded, Watermark
from millpond.events.rewards_epochs import EpochClosing
from millpond.events.scheduler_assignments import JobGivenUp, JobRefused
from millpond.events.topics import METERING_USAGE
from millpond.stream.decision import Decision, Input, Outgoing, Received, Tick, Timer
from millpond_metering.rules.line import Signatures, gathered, usage_line
from millpond_metering.rules.parts import KINDS, Job, Part, part_name
from millpond_metering.rules.state import State, epoch_key, epoch_of
from millpond_metering.rules.watermarks import Epoch, due, watermark

PART_KINDS: Final = frozenset(KINDS.values())
# Only how soon a watermark follows hangs on this: what it says doesn't, nor does any line.
LOOK_AGAIN_MS: Final = 250


def keys(received: Input) -> Iterable[str]:
    """The job or the epoch that an input is about; nothing for what no line needs."""
    if isinstance(received, Tick):
        return (received.timer,)
    if type(received.event) in PART_KINDS:
        return (received.key,)
    match received.event:
        case JobRefused() | JobGivenUp():
            return (received.key,)
        case EpochClosing(epoch=epoch) | Watermark(epoch=epoch):
            return (epoch_key(epoch),)
        case UsageRecorded(job=job) | UsageHeld(job=job):
            return (job,)
        case _:
            return ()


def decide(state: State, received: Input, *, signatures: Signatures) -> Decision[State]:
    if isinstance(received, Tick):
        return _on_epoch(state, epoch_of(received.timer), received.as_of_ms)
    if type(received.event) in PART_KINDS:
        return _on_part(state, received, signatures)
    match received.event:
        case JobRefused() | JobGivenUp():
            return _on_end(state, received.key)
        case EpochClosing() as closing:
            known = state.epochs.get(closing.epoch, Epoch())
            # The first closing of an epoch counts: one epoch has one end.
            state = state.with_epoch(closing.epoch, replace(known, closing=known.closing or closing))
            return _on_epoch(state, closing.epoch, received.stamp_ms)
        case _:
            return Decision(state)


def _on_part(state: State, received: Received, signatures: Signatures) -> Decision[State]:
    name = part_name(received.event)
    job = state.jobs.get(received.key, Job())
    if name is None or job.is_closed or name in job.parts:
        return Decision(state)
    job = job.having(name, Part.of(received))
    evidence = gathered(job)
    if evidence is None:
        return Decision(state.with_job(received.key, job))
    line = usage_line(evidence, signatures)
    # The stamp of what made it count, whichever record came last.
    kept_ms = evidence.parts[1].stamp_ms
    counted = Job(is_closed=True, attempt=line.attempt)
    outgoing = Outgoing(METERING_USAGE, line.contributor, line, kept_ms)
    return Decision(state.with_job(received.key, counted), (outgoing,))


def _on_end(state: State, job: str) -> Decision[State]:
    """No attempt of it will be kept: what waits for that is let go. One that was kept before counts."""
    known = state.jobs.get(job, Job())
    if known.is_closed or known.has_kept:
        return Decision(state)
    return Decision(state.with_job(job, Job(is_closed=True)))


def _on_epoch(state: State, epoch: int, now_ms: int) -> Decision[State]:
    known = state.epochs.get(epoch, Epoch())
    if known.closing is None:
        return Decision(state)
    said = due(known)
    events = tuple(watermark(known.closing, partition, copy) for partition, copy in sorted(said))
    known = replace(known, written=known.written | said)
    timers = () if known.is_done else (Timer(epoch_key(epoch), now_ms + LOOK_AGAIN_MS),)
    return Decision(state.with_epoch(epoch, known), events, timers)


def fold(state: State, own: Received) -> Decision[State]:
    """What metering has published itself: a line closes its job for ever, a watermark need not be said again."""
    match own.event:
        case UsageRecorded() | UsageHeld():
            return Decision(state.with_job(own.event.job, Job(is_closed=True, attempt=own.event.attempt)))
        case Watermark(epoch=epoch, partition=partition):
            known = state.epochs.get(epoch, Epoch())
            written = known.written | {(partition, own.place.partition)}
            return Decision(state.with_epoch(epoch, replace(known, written=written)))
        case other:
            raise AssertionError(f"metering publishes no {type(other).__name__}")
