"""The pool's terms: what a contributor agrees to, in the open, signed and versioned."""

from millpond.terms.terms import (
    Admission,
    Capability,
    Downtime,
    Hardware,
    Leaving,
    Operation,
    Operator,
    Payout,
    Price,
    Split,
    Terms,
    Work,
    canonical,
    terms_hash,
)
from millpond.terms.terms_file import TermsFileInvalid, read_terms_file

__all__ = [
    "Admission",
    "Capability",
    "Downtime",
    "Hardware",
    "Leaving",
    "Operation",
    "Operator",
    "Payout",
    "Price",
    "Split",
    "Terms",
    "TermsFileInvalid",
    "Work",
    "canonical",
    "read_terms_file",
    "terms_hash",
]
