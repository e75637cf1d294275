"""Who ordered what: operator actions signed by a wallet (EIP-712), and the keys that sign them."""

from millpond.identity.actions import ACTIONS, Action, ReadmitRecord, SkipRecord
from millpond.identity.errors import (
    ActionRefused,
    KeystoreMissing,
    KeystoreUnreadable,
    KeyUnavailable,
    MalformedAction,
    MalformedSignature,
    NonceTooLow,
    PasswordFileExposed,
    SignerNotAllowed,
    UnknownAction,
    WrongPassword,
    WrongSignature,
)
from millpond.identity.keystore import PrivateKey, load_keystore
from millpond.identity.signing import Domain, Signed, SignedAction, check_nonce, sign_action, typed_data, verify_action

__all__ = [
    "ACTIONS",
    "Action",
    "ActionRefused",
    "Domain",
    "KeyUnavailable",
    "KeystoreMissing",
    "KeystoreUnreadable",
    "MalformedAction",
    "MalformedSignature",
    "NonceTooLow",
    "PasswordFileExposed",
    "PrivateKey",
    "ReadmitRecord",
    "Signed",
    "SignedAction",
    "SignerNotAllowed",
    "SkipRecord",
    "UnknownAction",
    "WrongPassword",
    "WrongSignature",
    "check_nonce",
    "load_keystore",
    "sign_action",
    "typed_data",
    "verify_action",
]
