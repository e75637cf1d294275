"""Signing in with a wallet (EIP-4361): the text that it shows, and whether it was signed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from eth_account.messages import encode_defunct

from millpond.identity.errors import WrongSignature
from millpond.identity.signing import recover, signature_bytes


@dataclass(frozen=True, kw_only=True)
class SignIn:
    """What is said with a signature: ``address`` (with checksum) is at the page ``uri`` of ``domain`` now.

    ``domain`` is host and port: a wallet warns if it is not the page's own. ``statement`` is one line of ASCII, ``nonce``
    at least 8 letters or digits.
    """

    domain: str
    address: str
    statement: str
    uri: str
    chain_id: int
    nonce: str
    issued_at: datetime
    expires_at: datetime

    @property
    def text(self) -> str:
        """EIP-4361, in its only spelling: who signs in gets the text from us, so nobody's text is ever parsed."""
        return "\n".join(
            (
                f"{self.domain} wants you to sign in with your Ethereum account:",
                self.address,
                "",
                self.statement,
                "",
                f"URI: {self.uri}",
                "Version: 1",
                f"Chain ID: {self.chain_id}",
                f"Nonce: {self.nonce}",
                f"Issued At: {_seconds(self.issued_at)}",
                f"Expiration Time: {_seconds(self.expires_at)}",
            )
        )


def verify_sign_in(text: str, *, address: str, signature: str) -> None:
    """Whether ``address`` signed exactly ``text`` (EIP-191, ``personal_sign``).

    Raises ``MalformedSignature`` or ``WrongSignature``. Whether text and nonce are ours, and still count, the caller knows.
    """
    recovered = recover(encode_defunct(text=text), signature_bytes(signature))
    if recovered != address:
        raise WrongSignature(action="SignIn", recovered=recovered or "nobody", signer=address)


def _seconds(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
