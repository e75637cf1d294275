"""Incident 28, `miningcore710-id-alias`, the part of what is counted: one thing, spelt in many ways, is paid many times.

Shares were compared as text: with the case of one hex digit changed the same share paid again. Here an id has one
spelling, another one is refused with the field's name, and what is counted is the attempt that the scheduler kept, once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from metering.samples import (
    PIXELS,
    POOL,
    Topics,
    kept,
    lines,
    looks,
    signed,
    story,
)
from millpond.events.agent_claims import JobSucceeded
from millpond.events.device_claims import JobSucceededClaim
from millpond.events.metering_usage import UsageRecorded
from millpond.events.scheduler_assignments import AttemptClosed
from millpond.identity import verify_device

Spell = Callable[[dict[str, Any]], Any]

COUNTED = story()


def changed(**fields: Spell) -> Spell:
    return lambda claim: {**claim, **{name: spell(claim[name]) for name, spell in fields.items()}}


# Other spellings of what the claim says, each with the field that is to be named.
ALIASES: dict[str, tuple[Spell, str]] = {
    "upper case": (changed(job=str.upper), "job"),
    "one digit in upper case": (changed(job=lambda job: re.sub("[a-f]", lambda f: f[0].upper(), job, count=1)), "job"),
    "a UUID in braces": (changed(job=lambda job: "{" + job + "}"), "job"),
    "a UUID without hyphens": (changed(job=lambda job: job.replace("-", "")), "job"),
    "a URN": (changed(job=lambda job: f"urn:uuid:{job}"), "job"),
    "a trailing blank": (changed(job=lambda job: job + " "), "job"),
    "a trailing line feed": (changed(job=lambda job: job + "\n"), "job"),
    "a leading zero more": (changed(job=lambda job: "0" + job), "job"),
    "a look-alike letter": (
        changed(job=lambda job: re.sub("[ace]", "\N{CYRILLIC SMALL LETTER A}", job, count=1)),
        "job",
    ),
    "full-width digits": (changed(job=lambda job: re.sub("[0-9]", "\N{FULLWIDTH DIGIT ONE}", job, count=1)), "job"),
    "1.0 for 1": (changed(attempt=float), "attempt"),
    '"1" for 1': (changed(attempt=str), "attempt"),
    "true for 1": (changed(attempt=bool), "attempt"),
    "a lease in upper case": (changed(lease=str.upper), "lease"),
    "a session in upper case": (changed(session=lambda _: "ABCDEF00-0000-4000-8000-000000000001"), "session"),
    "time in another zone": (changed(time=lambda _: "2026-01-02T04:04:05.678+01:00"), "time"),
    "a blob's hash in upper case": (
        changed(outputs=lambda outputs: [{**outputs[0], "blob": {**outputs[0]["blob"], "hash": "0xAB" + "ab" * 31}}]),
        "outputs",
    ),
}
# The same claim in other words that can be read: other bytes, so another claim.
REWORDINGS: dict[str, Spell] = {
    "keys in another order": lambda claim: dict(reversed(claim.items())),
    "a field that nobody knows": lambda claim: {**claim, "nonce": 1},
    "the next sequence": changed(sequence=lambda sequence: sequence + 1),
}


def respelt(spell: Spell) -> JobSucceeded:
    """Signed by the very device: its signature is good."""
    return signed(json.dumps(spell(json.loads(COUNTED.result.payload))))


def everything_told(*results: JobSucceeded) -> list[Any]:
    """The counted story, then each of the results, with looks at the outputs it names where it can be read."""
    topics = Topics()
    received = topics.put_all([COUNTED])
    for result in results:
        received.append(topics.put(result, COUNTED.job))
        try:
            received += [topics.put(look, COUNTED.job) for look in looks(result)]
        except ValidationError:
            continue
    return received


class NaiveCounter:
    """What the source did: whatever verifies, and isn't the same text as before, is a new share."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self.pixels = 0

    def take(self, result: JobSucceeded) -> None:
        claim = json.loads(result.payload)
        share = f"{claim['job']}/{claim['attempt']}/{result.payload_hash}"
        if not _verified(result) or share in self.seen:
            return
        self.seen.add(share)
        self.pixels += sum(output["pixels"] for output in claim["outputs"])


def _verified(result: JobSucceeded) -> bool:
    return verify_device(
        pool=POOL, kind="JobSucceeded", text=result.payload, device=result.device, signature=result.signature
    )


@pytest.mark.parametrize("alias", ALIASES)
def test_another_spelling_is_refused_with_the_field_s_name(alias: str) -> None:
    spell, field = ALIASES[alias]
    with pytest.raises(ValidationError) as refused:
        JobSucceededClaim.model_validate_json(respelt(spell).payload)
    assert refused.value.errors()[0]["loc"][0] == field


@pytest.mark.parametrize("backwards", [False, True])
def test_however_often_it_is_spelt_anew_it_is_one_line(backwards: bool) -> None:
    spells = [*(spell for spell, _ in ALIASES.values()), *REWORDINGS.values()]
    received = everything_told(*map(respelt, spells))
    (line,) = lines(reversed(received) if backwards else received)
    assert isinstance(line, UsageRecorded)
    assert (line.quantity, line.result) == (PIXELS, COUNTED.result.payload_hash)


@pytest.mark.parametrize("rewording", REWORDINGS)
def test_a_fresh_signature_over_the_same_attempt_is_not_another_line(rewording: str) -> None:
    again = respelt(REWORDINGS[rewording])
    assert _verified(again)
    assert again.payload_hash != COUNTED.result.payload_hash
    # Even a scheduler that kept it a second time would not get it counted twice.
    topics = Topics()
    received = topics.put_all([COUNTED])
    received += [topics.put(event, COUNTED.job) for event in (kept(COUNTED.job, again), again, *looks(again))]
    assert len(lines(received)) == 1


def test_a_signature_has_one_spelling_too() -> None:
    upper = COUNTED.result.model_copy(update={"signature": "0x" + COUNTED.result.signature[2:].upper()})
    assert not _verified(upper)


def test_no_spelling_of_an_attempt_gets_past_the_scheduler_s_own_event() -> None:
    for job in (COUNTED.job.upper(), "{" + COUNTED.job + "}", COUNTED.job + " "):
        with pytest.raises(ValidationError):
            AttemptClosed.model_validate(kept(COUNTED.job, COUNTED.result).model_dump() | {"job": job})


def test_the_same_results_pay_many_times_where_text_is_compared() -> None:
    counter = NaiveCounter()
    for result in (COUNTED.result, *map(respelt, REWORDINGS.values()), respelt(ALIASES["upper case"][0])):
        counter.take(result)
    assert counter.pixels == PIXELS * (2 + len(REWORDINGS))
