"""What all settings have in common, and the reading of the environment."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeVar, get_args

from pydantic import AliasChoices, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

from millpond.redaction import MASK, redacted_text
from millpond.settings.errors import SettingsInvalid

PREFIX: Final = "MILLPOND_"

# Kubernetes tells every pod of every service beside it: MILLPOND_EDGE_SERVICE_HOST=…, MILLPOND_EDGE_PORT=tcp://….
_KUBERNETES_LINK: Final = re.compile(
    r"_SERVICE_HOST=|_SERVICE_PORT(?:_[A-Z0-9_]+)?=|_PORT=(?:tcp|udp)://|_PORT_\d+_(?:TCP|UDP)(?:_(?:PROTO|PORT|ADDR))?="
)


class Settings(BaseSettings):
    """Settings of one concern, read once where a program is wired and passed on as arguments.

    An empty variable counts as unset. Each field has a description, since that is the documentation.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True, populate_by_name=True)

    # Who reads these settings, for the table of `millpond settings`.
    used_by: ClassVar[str] = ""


S = TypeVar("S", bound=Settings)


@dataclass(frozen=True)
class Variable:
    """One setting, as the operator meets it. ``names``: the first is ours, the others are honoured if it is unset."""

    names: tuple[str, ...]
    meaning: str
    default: str | None
    secret: bool
    used_by: str

    @property
    def name(self) -> str:
        return self.names[0]

    def current(self, environ: Mapping[str, str]) -> str | None:
        """What the environment says, masked if it is secret; None if it says nothing."""
        value = next((environ[name] for name in self.names if environ.get(name)), None)
        if value is None:
            return None
        return MASK if self.secret else redacted_text(value)


def load(kind: type[S]) -> S:
    """The settings of the environment. Raises ``SettingsInvalid``, which lists all that is wrong with them."""
    try:
        return kind()
    except ValidationError as error:
        problems = [_problem(kind, details) for details in error.errors(include_url=False)]
        # Without its cause: pydantic's text quotes the values, and one of them may be a password.
        raise SettingsInvalid(settings=kind.__name__, problems="\n".join(problems)) from None


def variables(kind: type[Settings]) -> Iterator[Variable]:
    """The variables of ``kind``, in the order of its fields."""
    for name, field in kind.model_fields.items():
        yield Variable(
            names=_names(kind, name),
            meaning=field.description or "",
            default=_default(field),
            secret=_is_secret(field),
            used_by=kind.used_by,
        )


def unknown_variables(
    kinds: Sequence[type[Settings]], environ: Mapping[str, str] | None = None
) -> dict[str, str | None]:
    """``MILLPOND_*`` variables that none of ``kinds`` reads, each with the known name nearest to it: likely typos."""
    environ = os.environ if environ is None else environ
    known = {name for kind in kinds for variable in variables(kind) for name in variable.names}
    unknown = sorted(name for name in environ if name.startswith(PREFIX) and name not in known)
    # Compared without the prefix, which would make everything look alike.
    tails = {name.removeprefix(PREFIX): name for name in known}
    nearest = {name: difflib.get_close_matches(name.removeprefix(PREFIX), tails, n=1) for name in unknown}
    return {
        name: tails[nearest[name][0]] if nearest[name] else None
        for name in unknown
        if not _KUBERNETES_LINK.search(f"{name}={environ[name]}")
    }


def _names(kind: type[Settings], field: str) -> tuple[str, ...]:
    alias = kind.model_fields[field].validation_alias
    if isinstance(alias, AliasChoices):
        return tuple(str(choice) for choice in alias.choices)
    return (f"{kind.model_config['env_prefix']}{field}".upper(),)


def _default(field: FieldInfo) -> str | None:
    """The default as one would write it in the environment; None if the variable is required."""
    if field.is_required():
        return None
    match field.default:
        case None | ():
            return ""
        case tuple() as items:
            return ",".join(map(str, items))
        case value:
            return str(value)


def _is_secret(field: FieldInfo) -> bool:
    return field.annotation is SecretStr or SecretStr in get_args(field.annotation)


def _problem(kind: type[Settings], details: Any) -> str:
    message = details["msg"].removeprefix("Value error, ")
    if not details["loc"]:  # of several fields together: the message names them
        return f"- {message}"
    # The place is a field's name, or one of its aliases; which variable gave the value, only the environment tells.
    place = str(details["loc"][0])
    field = next(field for field in kind.model_fields if place == field or place in _names(kind, field))
    info = kind.model_fields[field]
    name = next((name for name in _names(kind, field) if os.environ.get(name)), _names(kind, field)[0])
    if details["type"] == "missing":
        return f"- {name} is not set. Set it: {info.description}"
    value = MASK if _is_secret(info) else redacted_text(repr(details["input"]))
    return f"- {name} is {value}: {message}. It means: {info.description}"
