"""Signing in with a wallet (EIP-4361): the text that it shows, and whether it was signed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from eth_account import Account
from eth_account.messages import encode_defunct

from millpond.identity.errors import SignInForeign, WrongSignature, quoted
from millpond.identity.keystore import PrivateKey
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
                *_greeting(self.domain, self.address),
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


def sign_sign_in(text: str, *, domain: str, private_key: PrivateKey) -> str:
    """The signature that a wallet gives for ``text``, if it is a sign-in of this key's address at ``domain``.

    A program looks, as a wallet does: at any other domain the signature would sign somebody else in as us. Raises
    ``SignInForeign``.
    """
    account = Account.from_key(bytes(private_key))
    if text.split("\n")[:3] != list(_greeting(domain, account.address)):
        raise SignInForeign(domain=domain, address=account.address, found=quoted(text))
    return "0x" + bytes(account.sign_message(encode_defunct(text=text)).signature).hex()


def verify_sign_in(text: str, *, address: str, signature: str) -> None:
    """Whether ``address`` signed exactly ``text`` (EIP-191, ``personal_sign``).

    Raises ``MalformedSignature`` or ``WrongSignature``. Whether text and nonce are ours, and still count, the caller knows.
    """
    recovered = recover(encode_defunct(text=text), signature_bytes(signature))
    if recovered != address:
        raise WrongSignature(action="SignIn", recovered=recovered or "nobody", signer=address)


def _greeting(domain: str, address: str) -> tuple[str, str, str]:
    return f"{domain} wants you to sign in with your Ethereum account:", address, ""


def _seconds(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
