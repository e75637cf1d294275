"""Why a signed action or a key was refused.

MillpondError
├── ActionRefused
│   ├── UnknownAction
│   ├── MalformedAction
│   ├── SignerNotAllowed
│   ├── MalformedSignature
│   ├── WrongSignature
│   └── NonceTooLow
├── SignInForeign
└── KeyUnavailable
    ├── KeystoreMissing
    ├── KeystoreUnreadable
    ├── PasswordFileExposed
    └── WrongPassword
"""

from __future__ import annotations

from typing import Final

from millpond.errors import MillpondError

# What a stranger wrote is quoted in errors and logs; a megabyte of it would be an attack on their reader.
QUOTED_CHARS_MAX: Final = 120


def quoted(value: object) -> str:
    """``repr(value)``, cut so that it fits in a log line."""
    if isinstance(value, int) and value.bit_length() > QUOTED_CHARS_MAX:
        return f"a number of {value.bit_length()} bits"  # repr() raises above 4,300 digits
    text = ascii(value) if isinstance(value, str) else repr(value)
    return text if len(text) <= QUOTED_CHARS_MAX else f"{text[:QUOTED_CHARS_MAX]}… ({len(text)} characters)"


class ActionRefused(MillpondError):
    """A signed action was refused. If several reasons apply, the first of this module's list is given."""


class UnknownAction(ActionRefused):
    """action is {action}, which this version doesn't know; it knows {known}.
    Upgrade it, or correct the action's name.
    """


class MalformedAction(ActionRefused):
    """{field} of {action} is {value}: {problem}.
    Build the action with the classes of millpond.identity and sign it again.
    """


class SignerNotAllowed(ActionRefused):
    """signer is {signer}, who may not give this pool orders.
    Sign with an operator's key, or add the address to the operators.
    """


class MalformedSignature(ActionRefused):
    """signature is {value}: {problem}. Send 65 bytes r, s, v as lower-case 0x hex, s in the lower half, v 27 or 28."""


class WrongSignature(ActionRefused):
    """signature of {action} is by {recovered}, and signer is {signer}.
    Sign exactly this message, for this pool and chain, with the signer's key.
    """


class NonceTooLow(ActionRefused):
    """nonce is {nonce}, and {last} of the same signer, topic and key was already accepted.
    Sign again with a nonce above {last}.
    """


class SignInForeign(MillpondError):
    """The text to be signed is {found}, which is no sign-in of {address} at {domain}: signed, it could count elsewhere.
    Nothing was signed. Give the pool's own address, as its operator and its page name it.
    """


class KeyUnavailable(MillpondError):
    """A private key could not be loaded."""


class KeystoreMissing(KeyUnavailable):
    """{what} {path} can't be opened: {problem}. Correct the path, or let this user read the file."""


class KeystoreUnreadable(KeyUnavailable):
    """{path} is no keystore (Web3 Secret Storage, version 3): {problem}.
    Give the file that `geth account new` or `cast wallet import` wrote.
    """


class PasswordFileExposed(KeyUnavailable):
    """{path} has mode {mode}: others on this machine can read the password. Run: chmod 600 {path}"""


class WrongPassword(KeyUnavailable):
    """The password in {password_file} does not open {path}.
    Correct the password, or give the password file of this keystore.
    """
