"""Who may send jobs, and with which key: from ``registry.gateways.v1``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from millpond.events.registry_gateways import GatewayAdmitted, GatewaySuspended
from millpond.stream.decision import Received


@dataclass(frozen=True, slots=True)
class Admission:
    """A gateway's one valid key, as its SHA-256. ``suspended``: the operator's sentence, or None."""

    key_hash: str
    expires_at: datetime
    suspended: str | None = None


class Gateways:
    """The registry decides; here it is only remembered."""

    def __init__(self) -> None:
        self._admissions: dict[str, Admission] = {}

    def apply(self, received: Received) -> None:
        match received.event:
            case GatewayAdmitted(gateway=gateway, key_hash=key_hash, expires_at=expires_at):
                self._admissions[gateway] = Admission(key_hash, expires_at)
            case GatewaySuspended(gateway=gateway, sentence=sentence) if gateway in self._admissions:
                self._admissions[gateway] = replace(self._admissions[gateway], suspended=sentence)

    def admission(self, gateway: str) -> Admission | None:
        return self._admissions.get(gateway)
