"""Epochs as they were closed once, with all they were closed from. Made by ``python -m rewards.recorded_epochs``, once.

``records.jsonl``: what stood on the inputs, a record a line. ``published.jsonl``: what rewards said.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from millpond.events.chain_revenue import TicketRedeemed
from millpond.events.event import Event
from millpond.events.pool_terms import TermsPublished
from millpond.events.rewards_epochs import EpochClosed, PartitionCut
from millpond.events.rewards_statements import StatementIssued
from millpond.events.topics import CHAIN_REVENUE, METERING_USAGE, POOL_TERMS, TOPICS
from millpond.money import Asset
from millpond.stream.record import Place, Record
from millpond.terms import Terms
from millpond_rewards.rules import (
    Closed,
    Inputs,
    LineFold,
    Opening,
    PlaceTally,
    TermsInForce,
    close_epoch,
    cut_of,
    fold_records,
)

FOLDER = Path(__file__).parent / "recorded"


@dataclass(frozen=True)
class RecordedEpoch:
    """``published``: EpochClosed and its statements, byte for byte."""

    name: str
    records: tuple[Record, ...]
    closed: EpochClosed
    published: tuple[bytes, ...]

    def __str__(self) -> str:
        return f"{self.name}-{self.closed.epoch}"


def recorded_epochs() -> Iterator[RecordedEpoch]:
    for folder in sorted(each for each in FOLDER.iterdir() if each.is_dir()):
        records = tuple(_read(json.loads(text)) for text in (folder / "records.jsonl").read_text().splitlines())
        said = [json.loads(text) for text in (folder / "published.jsonl").read_text().splitlines()]
        for each in said:
            if each["type"] == EpochClosed.type_name:
                closed = EpochClosed.model_validate_json(each["value"])
                statements = [s["value"] for s in said if s["epoch"] == closed.epoch and s is not each]
                values = (each["value"], *statements)
                yield RecordedEpoch(folder.name, records, closed, tuple(value.encode() for value in values))


def recompute(epoch: RecordedEpoch, opening: Opening) -> Closed:
    """From the records of its cut, as an audit does it: nothing of the service's own state is used."""
    covered = {Place(part.topic, part.partition): range(part.start, part.next_offset) for part in epoch.closed.cut}
    due = [record for record in epoch.records if record.offset in covered[record.place]]
    folds = [LineFold() for _ in range(METERING_USAGE.partitions)]
    inputs = Inputs(_cut(epoch, due, folds), folds, _income(due))
    return close_epoch(opening, inputs, _terms(epoch), epoch.closed.as_of)


def _cut(epoch: RecordedEpoch, due: Sequence[Record], folds: Sequence[LineFold]) -> tuple[PartitionCut, ...]:
    tallies = {}
    for part in epoch.closed.cut:
        before = [r for r in epoch.records if r.place == (part.topic, part.partition) and r.offset < part.start]
        tally = PlaceTally()
        for record in before:
            tally = tally.with_record(record, record.offset)
        tallies[Place(part.topic, part.partition)] = tally.opened_anew()
    for place, tally in tallies.items():
        fold = folds[place.partition] if place.topic == METERING_USAGE.name else LineFold()
        tallies[place] = fold_records(tally, fold, [record for record in due if record.place == place])
    return cut_of(tallies)


def _income(due: Iterable[Record]) -> dict[str, int]:
    income: dict[str, int] = {}
    for record in due:
        event = event_of(record) if record.topic == CHAIN_REVENUE.name else None
        if isinstance(event, TicketRedeemed) and event.finality == "final":
            asset = str(Asset(event.chain_id))
            income[asset] = income.get(asset, 0) + event.amount
    return income


def _terms(epoch: RecordedEpoch) -> TermsInForce:
    for record in epoch.records:
        event = event_of(record) if record.topic == POOL_TERMS.name else None
        if isinstance(event, TermsPublished) and event.terms_hash == epoch.closed.terms_hash:
            terms = Terms.model_validate_json(event.document)
            return TermsInForce(event.version, event.terms_hash, terms, epoch.closed.pots[0].asset)
    raise AssertionError("the terms are not among the records")


def event_of(record: Record) -> Event:
    return TOPICS[record.topic].event_types[_kind(record)].model_validate_json(record.value or b"")


def _kind(record: Record) -> str:
    return (record.header("ce_type") or b"").decode()


def _read(row: dict) -> Record:  # type: ignore[type-arg]
    headers = tuple((name, value.encode()) for name, value in row["headers"])
    place = (row["topic"], row["partition"], row["offset"])
    return Record(*place, row["key"].encode(), row["value"].encode(), headers, row["timestamp_ms"])


def _row(record: Record) -> str:
    headers = [[name, (value or b"").decode()] for name, value in record.headers]
    return json.dumps(
        {
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "key": (record.key or b"").decode(),
            "headers": headers,
            "timestamp_ms": record.timestamp_ms,
            "value": (record.value or b"").decode(),
        }
    )


def record(name: str) -> None:
    """Five epochs: two prices and a remainder, held work, no income, no work, other terms, nobody to pay."""
    from rewards.story import ANN, BEN, CAT, Story, commission, line, terms, ticket

    story = Story().tell(terms(split=commission(70_001)))
    story.tell(line(ANN, 1_000_003, number=1), line(BEN, 999, number=2, wei=7, per_units=13))
    story.tell(line(CAT, 5_760_000, number=3, held="count-differs"), ticket(10**18 + 7, number=1)).close()
    story.tell(line(ANN, 40, number=4), line(CAT, 2, number=5, held="unreadable")).close()
    story.tell(line(BEN, 61, number=6), ticket(2**70 + 1, number=2), ticket(1, number=3, finality="observed"))
    story.tell(terms(2, effective_from_epoch=3, split=commission(333_333))).close()
    story.tell(ticket(12_345, number=4)).close()
    story.tell(line("0x" + "00" * 20, 3, number=7), line(CAT, 4, number=8), ticket(99, number=5)).close()
    folder = FOLDER / name
    folder.mkdir(parents=True)
    records = [each for _, rows in sorted(story.logs.items()) for each in rows]
    (folder / "records.jsonl").write_text("".join(_row(each) + "\n" for each in records))
    kept = [out.event for out in story.said if isinstance(out.event, EpochClosed | StatementIssued)]
    rows = [{"type": e.type_name, "epoch": e.epoch, "value": e.to_bytes().decode()} for e in kept]
    (folder / "published.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    record("proportional_1")
