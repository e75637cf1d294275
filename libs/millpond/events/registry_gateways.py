"""``registry.gateways.v1``: who may send jobs. Key: the gateway."""

from __future__ import annotations

from millpond.events.event import Event
from millpond.events.fields import Address, Hash32, Instant
from millpond.events.ids import GatewayId, Sentence
from millpond.events.registry_members import Nonce


class GatewayAdmitted(Event):
    """``key_hash`` is the SHA-256 of the one API key that is valid, until ``expires_at``; an earlier key no longer is.

    ``signer`` and ``nonce``: of the operator's command.
    """

    gateway: GatewayId
    key_hash: Hash32
    expires_at: Instant
    signer: Address | None = None
    nonce: Nonce | None = None


class GatewaySuspended(Event):
    """No new jobs; what was accepted is finished."""

    gateway: GatewayId
    sentence: Sentence
    signer: Address | None = None
    nonce: Nonce | None = None
