"""One usage line from the records that it names: what they say decides, and not which of them came first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from eth_utils.address import is_checksum_address
from pydantic import ValidationError

from millpond.events.agent_claims import JobSucceeded
from millpond.events.device_claims import JobSucceededClaim
from millpond.events.ids import line_id
from millpond.events.metering_usage import UNSIGNED, UsageHeld, UsageLine, UsageRecorded
from millpond.events.scheduler_assignments import AttemptClosed, JobAccepted
from millpond.identity.device_signature import verify_device
from millpond.workloads.transcode import UNIT, WORKLOAD
from millpond_metering.rules.doubts import Doubt, gravest
from millpond_metering.rules.parts import ACCEPTED, KEPT, Job, Observation, Part, output_name, result_name
from millpond_metering.rules.recount import Recount, claimed_pixels, recount

# A job that is no session has this one window.
ONLY_WINDOW: Final = 0
# The longest that an event holds; a device's own words may be quoted in it.
SENTENCE_CHARACTERS_MAX: Final = 2_000
ZERO_ADDRESS: Final = "0x" + "0" * 40


@dataclass(frozen=True, slots=True)
class Signatures:
    """``pool``: for which devices sign. ``countersign`` puts the pool's signature on a line.

    Ed25519 is deterministic: a rule that signs is as pure as one that adds. The key stays with who wires the rules.
    """

    pool: str
    countersign: Callable[[UsageLine], UsageLine]


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that a line is decided from. ``claim`` is None if the signed text is none; then there are no outputs."""

    accepted: JobAccepted
    kept: AttemptClosed
    result: JobSucceeded
    claim: JobSucceededClaim | None
    observations: tuple[Observation, ...]
    parts: tuple[Part, ...]


def gathered(job: Job) -> Evidence | None:
    """None as long as something is missing: the job, the kept attempt, its result, or a look at one of the outputs."""
    accepted, kept = job.parts.get(ACCEPTED), job.parts.get(KEPT)
    if accepted is None or kept is None:
        return None
    closed = kept.event
    assert isinstance(closed, AttemptClosed)
    result = job.parts.get(result_name(closed.device, closed.result or ""))
    if result is None:
        return None
    claim = _claim(result.event)
    outputs = () if claim is None else claim.outputs
    looks = [job.parts.get(output_name(closed.result or "", each.rendition, each.blob)) for each in outputs]
    seen = tuple(look for look in looks if look is not None)
    if len(seen) < len(outputs):
        return None
    observations: Any = tuple(look.event for look in seen)
    return Evidence(
        accepted.event,  # type: ignore[arg-type]  # what stands under this name
        closed,
        result.event,  # type: ignore[arg-type]
        claim,
        observations,
        (accepted, kept, result, *seen),
    )


def usage_line(evidence: Evidence, signatures: Signatures) -> UsageLine:
    """Recorded, or held with the gravest of its doubts; countersigned either way."""
    accepted, kept, claim = evidence.accepted, evidence.kept, evidence.claim
    doubts = list(_doubts_about_claim(evidence, signatures.pool))
    outputs = () if claim is None else claim.outputs
    # What the device didn't sign for this attempt counts nothing, however well it looks.
    count = Recount(0, ()) if doubts else recount(accepted.spec, outputs, evidence.observations)
    claimed = claimed_pixels(outputs)
    fields: dict[str, Any] = {
        "line": line_id(kept.job, kept.attempt, ONLY_WINDOW),
        "job": kept.job,
        "attempt": kept.attempt,
        "window": ONLY_WINDOW,
        "contributor": kept.contributor,
        "device": kept.device,
        "gpu": kept.gpu,
        "gateway": accepted.gateway,
        "workload": WORKLOAD,
        "unit": UNIT,
        "quantity": min(claimed, count.counted),
        "claimed": claimed,
        "counted": count.counted,
        "price": accepted.price,
        "terms_hash": accepted.terms_hash,
        "result": kept.result,
        "sources": tuple(part.source for part in evidence.parts),
        "receipt": UNSIGNED,
    }
    doubt = gravest((*_doubts_about_payee(kept.contributor), *doubts, *count.doubts))
    if doubt is None:
        return signatures.countersign(UsageRecorded(**fields))
    sentence = doubt.sentence[:SENTENCE_CHARACTERS_MAX]
    return signatures.countersign(UsageHeld(**fields, reason=doubt.reason, sentence=sentence))


def _claim(result: Any) -> JobSucceededClaim | None:
    try:
        claim: JobSucceededClaim = result.claim
    except ValidationError:
        return None
    return claim


def _doubts_about_payee(contributor: str) -> Sequence[Doubt]:
    if _can_be_paid(contributor):
        return ()
    return (Doubt("payee-invalid", f"{contributor} is no address that anything can be paid to."),)


@lru_cache(maxsize=16_384)
def _can_be_paid(contributor: str) -> bool:
    return contributor != ZERO_ADDRESS and is_checksum_address(contributor)


def _doubts_about_claim(evidence: Evidence, pool: str) -> Iterator[Doubt]:
    """Whether the device signed it, for exactly this attempt of this job."""
    kept, result, claim = evidence.kept, evidence.result, evidence.claim
    if not verify_device(
        pool=pool, kind=result.type_name, text=result.payload, device=result.device, signature=result.signature
    ):
        yield Doubt("wrong-signature", "The result does not carry its device's signature, so nothing of it counts.")
    if claim is None:
        yield Doubt("claim-unreadable", "The signed text is no claim of outputs, so there is nothing to count.")
    elif (claim.job, claim.attempt, claim.lease) != (kept.job, kept.attempt, kept.lease):
        yield Doubt(
            "lease-differs",
            f"The result is signed for attempt {claim.attempt} of job {claim.job} under the lease {claim.lease}; "
            f"kept was attempt {kept.attempt} of job {kept.job} under the lease {kept.lease}.",
        )
