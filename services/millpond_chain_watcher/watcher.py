"""One look at the chain after the other: what is new, what has gone, what is final, and whether the sums agree.

Each block is read twice, once when it appears and once when it is final: what a node left out the first time is found the
second time, before it is money.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import structlog

from millpond.chain.answers import Header
from millpond.chain.client import EvmClient
from millpond.errors import MillpondError
from millpond.events.chain_revenue import IncomeUnexplained
from millpond.events.topics import CHAIN_REVENUE
from millpond.stream.database import Lease
from millpond.stream.source import Source
from millpond_chain_watcher.decoding import Watched
from millpond_chain_watcher.reading import ChainReader, Look
from millpond_chain_watcher.rules import (
    LOOKS_AT_A_DIFFERENCE,
    Books,
    News,
    Sighting,
    book,
    finalise,
    is_worth_saying,
    observe,
    orphans,
    reconcile,
    said,
)
from millpond_chain_watcher.store import Progress, Step, WatcherStore

log = structlog.get_logger(__name__)


class FinalBlockVanished(MillpondError):
    """Block {number} was final as {before}, and is {after} now. What was called final isn't: nothing more is said, so that
    nothing is paid. Look at the node first; if the chain itself has broken its word, the pool's books must be reviewed."""


class NotFinalYet(MillpondError):
    """Watching begins behind block {number}, and the chain is final up to {final} only. It begins once that block is final."""


class IncomeDiffers(MillpondError):
    """At block {number}, {found} wei can be claimed instead of {expected}. It is looked at once more before it is said."""


@dataclass(frozen=True)
class _Ends:
    """How far this look goes: observed up to ``last``, final up to ``final``. ``first`` and ``anew``: after a reorganisation
    all that isn't final is read again."""

    first: int
    last: Header
    final: Header
    anew: bool
    is_all: bool


class Watcher:
    """``step`` is one look: read, stored, published."""

    def __init__(
        self,
        *,
        client: EvmClient,
        reader: ChainReader,
        store: WatcherStore,
        source: Source,
        watched: Watched,
        from_block: int,
        range_blocks_max: int,
        now_ms: Callable[[], int],
    ) -> None:
        self._client = client
        self._reader = reader
        self._store = store
        self._source = source
        self._watched = watched
        self._from_block = from_block
        self._range_blocks_max = range_blocks_max
        self._now_ms = now_ms
        self._differences = 0

    async def step(self, lease: Lease) -> bool:
        """Whether there is more to read at once. Whatever it raises, nothing is lost, and the next step begins anew."""
        # First of all: what an earlier life has stored and not got rid of.
        await self._publish()
        progress, known = await self._store.load()
        if progress is None:
            await self._store.apply(lease, await self._opening())
            return True
        ends = await self._ends(progress)
        step = await self._look(progress, known, ends)
        if step is not None:
            await self._store.apply(lease, step)
            await self._publish()
        return not ends.is_all

    async def _opening(self) -> Step:
        number, final = self._from_block - 1, await self._client.header("finalized")
        if final.number < number:
            raise NotFinalYet(number=number, final=final.number)
        header, contracts, fees = await self._reader.opening(number)
        progress = Progress(header.id, header.id, contracts, Books(fees), None)
        log.info("opened", block=header.number, pending_fees_wei=str(fees))
        return Step(progress, (), (), (), self._now_ms())

    async def _ends(self, progress: Progress) -> _Ends:
        """Raises ``FinalBlockVanished``. A node that lacks a block we have seen is not believed: ``BadAnswer``."""
        head, final, seen_now, final_now = await self._client.headers(
            ["latest", "finalized", progress.seen.number, progress.final.number]
        )
        if final_now.hash != progress.final.hash:
            raise FinalBlockVanished(number=final_now.number, before=progress.final.hash, after=final_now.hash)
        anew = seen_now.hash != progress.seen.hash
        first = (progress.final if anew else progress.seen).number + 1
        last = min(head.number, first - 1 + self._range_blocks_max)
        final_last = max(min(final.number, last, progress.final.number + self._range_blocks_max), progress.final.number)
        reached = {head.number: head, final.number: final, seen_now.number: seen_now, final_now.number: final_now}
        missing = sorted({last, final_last} - reached.keys())
        reached |= {header.number: header for header in await self._client.headers(missing)} if missing else {}
        is_all = last == head.number and final_last == max(final.number, progress.final.number)
        return _Ends(first, reached[last], reached[final_last], anew, is_all)

    async def _look(self, progress: Progress, known: dict[str, Sighting], ends: _Ends) -> Step | None:
        """What this look changes; None if nothing does."""
        if ends.last.number < ends.first and ends.final.number == progress.final.number:
            return None
        gone = await self._orphans(known) if ends.anew else []
        for sighting in gone:
            del known[sighting.item]
        fresh = observe(known, await self._sightings(progress, ends.first, ends.last))
        known |= {sighting.item: sighting for sighting in fresh}
        news = [*(said(each, "orphaned") for each in gone), *(said(each, "observed") for each in fresh)]
        after = replace(progress, seen=ends.last.id)
        final: list[Sighting] = []
        if ends.final.number > progress.final.number:
            look = await self._final_look(progress, ends.final)
            final = finalise(known.values(), look.sightings, ends.final.number)
            # What the first look was not shown is said in order all the same.
            missed = observe(known, final)
            news += [*(said(each, "observed") for each in missed), *(said(each, "final") for each in final)]
            after = replace(
                after,
                final=ends.final.id,
                contracts=look.contracts.after(ends.final.number),
                books=book(progress.books, final),
            )
            if ends.is_all:
                after, statements = await self._reconciled(after, ends.final, final)
                news += statements
        await self._reader.check_unmoved(ends.last.id)
        closed = {sighting.item for sighting in (*gone, *final)}
        observed = [sighting for sighting in fresh if sighting.item not in closed]
        return Step(after, observed, closed, news, self._now_ms())

    async def _sightings(self, progress: Progress, first: int, last: Header) -> Sequence[Sighting]:
        if last.number < first:
            return ()
        since = progress.final.number
        return (await self._reader.look(since=since, first=first, last=last.id, contracts=progress.contracts)).sightings

    async def _final_look(self, progress: Progress, final: Header) -> Look:
        since = progress.final.number
        return await self._reader.look(since=since, first=since + 1, last=final.id, contracts=progress.contracts)

    async def _orphans(self, known: dict[str, Sighting]) -> list[Sighting]:
        blocks = {sighting.event.block_number for sighting in known.values()}
        return orphans(known.values(), await self._reader.canonical(blocks))

    async def _reconciled(
        self, after: Progress, at: Header, final: Sequence[Sighting]
    ) -> tuple[Progress, Sequence[News]]:
        """Asks Livepeer, whatever the logs say: a filter that matches nothing looks like a quiet chain (incident 48)."""
        snapshot = await self._reader.snapshot(at, after.contracts)
        verdict = reconcile(snapshot, after.books)
        if isinstance(verdict, IncomeUnexplained):
            self._differences += 1
            if self._differences < LOOKS_AT_A_DIFFERENCE:
                raise IncomeDiffers(number=at.number, found=verdict.found, expected=verdict.expected)
            log.error("income_unexplained", expected_wei=str(verdict.expected), found_wei=str(verdict.found))
        self._differences = 0
        if not is_worth_saying(snapshot, after.books, after.snapshot, final):
            return after, ()
        topic, key = CHAIN_REVENUE.name, self._watched.orchestrator
        figures = snapshot.pending_fees, snapshot.pending_stake, after.books.expected
        return replace(after, snapshot=figures), (News(topic, key, snapshot), News(topic, key, verdict))

    async def _publish(self) -> None:
        """Sends what waits, in order. Sent twice (a crash before it is taken out) it counts once: the items are the same."""
        while rows := await self._store.unsent():
            await self._source.publish([observed for _, observed in rows])
            await self._store.sent([number for number, _ in rows])
