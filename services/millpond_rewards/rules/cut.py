"""Where an epoch ends: of every partition that rewards reads, how far it had decided, and a hash of what it had seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Final

from millpond.events.rewards_epochs import PartitionCut
from millpond.proofs.merkle import leaf_hash
from millpond.stream.record import OUTBOX, OutboxNumber, Place, Record

NO_RECORDS: Final = b"\x00" * 32


@dataclass(frozen=True, slots=True)
class PlaceTally:
    """One partition since the last cut. Offsets ``start`` (included) to ``next_offset``; see ``PartitionCut``."""

    start: int = 0
    next_offset: int = 0
    records: int = 0
    records_hash: bytes = NO_RECORDS
    numbers: Mapping[str, int] = field(default_factory=dict)

    def with_record(self, record: Record, offset: int) -> PlaceTally:
        """``offset``: where it was decided. A readmitted record is hashed as it stood at its first place."""
        numbers = self.numbers
        header = record.header(OUTBOX)
        if header is not None:
            outbox = OutboxNumber.from_header(header)
            numbers = {**numbers, outbox.source: max(outbox.number, numbers.get(outbox.source, 0))}
        leaf = leaf_hash(record.value or b"")
        running = hashed_on(self.records_hash, record.offset, record.key or b"", leaf, header or b"")
        return PlaceTally(self.start, offset + 1, self.records + 1, running, numbers)

    def opened_anew(self) -> PlaceTally:
        """What the next epoch begins with."""
        return replace(self, start=self.next_offset, records=0, records_hash=NO_RECORDS)


def hashed_on(running: bytes, offset: int, key: bytes, leaf: bytes, outbox: bytes) -> bytes:
    """The hash over one record more. ``leaf``: the value's ``leaf_hash``, which a line's tree needs anyway.

    A length stands before the key, so that key and header can't be taken for each other.
    """
    return sha256(
        b"".join((running, offset.to_bytes(8, "big"), leaf, len(key).to_bytes(8, "big"), key, outbox))
    ).digest()


def cut_of(tallies: Mapping[Place, PlaceTally]) -> tuple[PartitionCut, ...]:
    """In the order of topics and partitions."""
    return tuple(
        PartitionCut(
            topic=place.topic,
            partition=place.partition,
            start=tally.start,
            next_offset=tally.next_offset,
            records=tally.records,
            records_hash="0x" + tally.records_hash.hex(),
            numbers=dict(sorted(tally.numbers.items())),
        )
        for place, tally in sorted(tallies.items())
    )


def after_cut(cut: tuple[PartitionCut, ...]) -> dict[Place, PlaceTally]:
    """What the next epoch begins with, by a cut as it was published."""
    return {
        Place(part.topic, part.partition): PlaceTally(part.next_offset, part.next_offset, numbers=part.numbers)
        for part in cut
    }
