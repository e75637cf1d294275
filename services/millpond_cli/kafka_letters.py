"""Dead letters on a real cluster: read them, publish the operator's command about one, wait for the service's answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from millpond.errors import MillpondError
from millpond.events.deadletters import DeadLetterEvent
from millpond.events.operator_commands import OperatorCommanded
from millpond.identity import Domain, PrivateKey, sign_action
from millpond.settings import KafkaSettings
from millpond.stream.feed import LogAway
from millpond.stream.kafka.log import KafkaLog
from millpond.stream.log import LogEndsBefore, RecordsExpired, SendFailed
from millpond.stream.record import Place, Record, content_hash
from millpond_cli.commanding import commanded, publish_command
from millpond_cli.kafka_topics import CLUSTER_SECONDS_MAX, KafkaAway
from millpond_cli.letters import CommandName, Letter, Standing, answer_to, fold_letters, next_nonce, order

ANSWER_LOOK_S: Final = 0.25


class NoDeadLetters(MillpondError):
    """There is no topic {topic} on {servers}: no service {service!r} has run there. `millpond topics list` names them."""


class NoSuchLetter(MillpondError):
    """{service} has no dead letter {standing}. `millpond deadletters list {service}` shows those it has."""


class NothingToOrder(MillpondError):
    """The dead letter {standing} of {service} is {state}, so it can't be {wanted}. {instead}"""


@dataclass(frozen=True)
class Ordered:
    """A command as it stands on the topic, and what the service said to it; None if it has not answered in time."""

    command: OperatorCommanded
    at: Standing
    answer: DeadLetterEvent | None


class Letters:
    """The dead letters of services on one cluster. Raises ``NoDeadLetters`` for a service that has no such topic."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._log = KafkaLog(settings.client_options())

    async def existing(self, services: Sequence[str]) -> list[str]:
        """Those of the services that have a dead-letter topic."""
        counts = await self._log.partitions([_topic(service) for service in services])
        return [service for service in services if counts[_topic(service)]]

    async def of(self, service: str) -> dict[Standing, Letter]:
        return fold_letters(await self._records(service))

    async def find(self, service: str, standing: Standing) -> Letter:
        """Raises ``NoSuchLetter``."""
        letter = (await self.of(service)).get(standing)
        if letter is None:
            raise NoSuchLetter(service=service, standing=standing)
        return letter

    async def value(self, letter: Letter) -> bytes | None:
        """The original's value, from its old place if it was too large for the dead letter; None if it is gone there."""
        if not letter.value_is_elsewhere:
            return letter.value
        standing = letter.standing
        try:
            place = Place(standing.topic, standing.partition)
            async for record in self._log.read(place, standing.offset, standing.offset + 1):
                if "0x" + content_hash(record.key, record.value).hex() == letter.event.content_hash:
                    return record.value
        except (RecordsExpired, LogEndsBefore):
            return None
        return None

    async def order(
        self,
        name: CommandName,
        service: str,
        standing: Standing,
        *,
        reason: str,
        key: PrivateKey,
        signer: str,
        domain: Domain,
        wait_s: float,
    ) -> Ordered:
        """Signs and publishes the command, and waits for the answer. Raises ``NoSuchLetter`` and ``NothingToOrder``."""
        records = await self._records(service)
        letter = fold_letters(records).get(standing)
        if letter is None:
            raise NoSuchLetter(service=service, standing=standing)
        if letter.command != name:
            raise _nothing_to_order(name, service, letter)
        seen = await self._ends(service)
        now_ms = time.time_ns() // 1_000_000
        action = order(name, letter, reason=reason, nonce=next_nonce(records, signer=signer, now_ms=now_ms))
        command = commanded(sign_action(action, domain=domain, private_key=key))
        place, offset = await publish_command(self._settings, service, command, now_ms)
        answer = await self._answer(service, command, (place, offset), seen, wait_s)
        return Ordered(command, Standing(*place, offset), answer)

    async def _answer(
        self,
        service: str,
        command: OperatorCommanded,
        published_at: tuple[Place, int],
        seen: dict[Place, int],
        wait_s: float,
    ) -> DeadLetterEvent | None:
        deadline_s = time.monotonic() + wait_s
        while True:
            answer = answer_to(command, published_at, await self._records(service, seen))
            if answer is not None or time.monotonic() >= deadline_s:
                return answer
            await asyncio.sleep(ANSWER_LOOK_S)

    async def _records(self, service: str, start: dict[Place, int] | None = None) -> list[Record]:
        ends = await self._ends(service)
        extents = await self._log.extents(list(ends))
        return [
            record
            for place, extent in extents.items()
            async for record in self._log.read(place, max((start or {}).get(place, 0), extent.beginning), extent.end)
        ]

    async def _ends(self, service: str) -> dict[Place, int]:
        topic = _topic(service)
        count = (await self._log.partitions([topic]))[topic]
        if not count:
            raise NoDeadLetters(topic=topic, service=service, servers=self._settings.bootstrap_servers)
        extents = await self._log.extents([Place(topic, partition) for partition in range(count)])
        return {place: extent.end for place, extent in extents.items()}


@asynccontextmanager
async def letters_on(settings: KafkaSettings, *, seconds_max: float = CLUSTER_SECONDS_MAX) -> AsyncIterator[Letters]:
    """The dead letters on the cluster that ``settings`` name. Raises ``KafkaAway`` when nobody answers there."""
    try:
        async with asyncio.timeout(seconds_max):
            yield Letters(settings)
    except TimeoutError as cause:
        raise KafkaAway(servers=settings.bootstrap_servers, cause="no answer in time") from cause
    except (LogAway, SendFailed) as cause:
        raise KafkaAway(servers=settings.bootstrap_servers, cause=cause.facts["cause"]) from cause


def _topic(service: str) -> str:
    # Of any service, also of one that is newer than this command: so not looked up in the table.
    return f"{service}.deadletters.v1"


def _nothing_to_order(name: CommandName, service: str, letter: Letter) -> NothingToOrder:
    instead = {
        "stopped": "A partition waits at it: skip it first, or fix the reader.",
        "aside": "The service went on behind it already; it can be readmitted.",
        "skipped": "The service went on behind it already; it can be readmitted.",
        "readmitted": "It has a new place, where it was decided.",
        "resumed": "It was applied where it stands.",
    }
    wanted = {"skip": "skipped", "readmit": "readmitted"}[name]
    return NothingToOrder(
        standing=letter.standing, service=service, state=letter.state, wanted=wanted, instead=instead[letter.state]
    )
