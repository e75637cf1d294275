"""Why an operator's order that is signed as it should be is not carried out.

OrderRefused
├── OtherSubject
├── NoTermsYet
├── AlreadyIn
├── AlreadySuspended
├── NotAGateway
├── KeyExpires
├── NoGateway
└── TermsRefused
"""

from __future__ import annotations

from millpond.errors import MillpondError


class OrderRefused(MillpondError):
    """An order was refused; nothing has changed."""


class OtherSubject(OrderRefused):
    """The record's key is {key!r}, and the order is about {subject!r}. Publish it under the key it is about."""


class NoTermsYet(OrderRefused):
    """The pool has no terms in force, so nobody can agree to them. Run: millpond terms publish FILE"""


class AlreadyIn(OrderRefused):
    """{contributor} is {state}: there is nothing to approve."""


class AlreadySuspended(OrderRefused):
    """{subject} is suspended already: there is nothing to suspend."""


class NotAGateway(OrderRefused):
    """The gateway id {gateway!r} can't be part of a topic's name: 1 to 64 of a-z, 0-9 and -, not - first."""


class KeyExpires(OrderRefused):
    """The key's end is {expires_at} (Unix seconds), which is past, or in no calendar. Admit the gateway with a later end."""


class NoGateway(OrderRefused):
    """There is no gateway {gateway!r}: none was ever admitted under this name."""


class TermsRefused(OrderRefused):
    """The terms were not published: {problem}"""
