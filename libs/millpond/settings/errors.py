"""What can be wrong with the settings."""

from __future__ import annotations

from millpond.errors import MillpondError


class SettingsInvalid(MillpondError):
    """{settings} can't be read from the environment:
    {problems}
    `millpond settings` lists every variable, its meaning and its value.
    """
