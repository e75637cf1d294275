"""The audit: epoch by epoch, level by level, until everything has come out, or the first thing has not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from millpond.events.rewards_epochs import EpochClosed
from millpond.events.topics import METERING_USAGE
from millpond.stream.log import Log
from millpond.stream.record import Place
from millpond.terms import Terms
from millpond_cli.audit import LEVELS
from millpond_cli.audit.completeness import Attempts, audit_lines, mark_earlier
from millpond_cli.audit.cuts import LETTERS, CutDiffers
from millpond_cli.audit.difference import difference
from millpond_cli.audit.epochs import Books, audit_epoch, opened_at
from millpond_cli.audit.lines import first_unsigned
from millpond_cli.audit.logs import OpenLog
from millpond_cli.audit.orders import check_orders
from millpond_cli.audit.published import NothingClosed, Published, published_on
from millpond_cli.audit.reading import Told, batches, passed_over
from millpond_cli.audit.settled import Settled, check_slots, settled_on
from millpond_cli.audit.workers import Workers, processes_for


@dataclass(frozen=True)
class Audited:
    """What came out. ``epochs``: those that were computed again; ``books``: as they stand after the last of them."""

    published: Published
    settled: Settled
    books: Books
    epochs: range
    levels: int
    terms: Mapping[int, Terms] = field(default_factory=dict)

    @property
    def closed(self) -> list[EpochClosed]:
        return [self.published.closed[epoch].event for epoch in self.epochs]


@dataclass(frozen=True)
class Plan:
    """``epoch``: the only one to be audited; None: all that are closed. ``where``: what is audited, for people.

    ``key``: the pool's, if the auditor has it from elsewhere; None: as the terms say. ``processes``: None: as is worth it.
    """

    where: str
    epoch: int | None = None
    levels: int = LEVELS
    key: str | None = None
    processes: int | None = None


def run_audit(open_log: OpenLog, plan: Plan, told: Told = lambda _: None, sized: Told = lambda _: None) -> Audited:
    """Raises ``Difference`` at the first; ``NothingClosed``, and what the log raises. ``sized`` hears how many there are."""
    with Workers(open_log, told) as workers:
        published = workers.ask(published_on)
        epochs = _epochs(published, plan)
        records = _records(published, epochs)
        workers.processes = plan.processes or processes_for(records)
        sized(records)
        passed = workers.ask(lambda log: passed_over(log, LETTERS))
        books = workers.ask(lambda log: opened_at(log, published, epochs.start))
        attempts = _attempts(workers, published, epochs.start) if plan.levels > 1 else Attempts()
        terms: dict[int, Terms] = {}
        for epoch in epochs:
            try:
                books = audit_epoch(workers, published, books, epoch, passed)
            except CutDiffers as error:
                raise _pinpointed(workers, published, books, epoch, error) from None
            by_hash = {offer.terms_hash: offer.terms for offer in books.state.offers}
            terms[epoch] = by_hash[published.closed[epoch].event.terms_hash]
            if plan.key is not None and terms[epoch].receipt_key != plan.key:
                raise difference(
                    f"The terms of epoch {epoch} name another key than the pool's.",
                    published=terms[epoch].receipt_key,
                    found=plan.key,
                    behind=[books.terms_spots[published.closed[epoch].event.terms_hash]],
                )
            if plan.levels > 1:
                audit_lines(workers, published, epoch, attempts, by_hash)
        settled = workers.ask(settled_on)
    check_slots(published, settled)
    check_orders(published, epochs, terms, settled.leaving, settled.unpaid)
    return Audited(published, settled, books, epochs, plan.levels, terms)


def _epochs(published: Published, plan: Plan) -> range:
    if not published.closed:
        raise NothingClosed(what="No epoch has been closed", where=plan.where)
    last = max(published.closed)
    if plan.epoch is None:
        missing = [number for number in range(last) if number not in published.closed]
        if missing:
            raise NothingClosed(what=f"Epoch {missing[0]} is missing below {last}", where=plan.where)
        return range(last + 1)
    if plan.epoch not in published.closed:
        raise NothingClosed(what=f"Epoch {plan.epoch} has not been closed", where=plan.where)
    return range(plan.epoch, plan.epoch + 1)


def _records(published: Published, epochs: range) -> int:
    return sum(cut.next_offset - cut.start for epoch in epochs for cut in published.closed[epoch].event.cut)


def _attempts(workers: Workers, published: Published, first: int) -> Attempts:
    attempts = Attempts()
    if first == 0:
        return attempts
    before = published.closings.get(first - 1)
    for topic, ends in ({} if before is None else before.event.ends).items():
        attempts.read |= {Place(topic, partition): end for partition, end in enumerate(ends)}

    async def mark(log: Log) -> None:
        await mark_earlier(log, published.closed[first - 1], attempts)

    workers.ask(mark)
    return attempts


def _pinpointed(workers: Workers, published: Published, books: Books, epoch: int, error: CutDiffers) -> Exception:
    """Of lines the pool's signatures tell which one was changed; of anything else the cut says only where it stood."""
    terms = {offer.terms_hash: offer.terms for offer in books.state.offers}

    async def look(log: Log) -> Exception | None:
        for cut in published.closed[epoch].event.cut:
            if cut.topic != METERING_USAGE.name or f"{cut.topic}[{cut.partition}]@" not in str(error.facts["behind"]):
                continue
            async for batch in batches(
                log, Place(cut.topic, cut.partition), cut.start, cut.next_offset, lambda _: None
            ):
                if found := first_unsigned(batch, terms):
                    return found
        return None

    return workers.ask(look) or error
