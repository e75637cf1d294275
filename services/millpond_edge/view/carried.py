"""What each wallet has signed that was carried: from ``agent.enrolments.v1``."""

from __future__ import annotations

from millpond.events.agent_enrolments import DeviceDelegated, DeviceRevoked, EnrolmentAction, LeaveAsked
from millpond.stream.decision import Received


class Carried:
    """Of each wallet the action with the highest nonce. The registry decides; here a refusal only comes sooner."""

    def __init__(self) -> None:
        self._last: dict[str, EnrolmentAction] = {}

    def apply(self, received: Received) -> None:
        match received.event:
            case DeviceDelegated() | DeviceRevoked() | LeaveAsked() as event:
                self.note(event)

    def note(self, event: EnrolmentAction) -> None:
        """Kafka has it."""
        last = self.last_nonce(event.signer)
        if last is None or nonce_of(event) > last:
            self._last[event.signer] = event

    def last(self, signer: str) -> EnrolmentAction | None:
        return self._last.get(signer)

    def last_nonce(self, signer: str) -> int | None:
        last = self._last.get(signer)
        return None if last is None else nonce_of(last)


def nonce_of(event: EnrolmentAction) -> int:
    nonce = event.message.get("nonce")
    # Verified before it was carried; what is no number on the log would be lower than any.
    return nonce if isinstance(nonce, int) else -1
