"""From an address to a session: a text for the wallet to sign (EIP-4361), and what its signature is worth."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field
from typing import Final

from millpond.identity import ActionRefused, SignIn, verify_sign_in
from millpond_edge.door import Door
from millpond_edge.joining.bodies import SignInOffered, SignInSigned
from millpond_edge.joining.errors import SignatureRefused, SignInUnknown
from millpond_edge.joining.machines import instant
from millpond_edge.joining.sessions import SESSION_MINUTES, new_token, token_hash
from millpond_edge.joining.store import JoiningStore

SIGN_IN_MINUTES: Final = 10


@dataclass(frozen=True, slots=True)
class OpenedSession:
    """``token`` is told to who has signed, and to nobody else ever: only its hash is stored."""

    token: str = field(repr=False)
    contributor: str
    expires_at_ms: int


async def offer_sign_in(door: Door, address: str) -> SignInOffered:
    """The text by which ``address`` says that it is there, now. Raises ``DatabaseAway``."""
    now_ms = door.clock.now_ms()
    expires_at_ms = now_ms + SIGN_IN_MINUTES * 60_000
    own = door.settings.public_url
    sign_in = SignIn(
        domain=own.split("://")[1],
        address=address,
        statement=f"Sign in to the pool {door.domain.pool}. This costs nothing, and moves no money.",
        uri=f"{own}/join",
        chain_id=door.domain.chain_id,
        nonce=secrets.token_hex(16),
        issued_at=instant(now_ms),
        expires_at=instant(expires_at_ms),
    )
    await JoiningStore(door.database).offer(
        sign_in.nonce, contributor=address, text=sign_in.text, expires_at_ms=expires_at_ms, now_ms=now_ms
    )
    return SignInOffered(nonce=sign_in.nonce, text=sign_in.text, contributor=address, expires_at=instant(expires_at_ms))


async def open_session(door: Door, signed: SignInSigned) -> OpenedSession:
    """A session for an hour; a nonce makes one. Raises ``SignInUnknown``, ``SignatureRefused``, ``DatabaseAway``."""
    store, now_ms = JoiningStore(door.database), door.clock.now_ms()
    unknown = SignInUnknown(nonce=signed.nonce, minutes=SIGN_IN_MINUTES)
    offered = await store.offered(signed.nonce, now_ms)
    if offered is None:
        raise unknown
    contributor, text = offered
    try:
        await asyncio.to_thread(verify_sign_in, text, address=contributor, signature=signed.signature)
    except ActionRefused as refused:
        raise SignatureRefused(refused) from refused
    token, expires_at_ms = new_token(), now_ms + SESSION_MINUTES * 60_000
    if not await store.sign_in(
        signed.nonce,
        signature=signed.signature,
        token_hash=token_hash(token),
        expires_at_ms=expires_at_ms,
        now_ms=now_ms,
    ):
        raise unknown
    return OpenedSession(token, contributor, expires_at_ms)
