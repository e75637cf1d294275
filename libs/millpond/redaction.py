"""What must not be printed: recognised by its name or its shape, wherever it turns up."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

MASK: Final = "********"

# Deeper than any event; a structure that nests for ever is cut, not followed.
DEPTH_MAX: Final = 8

_SECRET_NAME: Final = re.compile(
    r"(?i)password|passwd|passphrase|secret|private_?key|mnemonic|seed_phrase|api_?key|authorization|cookie|credential"
    r"|(?:^|_)token(?:$|_)|_token$|(?:^|[a-z_])dsn$"
)
# scheme://user:password@host and scheme://token@host; greedy up to the last @ before the path, as passwords contain @.
_USERINFO: Final = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*://)[^\s/?#\"]+@")
# libpq's other form of a DSN, and query strings.
_ASSIGNMENT: Final = re.compile(r"(?i)(?P<name>\b(?:password|passwd|secret|token|api_?key)=)(?:'[^']*'|[^\s&'\"]+)")


def is_secret_name(name: str) -> bool:
    """Whether a value of this name (``payout_private_key``) is never shown."""
    return _SECRET_NAME.search(name) is not None


def redacted_text(text: str) -> str:
    """``text`` without the user and password of a URL or DSN."""
    return _ASSIGNMENT.sub(rf"\g<name>{MASK}", _USERINFO.sub(rf"\g<scheme>{MASK}@", text))


def redacted(value: Any, depth: int = 0) -> Any:
    """``value`` with what is secret masked, in nested mappings and sequences too; other objects become text."""
    if depth > DEPTH_MAX:
        return "…"
    match value:
        case str():
            return redacted_text(value)
        case Mapping():
            return {
                key: MASK if isinstance(key, str) and is_secret_name(key) else redacted(item, depth + 1)
                for key, item in value.items()
            }
        case list() | tuple() | set() | frozenset():
            return [redacted(item, depth + 1) for item in value]
        case None | bool() | int() | float():
            return value
        case BaseException() | bytes():
            return redacted_text(repr(value))
        case _:
            return redacted_text(str(value))
