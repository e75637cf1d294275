"""What a node's answers hold, read strictly: a field that is missing or null is no answer."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple

from eth_utils.address import to_checksum_address
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel


def _quantity(value: Any) -> int:
    # JSON-RPC spells numbers as 0x hex; a float or a decimal string has come from somewhere else (incident 16).
    if not isinstance(value, str) or not value.startswith("0x"):
        raise ValueError(f"{value!r} is no quantity: 0x and hex digits")
    return int(value[2:], 16)


Quantity = Annotated[int, BeforeValidator(_quantity), Field(ge=0)]
Word = Annotated[str, StringConstraints(strict=True, to_lower=True, pattern=r"^0x[0-9a-fA-F]{64}$")]
Data = Annotated[str, StringConstraints(strict=True, to_lower=True, pattern=r"^0x([0-9a-fA-F]{2})*$")]
AnyCase = Annotated[
    str,
    StringConstraints(strict=True, pattern=r"^0x[0-9a-fA-F]{40}$"),
    AfterValidator(lambda address: str(to_checksum_address(address))),
]


class Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel)


class BlockId(NamedTuple):
    """A number alone names no block: after a reorganisation it is another."""

    number: int
    hash: str


class Header(Answer):
    """A block without its transactions."""

    number: Quantity
    hash: Word
    parent_hash: Word
    timestamp: Quantity
    base_fee_per_gas: Quantity = 0

    @property
    def id(self) -> BlockId:
        return BlockId(self.number, self.hash)

    @property
    def time(self) -> datetime:
        return datetime.fromtimestamp(self.timestamp, UTC)


class Transaction(Answer):
    """A transaction of a block. ``to`` is None where a contract is made."""

    hash: Word
    sender: Annotated[AnyCase, Field(alias="from")]
    to: AnyCase | None
    nonce: Quantity
    value: Quantity


class Block(Header):
    """A block with its transactions."""

    transactions: tuple[Transaction, ...]


class Log(Answer):
    """What a contract logged, with the block that holds it."""

    address: AnyCase
    topics: tuple[Word, ...]
    data: Data
    block_number: Quantity
    block_hash: Word
    transaction_hash: Word
    log_index: Quantity
    removed: bool = False


class Receipt(Answer):
    """What became of a transaction that is in a block. ``status`` 1: it succeeded."""

    transaction_hash: Word
    block_number: Quantity
    block_hash: Word
    status: Quantity
    gas_used: Quantity
    effective_gas_price: Quantity
    contract_address: AnyCase | None = None
    logs: tuple[Log, ...]
