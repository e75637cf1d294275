"""The root of Millpond's errors."""

from __future__ import annotations

import inspect


class MillpondError(Exception):
    """An unexpected Millpond error."""

    def __init__(self, **facts: object) -> None:
        # A subclass's docstring is its message: what happened, with facts, and the remedy.
        self.facts = facts
        super().__init__(inspect.cleandoc(type(self).__doc__ or "").format_map(facts))

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.facts))


def _rebuild(kind: type[MillpondError], facts: dict[str, object]) -> MillpondError:
    return kind(**facts)
