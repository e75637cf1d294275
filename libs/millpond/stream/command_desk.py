"""Dead letters and the operator's signed commands about them: announced, skipped, readmitted, each once (STREAM 16)."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from millpond.events.deadletters import DeadLettered, ReAdmitted, Resumed, Skipped, Stopped
from millpond.events.event import Event
from millpond.events.operator_commands import OperatorCommanded
from millpond.events.topic import Topic
from millpond.events.topics import OPERATOR_COMMANDS
from millpond.identity import Action, ActionRefused, ReadmitRecord, RecordAction, SkipRecord, check_nonce
from millpond.stream.database import DeadLetter, DeadLetterState, Transaction
from millpond.stream.decision import Received
from millpond.stream.plan import STAMP_MS_MAX, Arrival, Poison, arrive, dead_letter, parsed_headers
from millpond.stream.record import Place, Record

# Kafka's own bounds.
PARTITION_MAX = 2**31 - 1
OFFSET_MAX = 2**63 - 1
# Of a record that is set aside; each costs some bytes of JSON, however empty it is.
HEADERS_MAX = 1_000
CONFLICT_SENTENCE = "An item with this identity but other bytes came before; that one counts, this one is set aside."

Verify = Callable[[OperatorCommanded], Action]


class Announcement(NamedTuple):
    """An event for the service's dead-letter topic; the key is the original record's, which need not be text."""

    key: bytes
    event: Event
    time_ms: int
    partition: int | None


@dataclass(frozen=True, slots=True)
class Handled:
    """What a record that is the library's own business comes down to.

    ``input`` is what the service's rules still get to see: a readmitted event, or a command about something else.
    """

    announcements: tuple[Announcement, ...] = ()
    letters: tuple[DeadLetter, ...] = ()
    refusal: str = ""
    input: Received | None = None


class CommandDesk:
    """Handles ``operator.commands`` and the service's own dead-letter topic within the deciding transaction."""

    def __init__(self, service: str, reads: tuple[Topic, ...], dead_letters: Topic, verify: Verify) -> None:
        self._service = service
        self._reads: Mapping[str, Topic] = {topic.name: topic for topic in reads}
        self._dead_letters = dead_letters
        self._verify = verify
        self.topics = frozenset({OPERATOR_COMMANDS.name, dead_letters.name})

    async def handle(self, transaction: Transaction, arrival: Arrival) -> Handled:
        """Raises nothing: a command that is refused becomes a dead letter that says why."""
        received = arrival.received
        if isinstance(received.event, OperatorCommanded):
            return await self._command(transaction, arrival, received.event)
        if isinstance(received.event, ReAdmitted):
            return await self._readmitted(transaction, received, received.event)
        return Handled()

    def for_rules(self, received: Received) -> Received | None:
        """What the rules may get to see of a record: itself, the original if it is a readmission, or nothing."""
        if received.topic not in self.topics:
            return received
        if isinstance(received.event, ReAdmitted):
            arrival = self._arrive_again(received.event)
            if isinstance(arrival, Poison):
                return None
            return arrival.received._replace(place=received.place, offset=received.offset)
        return received if received.topic in self._reads else None

    def announce(self, letter: DeadLetter, sentence: str) -> Announcement:
        """The event that tells the world about a dead letter, by its state."""
        kinds = {"aside": DeadLettered, "stopped": Stopped, "resumed": Resumed}
        event = kinds[letter.state](**self._facts(letter), reason=letter.reason, sentence=sentence)
        return self._beside(letter, event, _in_calendar(letter.timestamp_ms))

    async def _command(self, transaction: Transaction, arrival: Arrival, command: OperatorCommanded) -> Handled:
        received = arrival.received
        passed_on = received if OPERATOR_COMMANDS.name in self._reads else None
        if command.action not in (SkipRecord.__name__, ReadmitRecord.__name__):
            return Handled(input=passed_on)
        if command.message.get("service") != self._service:
            return Handled()
        try:
            action = self._verify(command)
            assert isinstance(action, SkipRecord | ReadmitRecord)
            check_nonce(await transaction.last_nonce(command.signer, received.topic, received.key), action.nonce)
        except ActionRefused as refusal:
            return self._refused(arrival, str(refusal))
        # A uint256 is more than the database asks about: nothing stands there.
        exists = action.partition <= PARTITION_MAX and action.offset <= OFFSET_MAX
        place = Place(action.topic, action.partition)
        letter = await transaction.find_dead_letter(place, action.offset) if exists else None
        if letter is None or "0x" + letter.content_hash.hex() != action.content_hash:
            return self._refused(
                arrival,
                f"{self._service} has no dead letter {action.topic}[{action.partition}]@{action.offset} with that hash.",
            )
        event, state = self._carried_out(action, command, letter)
        if event is None:
            return self._refused(arrival, f"The dead letter is {letter.state}: there is nothing left to do.")
        await transaction.put_nonce(command.signer, received.topic, received.key, action.nonce)
        await transaction.put_dead_letters([replace(letter, state=state)])
        return Handled(announcements=(self._beside(letter, event, received.stamp_ms),))

    def _carried_out(
        self, action: RecordAction, command: OperatorCommanded, letter: DeadLetter
    ) -> tuple[Event | None, DeadLetterState]:
        facts = {
            **self._facts(letter),
            "reason": letter.reason,
            "sentence": action.reason,
            "signer": command.signer,
            "nonce": action.nonce,
        }
        if isinstance(action, SkipRecord) and letter.state == "stopped":
            return Skipped(**facts), "skipped"
        if isinstance(action, ReadmitRecord) and letter.state in ("aside", "skipped"):
            return ReAdmitted(**facts), "readmitted"
        return None, letter.state

    def _refused(self, arrival: Arrival, why: str) -> Handled:
        return Handled(letters=(dead_letter(arrival.record, "refused_command", "aside"),), refusal=why)

    async def _readmitted(self, transaction: Transaction, received: Received, event: ReAdmitted) -> Handled:
        """The original event, decided here: its place is the readmission's. Poison again goes aside again.

        As an item it must still be the first: its source may have sent it twice, and both may have been readmitted.
        """
        original = original_record(event)
        arrival = self._arrive_again(event)
        if isinstance(arrival, Poison):
            return Handled(letters=(dead_letter(original, arrival.reason, "aside"),), refusal=arrival.sentence)
        verdict = "first" if arrival.item is None else (await transaction.admit([arrival.item]))[0]
        if verdict == "conflict":
            return Handled(letters=(dead_letter(original, "conflict", "aside"),), refusal=CONFLICT_SENTENCE)
        if verdict == "duplicate":
            return Handled()
        return Handled(input=arrival.received._replace(place=received.place, offset=received.offset))

    def _arrive_again(self, event: ReAdmitted) -> Arrival | Poison:
        topic = self._reads.get(event.topic)
        if topic is None:
            return Poison("unknown_type", "The service no longer reads its topic.")
        original = original_record(event)
        return arrive(topic, original, parsed_headers(original))

    def _facts(self, letter: DeadLetter) -> dict[str, object]:
        # A value that doesn't fit stays in the table and at its old place; the event says how large it is.
        fits = len(letter.value or b"") <= self._dead_letters.value_bytes_max // 2
        # A compressed batch may hold megabytes of headers: then they, too, stand at the old place only.
        has_modest_headers = self._is_modest(b"".join(name.encode() + (value or b"") for name, value in letter.headers))
        has_modest_headers &= len(letter.headers) <= HEADERS_MAX
        return {
            "service": self._service,
            "topic": letter.place.topic,
            "partition": letter.place.partition,
            "offset": letter.offset,
            "content_hash": "0x" + letter.content_hash.hex(),
            "key_base64": _base64(letter.key) if self._is_modest(letter.key) else None,
            "value_base64": _base64(letter.value) if fits else None,
            "value_bytes": len(letter.value or b""),
            "headers": tuple((name, _base64(value)) for name, value in letter.headers) if has_modest_headers else (),
            "timestamp_ms": _in_calendar(letter.timestamp_ms),
        }

    def _beside(self, letter: DeadLetter, event: Event, time_ms: int) -> Announcement:
        # The same partition number as the original, where there is one, so that joins by partition still hold.
        partition = letter.place.partition if letter.place.partition < self._dead_letters.partitions else None
        key = letter.key if letter.key is not None and self._is_modest(letter.key) else b""
        return Announcement(key, event, time_ms, partition)

    def _is_modest(self, part: bytes | None) -> bool:
        return len(part or b"") <= self._dead_letters.value_bytes_max // 16


def _in_calendar(timestamp_ms: int) -> int:
    # The record's timestamp may be what is wrong with it; the event about it is written with the nearest that exists.
    return min(max(timestamp_ms, 0), STAMP_MS_MAX)


def _base64(raw: bytes | None) -> str | None:
    return None if raw is None else b64encode(raw).decode()


def original_record(event: ReAdmitted) -> Record:
    """The record that was readmitted, as it stood at its old place."""

    def unpacked(text: str | None) -> bytes | None:
        return None if text is None else b64decode(text)

    return Record(
        topic=event.topic,
        partition=event.partition,
        offset=event.offset,
        key=unpacked(event.key_base64),
        value=unpacked(event.value_base64),
        headers=tuple((name, unpacked(value)) for name, value in event.headers),
        timestamp_ms=event.timestamp_ms,
    )
