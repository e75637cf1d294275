"""Why somebody doesn't join, or is not let do what he asks. None of these has put anything on a topic."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar, Final

from millpond.identity import ActionRefused, MalformedAction, MalformedSignature, NonceTooLow, WrongSignature
from millpond_edge.errors import Refusal


class NoSuchCode(Refusal):
    """There is no code {code} here: it was mistyped, is another machine's, was replaced by a newer one, or is long over.
    `millpond agent join` shows a new one."""

    status = 404
    reason = "no-such-code"


class CodeExpired(Refusal):
    """The code {code} has expired: each is good for {minutes} minutes. `millpond agent join` shows a new one."""

    status = 410
    reason = "code-expired"


class CodeUsed(Refusal):
    """The code {code} was used: {contributor} has delegated that machine. `millpond agent join --again` shows a new one."""

    status = 409
    reason = "code-used"


class DeviceSignatureWrong(Refusal):
    """{field} is not {device}'s signature over {signed!r} for the pool {pool}. Sign exactly that with the device's key."""

    status = 401
    reason = "signature-wrong"


class DeviceForeign(Refusal):
    """{asker} has no say about the device {device}, {owner}. Only who it belongs to may do that."""

    status = 403
    reason = "device-foreign"


class DeviceIsRevoked(Refusal):
    """{contributor} has revoked the device {device}, and that is for ever. Give the machine a new key: move its device.key away,
    then run `millpond agent join` again."""

    status = 409
    reason = "revoked"


class ScopeUnknown(Refusal):
    """scope is {scope!r}, and a device is delegated for {known!r} only. Sign again with that scope."""

    status = 422
    reason = "scope-unknown"


class DelegationRunsOut(Refusal):
    """expires_at is {expires_at}: it must lie between now ({now}) and the year 9999, in Unix seconds. Sign again."""

    status = 422
    reason = "delegation-expired"


class ContributorUnknown(Refusal):
    """{contributor} is not in this pool, so there is nothing to leave. Sign with the wallet that delegated the devices."""

    status = 404
    reason = "contributor-unknown"


class SignInUnknown(Refusal):
    """The sign-in {nonce} was not offered here, was signed before, or is over: each is good for {minutes} minutes, once.
    Ask for a new one."""

    status = 401
    reason = "sign-in-unknown"


class NotSignedIn(Refusal):
    """No session: {credential} is {found}. Sign in with the wallet."""

    status = 401
    reason = "not-signed-in"


class OriginForeign(Refusal):
    """Origin is {origin}, and this is for the pool's own page at {own} only. Open that page."""

    status = 403
    reason = "origin-foreign"


class NotTheSigner(Refusal):
    """{signer} signed it, but {contributor} is signed in. Choose one account in the wallet, and sign in with it."""

    status = 403
    reason = "not-the-signer"


class TermsMissing(Refusal):
    """The pool {pool} has not published its terms yet. Ask the operator."""

    status = 404
    reason = "terms-missing"


class NoSuchPage(Refusal):
    """There is no file {name} of the pages."""

    status = 404
    reason = "no-such-page"


STATUS: Final[Mapping[type[ActionRefused], int]] = {
    MalformedAction: 422,
    MalformedSignature: 422,
    WrongSignature: 401,
    NonceTooLow: 409,
}


class SignatureRefused(Refusal):
    """{sentence}"""

    # Of each refusal its own, by what was wrong with the signed action.
    status: ClassVar[int] = 422

    def __init__(self, refused: ActionRefused) -> None:
        super().__init__(sentence=str(refused))
        self.status = STATUS.get(type(refused), 422)  # type: ignore[misc]
        self.reason = re.sub("(?<!^)(?=[A-Z])", "-", type(refused).__name__).lower()  # type: ignore[misc]
