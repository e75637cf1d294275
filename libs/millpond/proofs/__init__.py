"""What anyone can check without asking the pool: receipts."""

from millpond.proofs.errors import (
    ClaimDiffers,
    ClaimMissing,
    ClaimOfAnotherDevice,
    ClaimOfAnotherJob,
    FiguresDiffer,
    LineDiffers,
    ReceiptKeyExposed,
    ReceiptKeyMissing,
    ReceiptKeyUnreadable,
    ReceiptRefused,
    ReceiptUnreadable,
    WrongClaimSignature,
    WrongCountersignature,
)
from millpond.proofs.receipt import Receipt, canonical_text, check_receipt, countersign
from millpond.proofs.receipt_key import ReceiptKey, load_receipt_key, make_receipt_key

__all__ = [
    "ClaimDiffers",
    "ClaimMissing",
    "ClaimOfAnotherDevice",
    "ClaimOfAnotherJob",
    "FiguresDiffer",
    "LineDiffers",
    "Receipt",
    "ReceiptKey",
    "ReceiptKeyExposed",
    "ReceiptKeyMissing",
    "ReceiptKeyUnreadable",
    "ReceiptRefused",
    "ReceiptUnreadable",
    "WrongClaimSignature",
    "WrongCountersignature",
    "canonical_text",
    "check_receipt",
    "countersign",
    "load_receipt_key",
    "make_receipt_key",
]
