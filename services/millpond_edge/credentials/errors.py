"""Why a credential doesn't count. None of these has changed anything anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from millpond_edge.errors import Refusal


class CredentialsMissing(Refusal):
    """The header Authorization is {found}; this route wants {wanted}. Send that."""

    status = 401
    reason = "credentials-missing"
    headers: ClassVar[Mapping[str, str]] = {"www-authenticate": "Bearer, Device"}


class KeyWrong(Refusal):
    """The API key in Authorization is not the one that the pool knows of this gateway. Use the key of the last admission."""

    status = 401
    reason = "key-wrong"


class KeyExpired(Refusal):
    """The API key of the gateway {gateway} expired at {expires_at}. Ask the operator for a new one."""

    status = 401
    reason = "key-expired"


class GatewayIsSuspended(Refusal):
    """The gateway {gateway} is suspended: {sentence} Ask the operator."""

    status = 403
    reason = "gateway-suspended"


class RateExceeded(Refusal):
    """More than {rate:g} requests a second (at once: {burst}) come from this credential or address.
    Wait {wait_s} s, then go on."""

    status = 429
    reason = "rate-exceeded"

    def __init__(self, *, rate: float, burst: int, wait_s: int) -> None:
        super().__init__(rate=rate, burst=burst, wait_s=wait_s)
        self.wait_s = wait_s
        self.headers = {"retry-after": str(wait_s)}  # type: ignore[misc]  # of this very refusal


class SignatureWrong(Refusal):
    """The signature in Authorization is not {device}'s over {signed!r} for the pool {pool}. Sign exactly that text."""

    status = 401
    reason = "signature-wrong"


class SignatureExpired(Refusal):
    """The signature in Authorization is for until {expires}; it is {now} now. Sign anew, for less than {ahead_s_max} s ahead.
    If the clocks differ: GET /pool tells edge's time."""

    status = 401
    reason = "signature-expired"


class DeviceMayNot(Refusal):
    """{sentence}"""

    status = 403

    def __init__(self, *, reason: str, sentence: str) -> None:
        super().__init__(sentence=sentence)
        self.reason = reason  # type: ignore[misc]  # the registry's own word
