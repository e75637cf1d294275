"""Why a receipt proves nothing, in the order in which it is looked at; and why a key can't be used.

MillpondError
├── ReceiptRefused
│   ├── ReceiptUnreadable
│   ├── WrongCountersignature
│   ├── LineDiffers
│   ├── ClaimMissing
│   ├── ClaimOfAnotherDevice
│   ├── ClaimDiffers
│   ├── WrongClaimSignature
│   ├── ClaimOfAnotherJob
│   └── FiguresDiffer
├── ReceiptKeyMissing
├── ReceiptKeyUnreadable
└── ReceiptKeyExposed
"""

from __future__ import annotations

from millpond.errors import MillpondError


class ReceiptRefused(MillpondError):
    """A receipt does not prove what it says."""


class ReceiptUnreadable(ReceiptRefused):
    """This is no receipt: {field} {problem}. Take the file as the agent stored it, <directory>/receipts/<line>.json."""


class WrongCountersignature(ReceiptRefused):
    """receipt is not the signature of {key} over this line, for the pool {pool!r}.
    Either a field was changed, or the key is another pool's: the pool's terms name its receipt_key.
    """


class LineDiffers(ReceiptRefused):
    """line is {line}, but that of window {window} of attempt {attempt} of job {job} is {expected}. Show it to the operator."""


class ClaimMissing(ReceiptRefused):
    """claim is null: the pool signed this line, but what the device claimed is not in the file.
    Look for result {result} on agent.results.v1.
    """


class ClaimOfAnotherDevice(ReceiptRefused):
    """claim.device is {found}, and the line is about {device}. Put that device's own claim beside the line."""


class ClaimDiffers(ReceiptRefused):
    """The SHA-256 of claim.payload is {found}, and the line counts the result {result}.
    Put the claim beside it that was counted, letter by letter.
    """


class WrongClaimSignature(ReceiptRefused):
    """claim.signature is not that of {device} over the payload, for the pool {pool!r}: the device never said this."""


class ClaimOfAnotherJob(ReceiptRefused):
    """The claim is about attempt {found_attempt} of job {found_job}, the line about attempt {attempt} of job {job}.
    Show both to the operator.
    """


class FiguresDiffer(ReceiptRefused):
    """The device claimed {found} pixels, and the line says that it claimed {claimed}. Show both to the operator."""


class ReceiptKeyMissing(MillpondError):
    """{path} can't be opened: {problem}. Make the key with `millpond receipt key {path}`, or correct the path."""


class ReceiptKeyUnreadable(MillpondError):
    """{path} holds no key: {problem}. Restore the file from its backup; with another key the terms must name the new one."""


class ReceiptKeyExposed(MillpondError):
    """{path} has mode {mode}: others on this machine can sign receipts as the pool. Run: chmod 600 {path}"""
