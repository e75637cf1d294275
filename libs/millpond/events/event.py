"""What every event has in common: frozen, strict about its own fields, tolerant of those a newer writer added."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict


class Event(BaseModel):
    """Something that happened, as it stands on a topic. The value of a record is its JSON.

    A version of an event only grows, by fields with defaults; anything else is a new topic version (DESIGN 5).
    Integers that count money are decimal strings in JSON; see ``millpond.events.fields``.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    # What ``ce_type`` says; the class name, unless a class must keep an older name.
    type_name: ClassVar[str] = "Event"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "type_name" not in cls.__dict__:
            cls.type_name = cls.__name__

    def to_bytes(self) -> bytes:
        """The bytes of the record's value."""
        return self.__pydantic_serializer__.to_json(self)
