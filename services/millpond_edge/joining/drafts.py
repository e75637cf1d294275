"""``/wallet/drafts``: an action as a wallet is to be shown it, with this pool's domain and the next nonce."""

from __future__ import annotations

from typing import assert_never

from fastapi import APIRouter

from millpond.identity import ContributorAction, DelegateDevice, LeavePool, RevokeDevice, typed_data
from millpond_edge.door import Door, OpenDoor
from millpond_edge.joining.bodies import (
    DelegationDraftAsked,
    DepartureDraftAsked,
    Draft,
    DraftAsked,
    RevocationDraftAsked,
)
from millpond_edge.joining.checks import SCOPE
from millpond_edge.joining.sessions import PATH, OwnPage, SignedInSession
from millpond_edge.joining.wallet import REFUSALS, require_open

DAY_S = 86_400

router = APIRouter(prefix=PATH, tags=["the page"], responses=REFUSALS)


@router.post("/drafts")
async def post_draft(asked: DraftAsked, session: SignedInSession, door: OpenDoor, _: OwnPage) -> Draft:
    """An action for the wallet that is signed in. Nothing is remembered: what counts is what comes back signed."""
    action = await _action(door, asked, session.contributor)
    return Draft(
        signer=session.contributor,
        action=type(action).__name__,
        message={**vars(action)},
        typed_data=typed_data(action, domain=door.domain),
    )


async def _action(door: Door, asked: DraftAsked, contributor: str) -> ContributorAction:
    now_ms = door.clock.now_ms()
    # The time, as `millpond delegate` has it; higher still if the wallet signed on a machine whose clock is ahead.
    nonce = max(now_ms, door.view.carried.last_nonce(contributor) + 1)
    match asked:
        case DelegationDraftAsked(code=code, days=days):
            device = (await require_open(door, code)).device
            expires_at = now_ms // 1000 + days * DAY_S
            return DelegateDevice(device=device, scope=SCOPE, expires_at=expires_at, nonce=nonce)
        case RevocationDraftAsked(device=device):
            return RevokeDevice(device=device, nonce=nonce)
        case DepartureDraftAsked():
            return LeavePool(nonce=nonce)
        case _:
            assert_never(asked)
