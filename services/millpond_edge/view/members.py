"""Who may work: devices, for whom, until when. From ``agent.enrolments.v1`` (asked) and ``registry.members.v1`` (decided)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from millpond.events.agent_enrolments import DeviceDelegated, DeviceRevoked, EnrolmentAction
from millpond.events.registry_members import (
    ContributorAdmitted,
    ContributorDraining,
    ContributorLeft,
    ContributorSuspended,
    ContributorWaits,
    DeviceRefused,
    DeviceRegistered,
    DeviceRemoved,
)
from millpond.stream.decision import Received

DeviceState = Literal["unknown", "waiting", "registered", "refused", "removed"]
ContributorState = Literal["unknown", "waiting", "admitted", "suspended", "draining", "left"]


@dataclass(frozen=True, slots=True)
class Standing:
    """How a device stands. ``delegation``: SHA-256 of the DeviceDelegated that counts, if it is registered."""

    state: DeviceState
    contributor: str | None = None
    delegation: str | None = None
    expires_at: datetime | None = None
    reason: str | None = None
    sentence: str | None = None


UNKNOWN = Standing("unknown")
REVOKED = "Its contributor's wallet has revoked it."


@dataclass(frozen=True, slots=True)
class _Said:
    """A word on a device, and its stamp (Unix milliseconds)."""

    standing: Standing
    stamp_ms: int


class Members:
    """The registry decides; here it is only remembered. One that was asked in and not yet answered *waits*.

    Two things don't wait for the registry, since edge has verified the signature: a revocation by the contributor for whom
    the device works ends that at once, and what Kafka has acknowledged here (``note``) counts before it is read.
    """

    def __init__(self) -> None:
        self._decided: dict[str, _Said] = {}
        self._asked: dict[str, _Said] = {}
        # By device and contributor, when the wallet took its rights away.
        self._revoked: dict[tuple[str, str], int] = {}
        self._devices: dict[str, set[str]] = {}
        self._contributors: dict[str, tuple[ContributorState, str | None]] = {}

    def apply(self, received: Received) -> None:
        """One record of either topic."""
        match received.event:
            case DeviceDelegated() | DeviceRevoked() as event:
                self.note(event, received.stamp_ms)
            case DeviceRegistered(contributor=contributor, device=device) as event:
                standing = Standing("registered", contributor, event.delegation, event.expires_at)
                self._decided[device] = _Said(standing, received.stamp_ms)
                self._devices.setdefault(contributor, set()).add(device)
            case DeviceRefused(contributor=contributor, device=device, reason=reason, sentence=sentence):
                # As the registry means it: a delegation that is refused takes nothing from a device that works already.
                before = self._decided.get(device)
                if before is None or before.standing.state != "registered":
                    standing = Standing("refused", contributor, reason=reason, sentence=sentence)
                    self._decided[device] = _Said(standing, received.stamp_ms)
            case DeviceRemoved(contributor=contributor, device=device, reason=reason, sentence=sentence):
                standing = Standing("removed", contributor, reason=reason, sentence=sentence)
                self._decided[device] = _Said(standing, received.stamp_ms)
            case ContributorWaits(contributor=contributor, sentence=sentence):
                self._contributors[contributor] = ("waiting", sentence or None)
            case ContributorAdmitted(contributor=contributor):
                self._contributors[contributor] = ("admitted", None)
            case ContributorSuspended(contributor=contributor, sentence=sentence):
                self._contributors[contributor] = ("suspended", sentence)
            case ContributorDraining(contributor=contributor):
                self._contributors[contributor] = ("draining", None)
            case ContributorLeft(contributor=contributor):
                self._contributors[contributor] = ("left", None)
            case _:
                # A sign-in, a leave: the registry's answer to it is what counts.
                return

    def note(self, event: EnrolmentAction, stamp_ms: int) -> None:
        """What a wallet signed is on the topic, with this stamp."""
        device = str(event.message.get("device"))
        match event:
            case DeviceDelegated(signer=contributor):
                self._asked[device] = _Said(Standing("waiting", contributor), stamp_ms)
                self._devices.setdefault(contributor, set()).add(device)
            case DeviceRevoked(signer=contributor):
                before_ms = self._revoked.get((device, contributor), stamp_ms)
                self._revoked[device, contributor] = max(before_ms, stamp_ms)

    def devices_of(self, contributor: str) -> tuple[str, ...]:
        """All that the contributor ever asked in, as long as they are no other's."""
        devices = self._devices.get(contributor, ())
        return tuple(sorted(device for device in devices if self.device(device).contributor == contributor))

    def device(self, device: str) -> Standing:
        """As the registry has decided; *waiting* since a later delegation was asked for; *removed* once revoked."""
        said = self._said_of(device)
        standing = said.standing
        revoked_ms = self._revoked.get((device, standing.contributor or ""))
        if revoked_ms is not None and said.stamp_ms <= revoked_ms and standing.state != "refused":
            return Standing("removed", standing.contributor, reason="revoked", sentence=REVOKED)
        return standing

    def _said_of(self, device: str) -> _Said:
        decided, asked = self._decided.get(device), self._asked.get(device)
        if decided is None:
            return _Said(UNKNOWN, -1) if asked is None else asked
        if asked is not None and decided.standing.state != "registered" and asked.stamp_ms > decided.stamp_ms:
            return asked
        return decided

    def contributor(self, contributor: str) -> ContributorState:
        return self._contributors.get(contributor, ("unknown", None))[0]

    def contributor_sentence(self, contributor: str) -> str | None:
        """Why the contributor waits, or is suspended; None if there is nothing to say."""
        return self._contributors.get(contributor, ("unknown", None))[1]

    def works_for(self, device: str, now_ms: int) -> str | None:
        """The contributor for whom the device may work now; None if it may not: see ``why_not``."""
        return None if self.why_not(device, now_ms) else self.device(device).contributor

    def why_not(self, device: str, now_ms: int) -> tuple[str, str] | None:
        """Reason and sentence why the device may not work now; None if it may. One that drains still finishes its work."""
        standing = self.device(device)
        if standing.state != "registered":
            said = standing.sentence or "It has no delegation that counts. Join with: millpond agent join"
            return f"device-{standing.state}", f"The device {device} is {standing.state}. {said}"
        assert standing.contributor is not None
        assert standing.expires_at is not None
        if standing.expires_at <= datetime.fromtimestamp(now_ms / 1000, tz=UTC):
            return "delegation-expired", (
                f"The delegation of the device {device} expired at {standing.expires_at.isoformat()}. "
                "Let the wallet delegate it anew: millpond agent join"
            )
        state, said_of_contributor = self._contributors.get(standing.contributor, ("unknown", None))
        if state in ("suspended", "left"):
            said = said_of_contributor or "A new delegation, or the operator, lets it in again."
            return f"contributor-{state}", f"The contributor {standing.contributor} is {state}. {said}"
        return None
