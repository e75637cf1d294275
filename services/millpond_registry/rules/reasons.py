"""Why something was refused or ended: the word is for programs, the sentence for the contributor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# Of a delegation. If several apply, the first is given.
REFUSALS: Final[Mapping[str, str]] = {
    "address-without-checksum": "The wallet's address must be spelt with its checksum (EIP-55): {found} is not {wanted}.",
    "wrong-signature": "The wallet's signature doesn't count: {problem}",
    "no-consent": "The device has not signed that it works for {contributor}. Run on it: millpond agent join",
    "wrong-scope": "The scope is {found!r}; a device can only be given 'work'.",
    "delegation-expired": "The delegation expired at {expires_at}. Let the wallet sign one that is still valid.",
    "expires-too-late": "The delegation ends in a year that no calendar has. Let the wallet sign an earlier end.",
    "revoked": "The wallet has revoked this device, which is for ever: its key may be in other hands. Make a new device key.",
    "not-your-device": "The device works for another contributor. He must revoke it, or leave, before it can work for you.",
    "nonce-too-low": "The nonce is {nonce}, and must be above {last}, which was accepted before. Sign again.",
    "contributor-suspended": "The operator has suspended you; no device is let in until he admits you again.",
}

# Of a contributor who is not in yet.
WAITING: Final[Mapping[str, str]] = {
    "no-terms": "The pool has no terms in force yet. The device is let in by those that come.",
    "no-external-gpus": "The terms say that the pool takes no GPUs of others; only whom the operator approves is let in.",
    "approval": "The operator approves each contributor himself.",
}

# Of a device that no longer counts.
REMOVALS: Final[Mapping[str, str]] = {
    "revoked": "Its contributor's wallet has revoked it, for ever.",
    "expired": "Its delegation has expired. Let the wallet sign a new one: millpond agent join",
    "left": "Its contributor has left the pool.",
}

# Of a GPU that gets no work, besides the removals of its device.
STANDINGS: Final[Mapping[str, str]] = {
    "silent": "No heartbeat for {seconds} s.",
    "said-goodbye": "The agent said goodbye.",
    "not-there": "The device no longer shows this GPU.",
    "leaving": "Its contributor is leaving: it finishes what it runs.",
    "contributor-suspended": "Its contributor is suspended: it finishes what it runs.",
}

# Of hardware that the terms don't take: the field of the terms that says so.
HARDWARE: Final[Mapping[str, str]] = {
    "software_devices": "The pool takes no machines without a GPU.",
    "gpu_models": "The pool doesn't take this model; it takes {models}.",
    "memory_bytes_min": "The pool wants {wanted} bytes of memory, and the card says {found}.",
    "workloads": "The pool has no work of the kinds that this GPU does.",
    "multiple_gpus_per_node": "The pool takes one GPU of a machine, and has another one of this.",
}
