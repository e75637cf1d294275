"""The stream library's public face: what the author of a service needs. Its promises are in README.md.

Loaded on first use: rules take ``Decision`` from ``millpond.stream.decision`` and must not bring a Kafka client with them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from millpond.stream.cursor import Cursor, CursorUnreadable
    from millpond.stream.decision import Decision, Input, Outgoing, Received, Tick, Timer
    from millpond.stream.follow import Follow, FollowEnded, FollowState, FollowStopped, FollowStore, NotFollowed
    from millpond.stream.host import HostSettings
    from millpond.stream.kafka.feed import KafkaFeed
    from millpond.stream.kafka.publisher import KafkaPublisher
    from millpond.stream.main import run_service
    from millpond.stream.record import Place
    from millpond.stream.service import Service, StateStore
    from millpond.stream.source import NotAcknowledged, NotObservable, Observed, Source

__all__ = [
    "Cursor",
    "CursorUnreadable",
    "Decision",
    "Follow",
    "FollowEnded",
    "FollowState",
    "FollowStopped",
    "FollowStore",
    "HostSettings",
    "Input",
    "KafkaFeed",
    "KafkaPublisher",
    "NotAcknowledged",
    "NotFollowed",
    "NotObservable",
    "Observed",
    "Outgoing",
    "Place",
    "Received",
    "Service",
    "Source",
    "StateStore",
    "Tick",
    "Timer",
    "run_service",
]

_HOMES: Final = {
    "cursor": ("Cursor", "CursorUnreadable"),
    "decision": ("Decision", "Input", "Outgoing", "Received", "Tick", "Timer"),
    "follow": ("Follow", "FollowEnded", "FollowState", "FollowStopped", "FollowStore", "NotFollowed"),
    "host": ("HostSettings",),
    "kafka.feed": ("KafkaFeed",),
    "kafka.publisher": ("KafkaPublisher",),
    "main": ("run_service",),
    "record": ("Place",),
    "service": ("Service", "StateStore"),
    "source": ("NotAcknowledged", "NotObservable", "Observed", "Source"),
}
_HOME_OF: Final = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    return found


def __dir__() -> list[str]:
    return __all__
