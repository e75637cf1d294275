"""Level 2: each usage line decided again, by metering's own rules, from the records that it names."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from millpond.events.envelope import CE_TYPE
from millpond.events.metering_usage import UsageHeld, UsageLine, UsageRecorded
from millpond.events.topics import METERING_USAGE, TOPICS
from millpond.proofs.receipt import is_countersigned
from millpond.stream.decision import Received
from millpond.stream.log import Log
from millpond.stream.plan import Poison, decode
from millpond.stream.record import Place, Record
from millpond.terms import Terms
from millpond_cli.audit.difference import Difference, Spot, difference, first_field, spot_of
from millpond_cli.audit.reading import Told, batches
from millpond_metering.rules import Job, Part
from millpond_metering.rules.line import Evidence, Signatures, gathered, usage_line
from millpond_metering.rules.parts import part_name

# Sources that are further apart than this are read one by one: what lies between is not.
APART_MAX: Final = 20_000


@dataclass(frozen=True)
class LinesPart:
    """Lines whose sources stand in one partition of the joined topics. ``terms`` by their hash."""

    lines: tuple[Record, ...]
    terms: Mapping[str, Terms]


async def check_lines(log: Log, part: LinesPart, told: Told) -> None:
    """Raises ``Difference`` for the first line that does not come out."""
    lines = [(record, _line(record)) for record in part.lines]
    sources = await _sources(log, {Spot(s.topic, s.partition, s.offset) for _, line in lines for s in line.sources})
    for record, line in lines:
        terms = part.terms.get(line.terms_hash)
        if terms is None:
            raise difference(
                f"Line {line.line} follows terms that are not on {TOPICS['pool.terms.v1'].name}.",
                published=line.terms_hash,
                found=", ".join(part.terms),
                behind=[spot_of(record)],
            )
        check_line(record, line, sources, terms)
    told(len(lines))


def check_line(record: Record, line: UsageLine, sources: Mapping[Spot, Record], terms: Terms) -> None:
    """That the pool signed it, and that its sources, its terms and metering's rules give exactly it."""
    check_countersigned(record, line, terms)
    evidence = _evidence(record, line, sources)
    price = terms.price(line.workload)
    agreed = evidence.accepted.price
    if price is None or (agreed.unit, agreed.wei, agreed.per_units) != (price.unit, price.wei, price.per_units):
        raise difference(
            f"Job {line.job} was accepted at another price than that of its terms.",
            published=agreed,
            found=price,
            behind=[spot_of(record), *_spots(line)],
        )
    # Only the pool can sign: whether this is its signature has been looked at above.
    again = usage_line(
        evidence, Signatures(terms.pool, lambda unsigned: unsigned.model_copy(update={"receipt": line.receipt}))
    )
    if (record.value, type(line), record.key) != (again.to_bytes(), type(again), again.contributor.encode()):
        field = first_field(record.value or b"", again.to_bytes())
        raise difference(
            f"Line {line.line} does not follow from its sources: {field.path} differs.",
            published=f"{type(line).__name__} to {record.key!r}: {field.published}",
            found=f"{type(again).__name__} to {again.contributor}: {field.found}",
            behind=[spot_of(record), *_spots(line)],
        )


def check_countersigned(record: Record, line: UsageLine, terms: Terms) -> None:
    fields = json.loads(record.value or b"")
    if not is_countersigned(fields, kind=line.type_name, pool=terms.pool, key=terms.receipt_key):
        raise difference(
            f"Line {line.line} does not carry the pool's signature: a field was changed after it was countersigned.",
            published=f"receipt {line.receipt}",
            found=f"no signature of {terms.receipt_key} over this line",
            behind=[spot_of(record)],
        )


def first_unsigned(records: Iterable[Record], terms: Mapping[str, Terms]) -> Difference | None:
    """Of lines of which one was changed: which one, if the pool's signatures can tell."""
    for record in records:
        if not is_line(record):
            continue
        try:
            line = _line(record)
            if line.terms_hash in terms:
                check_countersigned(record, line, terms[line.terms_hash])
        except Difference as found:
            return found
    return None


def is_line(record: Record) -> bool:
    return record.header(CE_TYPE) in _LINES


_LINES: Final = {UsageRecorded.type_name.encode(), UsageHeld.type_name.encode()}


def _line(record: Record) -> UsageLine:
    found = decode(METERING_USAGE, record)
    if isinstance(found, Poison) or not isinstance(found.event, UsageRecorded | UsageHeld):
        raise difference(
            "A usage line can't be read.",
            published=record.value,
            found=found.sentence if isinstance(found, Poison) else type(found.event).__name__,
            behind=[spot_of(record)],
        )
    return found.event


def _evidence(record: Record, line: UsageLine, sources: Mapping[Spot, Record]) -> Evidence:
    job = Job()
    for spot in _spots(line):
        received = _received(record, line, spot, sources)
        name = part_name(received.event)
        if name is None or received.key != line.job:
            raise difference(
                f"Line {line.line} names a record that says nothing about it.",
                published=f"source {spot}",
                found=f"{type(received.event).__name__} of {received.key}",
                behind=[spot_of(record), spot],
            )
        job = job.having(name, Part.of(received))
    evidence = gathered(job)
    if evidence is None:
        raise difference(
            f"The sources of line {line.line} make no line: the kept result, or a look at one of its outputs, is not "
            "among them.",
            published=f"{len(line.sources)} sources for result {line.result}",
            found=", ".join(sorted(job.parts)),
            behind=[spot_of(record), *_spots(line)],
        )
    return evidence


def _received(record: Record, line: UsageLine, spot: Spot, sources: Mapping[Spot, Record]) -> Received:
    topic, source = TOPICS.get(spot.topic), sources.get(spot)
    found = None if topic is None or source is None else decode(topic, source)
    if isinstance(found, Received):
        return found
    raise difference(
        f"A source of line {line.line} is not there, or can't be read.",
        published=f"source {spot}",
        found="no record" if found is None else found.sentence,
        behind=[spot_of(record), spot],
    )


def _spots(line: UsageLine) -> list[Spot]:
    return [Spot(source.topic, source.partition, source.offset) for source in line.sources]


async def _sources(log: Log, wanted: Iterable[Spot]) -> dict[Spot, Record]:
    """The records at these spots; what is not there is not in the answer."""
    by_place: dict[Place, list[int]] = {}
    for spot in wanted:
        by_place.setdefault(Place(spot.topic, spot.partition), []).append(spot.offset)
    extents = await log.extents(by_place)
    found: dict[Spot, Record] = {}
    for place, offsets in by_place.items():
        kept = extents[place]
        within = sorted(offset for offset in offsets if kept.beginning <= offset < kept.end)
        chosen = set(within)
        for first, last in _runs(within):
            async for batch in batches(log, place, first, last + 1, lambda _: None):
                found |= {spot_of(record): record for record in batch if record.offset in chosen}
    return found


def _runs(offsets: list[int]) -> Iterable[tuple[int, int]]:
    start = previous = offsets[0] if offsets else 0
    for offset in offsets:
        if offset - previous > APART_MAX:
            yield start, previous
            start = offset
        previous = offset
    if offsets:
        yield start, previous
