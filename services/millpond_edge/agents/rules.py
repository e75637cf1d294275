"""What edge does with what an agent says: carries it under the name of the device that signed it, or says why not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import from_json, to_json

from millpond.events.agent_claims import DeviceClaim, claim_item
from millpond.events.device_claims import AttemptClaim, Claim
from millpond.events.topic import Topic
from millpond.events.topics import AGENT_HEARTBEATS, AGENT_PROGRESS, AGENT_RESULTS
from millpond.identity import verify_device
from millpond_edge.agents.messages import Hello, Said

# What an agent may say, and where it goes: as the topic table says.
CLAIMS: Final[Mapping[str, tuple[Topic, type[DeviceClaim[Any]]]]] = MappingProxyType(
    {
        kind.type_name: (topic, kind)
        for topic in (AGENT_HEARTBEATS, AGENT_PROGRESS, AGENT_RESULTS)
        for kind in topic.events
        if issubclass(kind, DeviceClaim)
    }
)
SEQUENCE_MAX: Final = 2**53
QUOTED_CHARACTERS_MAX: Final = 120


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who greeted on this connection. Nobody else speaks on it."""

    pool: str
    device: str
    session: str


@dataclass(frozen=True, slots=True)
class Carry:
    """Goes to ``topic`` under ``key``, as ``item``, verbatim."""

    topic: Topic
    key: str
    event: DeviceClaim[Any]
    claim: Claim
    item: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """``sequence`` is that of the claim; None: it can't be read, so there is nothing to go on with."""

    reason: str
    sentence: str
    sequence: int | None = None


def greet(text: str, *, nonce: str, pool: str) -> Speaker | Refuse:
    """Who says hello, if it is signed with that device's key, over this connection's ``nonce``."""
    try:
        hello = Hello.model_validate_json(text)
    except ValidationError as error:
        return Refuse("hello-malformed", f"The greeting is no Hello: {_problem(error)}.")
    signed = f"{nonce} {hello.session}"
    if not verify_device(pool=pool, kind="Hello", text=signed, device=hello.device, signature=hello.signature):
        sentence = (
            f"signature is not {hello.device}'s over the Hello {signed!r} for the pool {pool}. Sign exactly that."
        )
        return Refuse("signature-wrong", sentence)
    return Speaker(pool, hello.device, hello.session)


def hear(text: str, speaker: Speaker) -> Carry | Refuse:
    """If several reasons apply, the first is given; what costs little is asked first."""
    try:
        said = Said.model_validate_json(text)
    except ValidationError as error:
        return Refuse("message-malformed", f"The message is no claim: {_problem(error)}.")
    if said.type not in CLAIMS:
        sentence = f"type is {said.type!r}, which this pool does not take; it takes {', '.join(CLAIMS)}."
        return Refuse("type-unknown", sentence, _sequence(said.payload))
    topic, kind = CLAIMS[said.type]
    signed = {"pool": speaker.pool, "kind": said.type, "text": said.payload}
    if not verify_device(**signed, device=speaker.device, signature=said.signature):
        sentence = f"signature is not {speaker.device}'s over this {said.type} for the pool {speaker.pool}."
        return Refuse("signature-wrong", sentence, _sequence(said.payload))
    try:
        claim = kind.claim_type.model_validate_json(said.payload)
    except ValidationError as error:
        return Refuse("claim-malformed", f"payload is no {said.type}: {_problem(error)}.", _sequence(said.payload))
    if not is_canonical(claim, said.payload):
        sentence = (
            "payload is JSON in another spelling: no spaces, each field once and in its order, no needless escapes."
        )
        return Refuse("not-canonical", sentence, claim.sequence)
    if claim.session != speaker.session:
        sentence = f"session is {claim.session}, but this connection greeted as {speaker.session}. Greet with that one."
        return Refuse("session-differs", sentence, claim.sequence)
    event = kind(device=speaker.device, payload=said.payload, signature=said.signature)
    key = claim.job if isinstance(claim, AttemptClaim) else speaker.device
    return Carry(topic, key, event, claim, claim_item(speaker.device, claim))


def is_canonical(claim: Claim, payload: str) -> bool:
    """Whether ``payload``, which was read as ``claim``, is its one spelling: the same claim must not come in two forms.

    A newer agent may say more than we know. What we know stands in our order then, and all of it is spelt as JSON can be
    in one way only.
    """
    if claim.model_dump_json(exclude_unset=True) == payload:
        return True
    document = from_json(payload)
    known = from_json(claim.model_dump_json(exclude_unset=True))
    return to_json(document, inf_nan_mode="constants") == payload.encode() and _is_in_order(known, document)


def _is_in_order(known: Any, document: Any) -> bool:
    match known, document:
        case dict(), dict():
            return list(known) == [key for key in document if key in known] and all(
                _is_in_order(value, document[key]) for key, value in known.items()
            )
        case list(), list():
            return all(_is_in_order(*pair) for pair in zip(known, document, strict=True))
        case _:
            return True


def _sequence(payload: str) -> int | None:
    """The number under which a claim that isn't taken can be refused."""
    try:
        document = from_json(payload)
    except ValueError:
        return None
    sequence = document.get("sequence") if isinstance(document, dict) else None
    return sequence if type(sequence) is int and 1 <= sequence <= SEQUENCE_MAX else None


def _problem(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or "the text"
    found = "" if first["type"] == "missing" else f" is {ascii(first['input'])[:QUOTED_CHARACTERS_MAX]}"
    return f"{field[:QUOTED_CHARACTERS_MAX]}{found}: {first['msg'].removeprefix('Value error, ')}"
