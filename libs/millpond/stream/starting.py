"""Before anything is read or sent: do the database and the log still belong together? (STREAM 13)"""

from __future__ import annotations

from collections.abc import Sequence

from millpond.errors import MillpondError
from millpond.events.topic import Topic
from millpond.stream.database import Database, RelayProgress
from millpond.stream.log import Log
from millpond.stream.record import OUTBOX, OutboxNumber, Place


class DatabaseBehind(MillpondError):
    """{place} holds number {found} of {service}, but the highest in its database is {highest}: the database was restored
    from a backup. It must not decide again what is published. Run: millpond rebuild {service}"""


class LogBehind(MillpondError):
    """{place} ends at offset {end}, but {service} has had records acknowledged up to {stored}: the log lost its tail.
    Nothing is sent until it is complete. Run: millpond topics resend {service}"""


class TopicsDiffer(MillpondError):
    """{service} needs topics as the table says, but found: {differences}. Run: millpond topics apply"""


async def check_topics(service: str, topics: Sequence[Topic], log: Log) -> None:
    """A missing topic would be waited for in silence; another partition count breaks joins. Raises ``TopicsDiffer``."""
    found = await log.partitions([topic.name for topic in topics])
    wrong = [
        f"{topic.name} has {found[topic.name]} partitions, not {topic.partitions}"
        if found[topic.name]
        else f"{topic.name} is missing"
        for topic in topics
        if found[topic.name] != topic.partitions
    ]
    if wrong:
        raise TopicsDiffer(service=service, differences="; ".join(wrong))


def output_places(writes: Sequence[Topic]) -> list[Place]:
    return [Place(topic.name, partition) for topic in writes for partition in range(topic.partitions)]


async def check_published(
    service: str, writes: Sequence[Topic], database: Database, log: Log
) -> dict[Place, RelayProgress]:
    """What of this service's is on the log, per output partition. Raises ``DatabaseBehind``, ``LogBehind``, ``LogAway``."""
    stored = await database.relay_progress()
    found: dict[Place, RelayProgress] = {}
    for place, extent in (await log.extents(output_places(writes))).items():
        known = stored.get(place, RelayProgress(0, 0))
        if extent.end < known.next_offset:
            raise LogBehind(service=service, place=place, end=extent.end, stored=known.next_offset)
        last = known.last_number
        async for record in log.read(place, max(known.next_offset, extent.beginning), extent.end):
            last = max(last, own_number(service, record.header(OUTBOX)))
        if last:
            found[place] = RelayProgress(extent.end, last)
    # Asked after the log: whatever is on the log had been committed before, by us or by an instance beside us.
    highest = await database.outbox_end()
    for place, progress in found.items():
        if progress.last_number > highest:
            raise DatabaseBehind(service=service, place=place, found=progress.last_number, highest=highest)
    return found


def own_number(service: str, header: bytes | None) -> int:
    """The outbox number of a record that ``service`` itself has published, else 0."""
    if header is None:
        return 0
    try:
        outbox = OutboxNumber.from_header(header)
    except ValueError:
        return 0
    return outbox.number if outbox.source == service else 0
