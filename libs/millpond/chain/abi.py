"""A contract's interface: calls to bytes, answers and logs to values."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import Any, Final, Self

from eth_abi.exceptions import DecodingError
from eth_utils.abi import event_abi_to_log_topic
from eth_utils.address import to_checksum_address
from hexbytes import HexBytes
from web3 import Web3
from web3.contract import Contract
from web3.exceptions import Web3Exception
from web3.types import EventData, LogReceipt

from millpond.chain.answers import Log
from millpond.chain.errors import LogNotDecoded, NotInAbi

# Offline: it only encodes and decodes.
_WEB3: Final = Web3()


@dataclass(frozen=True)
class Decoded:
    """A log's event and its arguments by name; bytes are 0x hex."""

    event: str
    arguments: dict[str, Any]
    log: Log


class Abi:
    """A contract's functions and events, by name: none of ours has two of one name."""

    def __init__(self, entries: list[dict[str, Any]]) -> None:
        self._contract: type[Contract] = _WEB3.eth.contract(abi=entries)
        self._entries = entries

    @cached_property
    def topics(self) -> dict[str, str]:
        """By event, the first topic of its logs: the hash of its signature."""
        events = [entry for entry in self._entries if entry["type"] == "event"]
        return {event["name"]: "0x" + event_abi_to_log_topic(event).hex() for event in events}  # type: ignore[arg-type]

    def call(self, function: str, *arguments: Any) -> bytes:
        """The bytes of a call. Raises ``NotInAbi``."""
        try:
            return bytes(HexBytes(self._contract.encode_abi(function, list(arguments))))
        except (Web3Exception, TypeError, ValueError) as cause:
            raise NotInAbi(problem=f"{function}: {cause}") from cause

    def answer(self, function: str, data: bytes) -> Any:
        """The one value that a function returns; a tuple if it returns several. Raises ``NotInAbi``."""
        (entry,) = [each for each in self._entries if each["type"] == "function" and each["name"] == function]
        try:
            values = _WEB3.codec.decode([output["type"] for output in entry["outputs"]], data)
        except DecodingError as cause:
            raise NotInAbi(problem=f"{function} does not answer so: {cause}") from cause
        plain = [_plain(value, output["type"]) for value, output in zip(values, entry["outputs"], strict=True)]
        return plain[0] if len(plain) == 1 else tuple(plain)

    def decode(self, log: Log) -> Decoded | None:
        """None for an event that isn't in here. Raises ``LogNotDecoded`` for one that is, and has another form."""
        event = self._events.get(log.topics[0]) if log.topics else None
        if event is None:
            return None
        receipt: LogReceipt = {  # type: ignore[typeddict-item]
            "address": log.address,
            "topics": [HexBytes(topic) for topic in log.topics],
            "data": HexBytes(log.data),
            "blockNumber": log.block_number,
            "blockHash": HexBytes(log.block_hash),
            "transactionHash": HexBytes(log.transaction_hash),
            "transactionIndex": 0,
            "logIndex": log.log_index,
        }
        try:
            found: EventData = self._contract.events[event]().process_log(receipt)  # type: ignore[call-arg]
        except (Web3Exception, DecodingError, TypeError, ValueError) as cause:
            facts = {"contract": log.address, "transaction": log.transaction_hash, "event": event}
            raise LogNotDecoded(**facts, problem=cause) from cause
        plain = {
            name: "0x" + value.hex() if isinstance(value, bytes) else value for name, value in found["args"].items()
        }
        return Decoded(event, plain, log)

    def constructor(self, *arguments: Any) -> bytes:
        """The bytes behind the code of a contract that is made with these arguments."""
        entries = [each for each in self._entries if each["type"] == "constructor"]
        types = [each["type"] for each in entries[0]["inputs"]] if entries else []
        return _WEB3.codec.encode(types, arguments)

    @cached_property
    def _events(self) -> dict[str, str]:
        return {topic: event for event, topic in self.topics.items()}


@dataclass(frozen=True)
class Artifact:
    """A compiled contract: what lies beside its source."""

    abi: Abi
    bytecode: bytes

    @classmethod
    def read(cls, package: str, contract: str) -> Self:
        found = json.loads(files(package).joinpath(f"{contract}.json").read_bytes())
        return cls(Abi(found["abi"]), bytes.fromhex(found["bytecode"][2:]))


def _plain(value: Any, kind: str) -> Any:
    if kind == "address":
        return str(to_checksum_address(value))
    return "0x" + value.hex() if isinstance(value, bytes) else value
