"""What a machine asks before and while it joins: the pool, its own state, a code for the wallet."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter

from millpond.events.fields import Hash32
from millpond.identity import verify_device
from millpond_edge.credentials.devices import SigningDevice
from millpond_edge.credentials.strangers import Stranger
from millpond_edge.door import Door, OpenDoor
from millpond_edge.gateways.bodies import ErrorShown
from millpond_edge.joining.bodies import (
    DelegationSigned,
    DeviceShown,
    EnrolmentAsked,
    EnrolmentMade,
    EnrolmentShown,
    PoolShown,
    TermsShown,
)
from millpond_edge.joining.errors import DeviceForeign, DeviceSignatureWrong, NoSuchCode, TermsMissing
from millpond_edge.joining.store import JoiningStore

CODE_MINUTES = 10
# Nothing that is mistaken for another on a screen, and no vowels: no code is a word.
CODE_LETTERS = "BCDFGHJKLMNPQRSTVWXZ23456789"
CODE_HALF = 4

REFUSALS: dict[int | str, dict[str, Any]] = {status: {"model": ErrorShown} for status in (401, 403, 404, 422, 429, 503)}

router = APIRouter(tags=["machines"], responses=REFUSALS)


@router.get("/pool")
async def get_pool(door: OpenDoor) -> PoolShown:
    """Which pool this is, and edge's time. For everybody."""
    return PoolShown(
        pool=door.domain.pool,
        chain_id=door.domain.chain_id,
        receipt_key=door.settings.receipt_key,
        public_url=door.settings.public_url,
        time=instant(door.clock.now_ms()),
    )


@router.get("/terms")
async def get_terms(door: OpenDoor) -> TermsShown:
    """The pool's latest terms, as the operator signed them. For everybody."""
    latest = door.view.terms.latest
    if latest is None:
        raise TermsMissing(pool=door.domain.pool)
    return TermsShown.model_validate(latest, from_attributes=True)


@router.get("/devices/{device}")
async def get_device(device: Hash32, asking: SigningDevice, door: OpenDoor) -> DeviceShown:
    """How the registry sees the device that asks."""
    if device != asking:
        raise DeviceForeign(asker=asking, device=device, owner="which has a key of its own")
    return device_shown(door, device)


@router.post("/enrolments", status_code=201)
async def post_enrolment(asked: EnrolmentAsked, door: OpenDoor, _: Stranger) -> EnrolmentMade:
    """A machine asks for a code that its contributor's wallet delegates it by. An earlier code of it counts no more."""
    pool = door.domain.pool
    if not verify_device(
        pool=pool, kind="Enrolment", text=asked.device, device=asked.device, signature=asked.signature
    ):
        raise DeviceSignatureWrong(field="signature", device=asked.device, signed=asked.device, pool=pool)
    door.limits.take(asked.device)
    now_ms = door.clock.now_ms()
    expires_at_ms = now_ms + CODE_MINUTES * 60_000
    code = new_code()
    await JoiningStore(door.database).enrol(asked.device, code, expires_at_ms=expires_at_ms, now_ms=now_ms)
    link = f"{door.settings.public_url}/join/{code}"
    return EnrolmentMade(code=code, link=link, expires_at=instant(expires_at_ms))


@router.get("/enrolments/{code}")
async def get_enrolment(code: str, asking: SigningDevice, door: OpenDoor) -> EnrolmentShown:
    """What became of the code, for the machine that it belongs to."""
    found = await JoiningStore(door.database).enrolment(code)
    if found is None or found.device != asking:
        # As if there were none: who guesses learns nothing.
        raise NoSuchCode(code=code[:32])
    if found.delegation is not None:
        delegation = DelegationSigned.model_validate_json(found.delegation)
        return EnrolmentShown(state="delegated", contributor=found.contributor, delegation=delegation)
    return EnrolmentShown(state="waiting" if door.clock.now_ms() < found.expires_at_ms else "expired")


def device_shown(door: Door, device: str) -> DeviceShown:
    standing = door.members.device(device)
    shown = DeviceShown(
        state=standing.state, contributor=standing.contributor, reason=standing.reason, sentence=standing.sentence
    )
    if standing.state == "waiting" and standing.contributor is not None:
        return shown.model_copy(update={"sentence": door.members.contributor_sentence(standing.contributor)})
    why_not = door.members.why_not(device, door.clock.now_ms())
    if standing.state != "registered" or why_not is None:
        return shown
    # A delegation that has run out is as good as none; of a contributor who is suspended the device stays his.
    reason, sentence = why_not
    state = "removed" if reason == "delegation-expired" else shown.state
    return shown.model_copy(update={"state": state, "reason": reason, "sentence": sentence})


def new_code() -> str:
    letters = [secrets.choice(CODE_LETTERS) for _ in range(2 * CODE_HALF)]
    return f"{''.join(letters[:CODE_HALF])}-{''.join(letters[CODE_HALF:])}"


def instant(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, tz=UTC).replace(microsecond=milliseconds % 1000 * 1000)
