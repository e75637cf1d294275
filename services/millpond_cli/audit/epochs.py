"""Level 1: each closed epoch once more, from exactly the records of its cut, with the rules that closed it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from millpond.events.chain_revenue import IncomeReconciled, TicketRedeemed
from millpond.events.rewards_epochs import Checkpoint, EpochClosed
from millpond.events.topic import Written
from millpond.events.topics import CHAIN_REVENUE, METERING_USAGE, POOL_TERMS, TOPICS
from millpond.money import Asset
from millpond.proofs.checkpoint import WrongCheckpointSignature, check_signature, closed_hash
from millpond.stream.decision import Received
from millpond.stream.log import Log
from millpond.stream.record import Place, Record
from millpond_cli.audit.cuts import LETTERS, CutPart, Scan, not_continued, scan, scan_observed, scan_readmitted
from millpond_cli.audit.difference import Spot, difference, first_field
from millpond_cli.audit.published import Published, Said
from millpond_cli.audit.reading import Numbers, batches, numbered, observed, read
from millpond_cli.audit.workers import Workers
from millpond_rewards.rules import (
    Closed,
    Inputs,
    LineFold,
    PlaceTally,
    State,
    TermsInForce,
    after_closing,
    after_cut,
    close_epoch,
)
from millpond_rewards.rules.taking_in import taken_in
from millpond_rewards.rules.weights import added

TERMS_PLACE: Final = Place(POOL_TERMS.name, 0)
REVENUE_PLACE: Final = Place(CHAIN_REVENUE.name, 0)


@dataclass
class Books:
    """What one epoch hands to the next. ``state`` holds what rewards' own rules keep of terms and tickets."""

    state: State = field(default_factory=State)
    items: dict[tuple[str, bytes], bytes] = field(default_factory=dict)
    tickets: dict[str, Said[TicketRedeemed]] = field(default_factory=dict)
    reconciled: Said[IncomeReconciled] | None = None
    terms_spots: dict[str, Spot] = field(default_factory=dict)

    def take_in(self, received: Received) -> None:
        record, event = received.record, received.event
        assert record is not None
        self.state = taken_in(self.state, received)
        if isinstance(event, TicketRedeemed) and event.finality == "final":
            self.tickets.setdefault(event.ticket, Said(event, record))
        if isinstance(event, IncomeReconciled):
            self.reconciled = Said(event, record)
        if record.topic == POOL_TERMS.name:
            self.terms_spots[getattr(event, "terms_hash", "")] = Spot(*record.place, record.offset)

    def receipt_keys(self) -> dict[str, str]:
        """By terms' hash, the pool's key that they name."""
        return {offer.terms_hash: offer.terms.receipt_key for offer in self.state.offers}


async def opened_at(log: Log, published: Published, epoch: int) -> Books:
    """The books as ``epoch`` begins, by what was published of those before it, and what it needs of all time."""
    books = Books()
    for number in range(epoch):
        closed = published.closed[number].event
        statements = [said.event for said in published.statements_of(number)]
        books.state = replace(
            books.state,
            opening=after_closing(books.state.opening, closed, statements),
            tallies={**books.state.tallies, **after_cut(closed.cut)},
        )
    numbers: Numbers = {}
    for place, tally in sorted(books.state.tallies.items()):
        topic = TOPICS.get(place.topic)
        if topic is None or (topic.written is not Written.BY_SOURCE and place != TERMS_PLACE):
            continue
        async for batch in batches(log, place, 0, tally.next_offset, lambda _: None):
            due = numbered(batch, numbers, ()) if place == TERMS_PLACE else observed(batch, books.items, ())
            for record in due:
                if place in (TERMS_PLACE, REVENUE_PLACE):
                    books.take_in(read(topic, record))
    return books


def audit_epoch(
    workers: Workers, published: Published, books: Books, epoch: int, passed: Mapping[Place, set[int]]
) -> Books:
    """The books after the epoch. Raises ``Difference`` at the first thing that does not come out."""
    said = published.closed[epoch]
    check_checkpoint(published, epoch)
    if said.event.previous_root != books.state.opening.previous_root:
        raise difference(
            f"Epoch {epoch} does not follow the one before it: the chain of roots is broken.",
            published=f"previous_root {said.event.previous_root}",
            found=f"root {books.state.opening.previous_root}",
            behind=[said.spot],
        )
    scans = _scans(workers, said, books, passed)
    closed = _closed_again(said, books, scans)
    _check_key(published, epoch, books, closed)
    _check_statements(published, epoch, closed)
    _check_closed(said, closed)
    books.state = replace(
        books.state,
        opening=after_closing(books.state.opening, closed.epoch, closed.statements),
        tallies=after_cut(closed.epoch.cut),
        income={},
    )
    return books


def check_checkpoint(published: Published, epoch: int) -> None:
    """That EpochClosed is the record whose hash the checkpoint names: if only one was changed, it is known which."""
    said, checkpoint = published.closed[epoch], published.checkpoints.get(epoch)
    if checkpoint is None:
        raise difference(
            f"Epoch {epoch} has no checkpoint: nobody signed it.",
            published="EpochClosed alone",
            found="EpochClosed and Checkpoint in one transaction",
            behind=[said.spot],
        )
    event = checkpoint.event
    for name, signed, found in (
        ("hash", event.closed, closed_hash(said.record.value or b"")),
        ("root", event.root, said.event.root),
        ("previous root", event.previous_root, said.event.previous_root),
    ):
        if signed != found:
            raise difference(
                f"EpochClosed of epoch {epoch} is not what the checkpoint says: its {name} differs.",
                published=f"checkpoint: {signed}",
                found=f"EpochClosed: {found}",
                behind=[said.spot, checkpoint.spot],
            )


def _check_key(published: Published, epoch: int, books: Books, closed: Closed) -> None:
    """That the checkpoint carries the signature of the key which the epoch's terms name."""
    checkpoint: Said[Checkpoint] = published.checkpoints[epoch]
    terms = next(offer.terms for offer in books.state.offers if offer.terms_hash == closed.epoch.terms_hash)
    try:
        check_signature(checkpoint.event, pool=terms.pool, key=terms.receipt_key)
    except WrongCheckpointSignature as wrong:
        raise difference(
            f"The checkpoint of epoch {epoch} does not carry the pool's signature.",
            published=checkpoint.event.signature,
            found=str(wrong),
            behind=[checkpoint.spot, published.closed[epoch].spot],
        ) from wrong


def _scans(
    workers: Workers, said: Said[EpochClosed], books: Books, passed: Mapping[Place, set[int]]
) -> dict[Place, Scan]:
    tallies = books.state.tallies
    covered = {Place(part.topic, part.partition) for part in said.event.cut}
    for place in tallies:
        if place not in covered:
            raise difference(
                f"The cut of epoch {said.event.epoch} lacks {place}.",
                published="no such part",
                found=f"a part from offset {tallies[place].next_offset} on",
                behind=[said.spot],
            )
    parts = []
    for cut in said.event.cut:
        place = Place(cut.topic, cut.partition)
        before = tallies.get(place, PlaceTally()).opened_anew()
        if cut.start != before.next_offset and place in tallies:
            raise not_continued(cut, before, [said.spot])
        parts.append(CutPart(cut, before, frozenset(passed.get(place, ()))))
    scans: dict[Place, Scan] = {}
    numbered_parts = []
    for part in parts:
        if part.place.topic == LETTERS.name:
            scans[part.place] = workers.one(scan_readmitted, part)
        elif TOPICS[part.place.topic].written is Written.BY_SOURCE:
            scans[part.place] = workers.one(_Observing(books), part)
        else:
            numbered_parts.append(part)
        # First of all: their terms say whose signature lines must carry.
        if part.place == TERMS_PLACE:
            workers.one(_Offering(books), part)
    return scans | {
        part.place: each for part, each in zip(numbered_parts, workers.each(scan, numbered_parts), strict=True)
    }


@dataclass(frozen=True)
class _Observing:
    """Takes in what a source saw. Here and not in another process: which items there were is of all time."""

    books: Books

    async def __call__(self, log: Log, part: CutPart, told: object) -> Scan:
        found, records = await scan_observed(log, part, self.books.items, lambda _: None)
        if part.place == REVENUE_PLACE:
            _take_in(self.books, records)
        return found


@dataclass(frozen=True)
class _Offering:
    """Takes in the terms that were published meanwhile."""

    books: Books

    async def __call__(self, log: Log, part: CutPart, told: object) -> None:
        numbers = {source.encode(): number for source, number in part.before.numbers.items()}
        async for batch in batches(log, part.place, part.cut.start, part.cut.next_offset, lambda _: None):
            _take_in(self.books, list(numbered(batch, numbers, part.passed)))


def _take_in(books: Books, records: list[Record]) -> None:
    for record in records:
        books.take_in(read(TOPICS[record.topic], record))


def _closed_again(said: Said[EpochClosed], books: Books, scans: Mapping[Place, Scan]) -> Closed:
    offer = books.state.offer()
    if offer is None:
        raise difference(
            f"Epoch {said.event.epoch} was closed under terms that are not on their topic.",
            published=f"terms {said.event.terms_version}, {said.event.terms_hash}",
            found="no terms in force",
            behind=[said.spot],
        )
    lines = []
    for partition in range(METERING_USAGE.partitions):
        fold = scans[Place(METERING_USAGE.name, partition)].fold
        again = scans.get(Place(LETTERS.name, partition))
        lines.append(fold if again is None else _joined(fold, again.fold))
    cut = tuple(part for part in said.event.cut)
    force = TermsInForce(offer.version, offer.terms_hash, offer.terms, _own_coin(said.event))
    return close_epoch(books.state.opening, Inputs(cut, lines, books.state.income), force, said.event.as_of)


def _joined(fold: LineFold, again: LineFold) -> LineFold:
    """Readmitted lines count; where they stood among the others only the root would tell."""
    return LineFold(added([fold.work, again.work]), fold.tree)


def _own_coin(closed: EpochClosed) -> str:
    """The chain's own coin, in which income comes: there is a pot of it in every epoch."""
    return next(pot.asset for pot in closed.pots if Asset.parse(pot.asset).contract is None)


def _check_statements(published: Published, epoch: int, closed: Closed) -> None:
    said = published.statements_of(epoch)
    for statement, found in zip(closed.statements, said, strict=False):
        if statement.to_bytes() == found.record.value and found.record.key == statement.contributor.encode():
            continue
        field_ = first_field(found.record.value or b"", statement.to_bytes())
        who = f"{statement.contributor}, {statement.asset}"
        raise difference(
            f"The statement of {who} for epoch {epoch} says something else in {field_.path}.",
            published=f"{field_.path} {field_.published}",
            found=f"{field_.path} {field_.found}",
            behind=[found.spot, published.closed[epoch].spot],
        )
    if len(said) != len(closed.statements):
        missing = closed.statements[len(said) :]
        raise difference(
            f"Epoch {epoch} has {'fewer' if missing else 'more'} statements than it should.",
            published=len(said),
            found=len(closed.statements),
            behind=[each.spot for each in said[len(closed.statements) :]] or [published.closed[epoch].spot],
        )


def _check_closed(said: Said[EpochClosed], closed: Closed) -> None:
    if (published := said.record.value or b"") != closed.epoch.to_bytes():
        field_ = first_field(published, closed.epoch.to_bytes())
        raise difference(
            f"EpochClosed of epoch {said.event.epoch} says something else in {field_.path}.",
            published=field_.published,
            found=field_.found,
            behind=[
                said.spot,
                *(Spot(part.topic, part.partition, part.start) for part in said.event.cut if part.records),
            ],
        )
