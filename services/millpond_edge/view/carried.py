"""What each wallet has signed that was carried: from ``agent.enrolments.v1``."""

from __future__ import annotations

import asyncio
import hashlib
from weakref import WeakValueDictionary

from millpond.events.agent_enrolments import (
    DeviceDelegated,
    DeviceRevoked,
    EnrolmentAction,
    LeaveAsked,
    enrolment_item,
)
from millpond.stream.database import ItemVerdict
from millpond.stream.decision import Received


class Carried:
    """By the registry's rules of nonces, so that a refusal comes at once; it is the registry that decides.

    A wallet's ``turn`` is held from the question whether something is new until it is noted: of two at once one is first.
    """

    def __init__(self) -> None:
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._content: dict[str, bytes] = {}
        self._highest: dict[str, int] = {}
        self._left: dict[str, int] = {}
        self._delegated: dict[tuple[str, str], int] = {}
        self._revoked: set[tuple[str, str]] = set()

    def apply(self, received: Received) -> None:
        match received.event:
            case DeviceDelegated() | DeviceRevoked() | LeaveAsked() as event:
                self.note(event)

    def note(self, event: EnrolmentAction) -> None:
        """Kafka has it."""
        self._content.setdefault(enrolment_item(event), _content(event))
        nonce, own = nonce_of(event), (event.signer, device_of(event))
        self._highest[event.signer] = max(nonce, self._highest.get(event.signer, -1))
        match event:
            case DeviceDelegated():
                self._delegated[own] = max(nonce, self._delegated.get(own, -1))
            case DeviceRevoked():
                self._revoked.add(own)
            case LeaveAsked():
                self._left[event.signer] = max(nonce, self._left.get(event.signer, -1))

    def turn(self, signer: str) -> asyncio.Lock:
        return self._turns.setdefault(signer, asyncio.Lock())

    def verdict(self, event: EnrolmentAction) -> ItemVerdict:
        """As the topic's readers will judge it: its identity is who signed what under which nonce."""
        known = self._content.get(enrolment_item(event))
        if known is None:
            return "first"
        return "duplicate" if known == _content(event) else "conflict"

    def last_nonce(self, signer: str) -> int:
        """The highest that the wallet has signed anything with; -1 if it has signed nothing."""
        return self._highest.get(signer, -1)

    def must_exceed(self, event: EnrolmentAction) -> int:
        """Nonces rise for each device, since delegations travel to machines that join in any order; and leaving is above all
        that was signed before it. A revocation needs none: done once it can't be undone.
        """
        match event:
            case DeviceDelegated():
                own = (event.signer, device_of(event))
                return max(self._delegated.get(own, -1), self._left.get(event.signer, -1))
            case LeaveAsked():
                return self.last_nonce(event.signer)
            case DeviceRevoked():
                return -1

    def is_revoked(self, signer: str, device: str) -> bool:
        """For ever."""
        return (signer, device) in self._revoked


def nonce_of(event: EnrolmentAction) -> int:
    nonce = event.message.get("nonce")
    # Verified before it was carried; what is no number on the log would be lower than any.
    return nonce if isinstance(nonce, int) else -1


def device_of(event: EnrolmentAction) -> str:
    return str(event.message.get("device"))


def _content(event: EnrolmentAction) -> bytes:
    return hashlib.sha256(event.to_bytes()).digest()
