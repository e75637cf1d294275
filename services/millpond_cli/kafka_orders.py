"""An order that a service decides on: signed, published, and its answer waited for on that service's own topics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from millpond.errors import MillpondError
from millpond.events.deadletters import DeadLettered
from millpond.events.envelope import CE_TYPE
from millpond.events.event import Event
from millpond.events.operator_commands import OperatorCommanded
from millpond.events.topic import Topic
from millpond.events.topics import OPERATOR_COMMANDS, deadletters
from millpond.identity import Action, Domain, PrivateKey, sign_action
from millpond.settings import KafkaSettings
from millpond.stream.feed import LogAway
from millpond.stream.kafka.log import KafkaLog
from millpond.stream.log import SendFailed
from millpond.stream.outlet import partition_of
from millpond.stream.record import Place, Record
from millpond_cli.commanding import commanded, publish_command
from millpond_cli.kafka_topics import CLUSTER_SECONDS_MAX, KafkaAway

ANSWER_LOOK_S: Final = 0.25

# An action with this nonce.
Order = Callable[[int], Action]


class NoAnswersTopic(MillpondError):
    """There is no topic {topic} on {servers}, so nobody could answer. Run: millpond topics apply"""


@dataclass(frozen=True)
class Given:
    """An order as it stands on the topic, and the service's answer: the event it caused, or why it was refused.

    ``answer`` is None if there was none in time.
    """

    command: OperatorCommanded
    place: Place
    offset: int
    answer: Event | None


@dataclass(frozen=True)
class Operator:
    """Who gives orders: his wallet's key and address, and the pool in which they count."""

    key: PrivateKey
    address: str
    domain: Domain


async def give(
    settings: KafkaSettings, operator: Operator, order: Order, *, subject: str, answers: Topic, wait_s: float
) -> Given:
    """Signs and publishes the order about ``subject``, and waits for the answer of the owner of ``answers`` there.

    Raises ``KafkaAway``, ``NoCommandsTopic``, ``NoAnswersTopic``.
    """
    try:
        async with asyncio.timeout(CLUSTER_SECONDS_MAX + wait_s):
            return await _given(settings, operator, order, subject, answers, wait_s)
    except TimeoutError as cause:
        raise KafkaAway(servers=settings.bootstrap_servers, cause="no answer in time") from cause
    except (LogAway, SendFailed) as cause:
        raise KafkaAway(servers=settings.bootstrap_servers, cause=cause.facts["cause"]) from cause


async def read_topic(settings: KafkaSettings, topic: Topic) -> list[Record]:
    """All that stands on a topic now. Raises ``KafkaAway``, ``NoAnswersTopic``."""
    try:
        async with asyncio.timeout(CLUSTER_SECONDS_MAX):
            return await _Tail(settings, [Place(topic.name, n) for n in range(topic.partitions)]).read()
    except TimeoutError as cause:
        raise KafkaAway(servers=settings.bootstrap_servers, cause="no answer in time") from cause
    except LogAway as cause:
        raise KafkaAway(servers=settings.bootstrap_servers, cause=cause.facts["cause"]) from cause


async def _given(
    settings: KafkaSettings, operator: Operator, order: Order, subject: str, answers: Topic, wait_s: float
) -> Given:
    partition = partition_of(subject.encode(), answers.partitions)
    # A refusal stands on the partition with the number of the command's own.
    refused_on = partition_of(subject.encode(), OPERATOR_COMMANDS.partitions)
    letters = deadletters(answers.owner)
    tail = _Tail(settings, [Place(answers.name, partition), Place(letters.name, refused_on)])
    now_ms = time.time_ns() // 1_000_000
    # Time, so that two machines of one operator need not talk to each other; the service's own word, so that a clock
    # that was ahead once doesn't lock its owner out.
    known = [_nonce(event, operator.address) for event in _events(answers, await tail.read())]
    nonce = max(now_ms, *(each + 1 for each in known if each is not None), 0)
    command = commanded(sign_action(order(nonce), domain=operator.domain, private_key=operator.key))
    place, offset = await publish_command(settings, subject, command, now_ms)
    deadline_s = time.monotonic() + wait_s
    while True:
        records = await tail.read()
        answer = next(
            (event for event in _events(answers, records) if _nonce(event, operator.address) == nonce),
            _refusal(place, offset, _events(letters, records)),
        )
        if answer is not None or time.monotonic() >= deadline_s:
            return Given(command, place, offset, answer)
        await asyncio.sleep(ANSWER_LOOK_S)


class _Tail:
    """What comes to some places, from their beginning on."""

    def __init__(self, settings: KafkaSettings, places: Sequence[Place]) -> None:
        self._servers = settings.bootstrap_servers
        self._log = KafkaLog(settings.client_options())
        self._places = places
        self._next: dict[Place, int] = {}

    async def read(self) -> list[Record]:
        """What has come since the last call."""
        if not self._next:
            for name, count in (await self._log.partitions({place.topic for place in self._places})).items():
                if not count:
                    raise NoAnswersTopic(topic=name, servers=self._servers)
        found: list[Record] = []
        for place, extent in (await self._log.extents(self._places)).items():
            start = max(self._next.get(place, 0), extent.beginning)
            found += [record async for record in self._log.read(place, start, extent.end)]
            self._next[place] = extent.end
        return found


def _events(topic: Topic, records: Iterable[Record]) -> list[Event]:
    """What this version can read of them."""
    events = []
    for record in records:
        if record.topic != topic.name:
            continue
        kind = topic.event_types.get((record.header(CE_TYPE) or b"").decode(errors="replace"))
        if kind is None or record.value is None:
            continue
        try:
            events.append(kind.model_validate_json(record.value))
        except ValidationError:
            continue
    return events


def _nonce(event: Event, signer: str) -> int | None:
    """The nonce of the order that an event answers, if ``signer`` gave it."""
    # Of a transaction, "nonce" is the chain's.
    nonce = getattr(event, "command_nonce", getattr(event, "nonce", None))
    return nonce if isinstance(nonce, int) and getattr(event, "signer", None) == signer else None


def _refusal(place: Place, offset: int, letters: Iterable[Event]) -> DeadLettered | None:
    where = (*place, offset)
    return next(
        (
            letter
            for letter in letters
            if isinstance(letter, DeadLettered) and (letter.topic, letter.partition, letter.offset) == where
        ),
        None,
    )
