"""An answer to every output of every result: what was seen of it, as it was found before the transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from millpond.events.agent_claims import JobSucceeded
from millpond.events.device_claims import Output
from millpond.events.event import Event
from millpond.events.inspector_observations import OutputObserved, OutputUnavailable, OutputUnreadable
from millpond.events.topics import INSPECTOR_OBSERVATIONS
from millpond.stream.decision import Decision, Input, Outgoing, Received
from millpond.workloads.transcode import pixels

PARTS_PER_MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Counted:
    """A video. ``frames``: packets of its video stream. ``decoded_frames``: of that size, if it was decoded."""

    size_bytes: int
    width: int
    height: int
    frames: int
    duration_ms: int | None
    codec: str
    decoded_frames: int | None
    decoder: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    reason: str
    sentence: str
    decoder: str


@dataclass(frozen=True, slots=True)
class Unavailable:
    reason: str
    sentence: str


Finding = Counted | Unreadable | Unavailable


def outputs_of(received: Received) -> tuple[Output, ...]:
    """What is to be looked at. Whoever signed it, or didn't: the answer is about the bytes that are named.

    Whether the claim counts is metering's to say. So a forged copy of a claim can't get it another answer.
    """
    if not isinstance(received.event, JobSucceeded):
        return ()
    try:
        return received.event.claim.outputs
    except ValidationError:
        return ()


def is_drawn(result: str, *, parts_per_million: int) -> bool:
    """Whether the outputs of a result are decoded, too: by its hash, so that a repeat is drawn as the first was."""
    return int(result[2:18], 16) % PARTS_PER_MILLION < parts_per_million


def decide(state: None, received: Input) -> Decision[None]:
    """``received.finding`` holds a ``Finding`` for each output, in their order."""
    assert isinstance(received, Received)  # no timer is ever set
    findings = received.finding
    assert isinstance(findings, tuple)
    outputs = outputs_of(received)
    events = (answer(received, output, found) for output, found in zip(outputs, findings, strict=True))
    # Under the result's own key: whoever joins by job finds it beside the result.
    return Decision(
        state, tuple(Outgoing(INSPECTOR_OBSERVATIONS, received.key, event, received.stamp_ms) for event in events)
    )


def answer(received: Received, output: Output, finding: Finding) -> Event:
    result = received.event
    assert isinstance(result, JobSucceeded)
    about = {
        "job": result.claim.job,
        "attempt": result.claim.attempt,
        "result": result.payload_hash,
        "rendition": output.rendition,
        "blob": output.blob,
    }
    match finding:
        case Unavailable(reason, sentence):
            return OutputUnavailable(**about, reason=reason, sentence=sentence)
        case Unreadable(reason, sentence, decoder):
            return OutputUnreadable(**about, reason=reason, sentence=sentence, decoder=decoder)
        case Counted() as seen:
            return OutputObserved(
                **about,
                size_bytes=seen.size_bytes,
                width=seen.width,
                height=seen.height,
                frames=seen.frames,
                pixels=pixels(width=seen.width, height=seen.height, frames=seen.frames),
                duration_ms=seen.duration_ms,
                codec=seen.codec,
                decoded_frames=seen.decoded_frames,
                decoder=seen.decoder,
            )


def fold(state: None, _own: Received) -> Decision[None]:
    """What was seen needs no memory."""
    return Decision(state)
