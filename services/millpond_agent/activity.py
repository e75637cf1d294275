"""What the agent is doing, for whoever looks at it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from millpond.events.device_claims import Gpu, GpuLoad
from millpond_agent.jobs import Track
from millpond_agent.session import Figures

MESSAGES_MAX: Final = 50

Tone = Literal["plain", "good", "bad"]


@dataclass(frozen=True)
class Message:
    """``at``: in this machine's time zone."""

    at: datetime
    text: str
    tone: Tone


@dataclass
class Activity:
    """Changed by the agent, read by a view. ``expected_frames`` of the last job is the guess for the next."""

    pool: str
    edge: str
    device: str
    contributor: str | None
    figures: Figures
    connection: str = "connecting"
    is_connected: bool = False
    is_leaving: bool = False
    gpus: Sequence[Gpu] = ()
    loads: Mapping[str, GpuLoad] = field(default_factory=dict)
    running: dict[str, Track] = field(default_factory=dict)
    frames_of_last: int | None = None
    messages: deque[Message] = field(default_factory=lambda: deque(maxlen=MESSAGES_MAX))
    listeners: list[Callable[[Message], None]] = field(default_factory=list)

    def tell(self, text: str, tone: Tone = "plain") -> None:
        """A sentence for the contributor. What was said last is not said again."""
        # Some of it was written by strangers, and goes to a terminal: no escape sequences, one line.
        text = "".join(letter if letter.isprintable() else " " for letter in text)
        if self.messages and self.messages[-1].text == text:
            return
        message = Message(datetime.now().astimezone(), text, tone)
        self.messages.append(message)
        for listener in self.listeners:
            listener(message)

    def tell_bad(self, text: str) -> None:
        self.tell(text, "bad")
