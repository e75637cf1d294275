"""What events about the chain have in common: which block, which transaction, and how sure it is.

The same payload is published first as ``observed``, and once more as ``final`` or as ``orphaned``. What is mined again
in another block is something else: it has another ``block_hash``, and begins as ``observed``. Only ``final`` is money, and
``final`` is the last word: it may follow ``orphaned`` (a block came back, which isn't said again), and nothing follows it.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from millpond.events.event import Event
from millpond.events.fields import Hash32, Instant

Finality = Literal["observed", "final", "orphaned"]
# What a database's bigint holds.
COUNT_MAX: Final = 2**63 - 1
Count = Annotated[int, Field(strict=True, ge=0, le=COUNT_MAX)]


class AtBlock(Event):
    """``block_time`` is the block's own timestamp."""

    chain_id: Annotated[int, Field(strict=True, ge=1, le=COUNT_MAX)]
    block_number: Count
    block_hash: Hash32
    block_time: Instant


class InTransaction(AtBlock):
    """Something that a transaction did; ``transaction`` is its hash."""

    transaction: Hash32
    finality: Finality


class Logged(InTransaction):
    """What a contract logged; ``log_index`` counts within the block."""

    log_index: Count


def item_of(event: AtBlock) -> str:
    """What the header ``item`` says: identity on the topic, for ever."""
    block = f"{event.chain_id}/{event.block_hash}"
    match event:
        case Logged():
            return f"{block}/{event.log_index}/{event.finality}"
        case InTransaction():
            return f"{block}/{event.transaction}/{event.finality}"
        case _:
            return f"{block}/{event.type_name}"
