"""An EVM chain as our services ask it: typed answers, finality, and no empty answer without proof."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

from millpond.chain.answers import Block, BlockId, Data, Header, Log, Quantity, Receipt, Word
from millpond.chain.errors import BadAnswer, Refused, WrongChain
from millpond.chain.rpc import Question, Rpc

# Of a node that keeps what is final apart from what may yet change; Arbitrum's finality is that of its L1 batch.
Tag = Literal["latest", "finalized"]
At = int | Tag

A = TypeVar("A")
_QUANTITY: Final = TypeAdapter[int](Quantity)
_DATA: Final = TypeAdapter[str](Data)
_WORD: Final = TypeAdapter[str](Word)
_LOGS: Final = TypeAdapter(tuple[Log, ...])
_HEADER: Final = TypeAdapter(Header)
_BLOCK: Final = TypeAdapter(Block)
_RECEIPT: Final = TypeAdapter(Receipt)


class EvmClient:
    """Asks one URL, and believes only answers of chain ``chain_id``. Every method raises ``ChainError``s and asks once."""

    def __init__(self, rpc: Rpc, chain_id: int) -> None:
        self.chain_id = chain_id
        self._rpc = rpc

    async def header(self, at: At) -> Header:
        """Raises ``BadAnswer`` for a block that the node doesn't have: that is no proof that there is none."""
        (header,) = await self.headers([at])
        return header

    async def headers(self, ats: Sequence[At]) -> list[Header]:
        """In the order asked for, of one node at one time, whose chain is checked with them."""
        questions = [Question("eth_chainId"), *(Question("eth_getBlockByNumber", (_at(at), False)) for at in ats)]
        chain_id, *answers = await self._rpc.ask_together(questions)
        self._check_chain(chain_id)
        headers = [self._read(_HEADER, "eth_getBlockByNumber", answer) for answer in answers]
        for at, header in zip(ats, headers, strict=True):
            if isinstance(at, int) and header.number != at:
                self._bad("eth_getBlockByNumber", f"block {header.number} instead of {at}")
        return headers

    async def blocks(self, numbers: Sequence[int]) -> list[Block]:
        """With their transactions."""
        answers = await self._rpc.ask_together(
            [Question("eth_getBlockByNumber", (_at(number), True)) for number in numbers]
        )
        return [self._read(_BLOCK, "eth_getBlockByNumber", answer) for answer in answers]

    async def logs(self, first: int, last: BlockId, addresses: Iterable[str], topics: Iterable[str]) -> list[Log]:
        """All logs from block ``first`` to ``last``, both included, of these contracts with one of these first topics.

        The node that answers shows in the same request that it has block ``last``: a node that lags behind, or is on
        another branch, would answer "none" (incident 44). What is too much for it is asked for in halves.
        """
        chosen = {"address": sorted(addresses), "topics": [sorted(topics)]}
        if not chosen["address"]:
            return []
        return await self._logs(first, last.number, last, chosen)

    async def _logs(self, first: int, last: int, proof: BlockId, chosen: dict[str, Any]) -> list[Log]:
        ranged = {"fromBlock": hex(first), "toBlock": hex(last), **chosen}
        questions = [
            Question("eth_chainId"),
            Question("eth_getBlockByNumber", (hex(proof.number), False)),
            Question("eth_getLogs", (ranged,)),
        ]
        try:
            chain_id, header, answer = await self._rpc.ask_together(questions)
        except Refused:
            # Limits have many texts, so none is looked for: a refusal of a single block is one.
            if first == last:
                raise
            middle = (first + last) // 2
            return [
                *await self._logs(first, middle, proof, chosen),
                *await self._logs(middle + 1, last, proof, chosen),
            ]
        self._check_chain(chain_id)
        if (found := self._read(_HEADER, "eth_getBlockByNumber", header).id) != proof:
            self._bad("eth_getLogs", f"the node has block {found.number} {found.hash} instead of {proof.hash}")
        logs = self._read(_LOGS, "eth_getLogs", answer)
        for log in logs:
            if log.removed or not first <= log.block_number <= last or log.address not in chosen["address"]:
                self._bad("eth_getLogs", f"a log that was not asked for, of {log.address} in block {log.block_number}")
        return sorted(logs, key=lambda log: (log.block_number, log.log_index))

    async def call(self, to: str, data: bytes, at: At) -> bytes:
        """What a contract answers at a block. Raises ``Reverted``, and ``BadAnswer`` if nothing answers there."""
        (answer,) = await self.calls([(to, data)], at)
        return answer

    async def calls(self, asked: Sequence[tuple[str, bytes]], at: At) -> list[bytes]:
        """Several contracts at one block; by one node, which has that block."""
        questions = [Question("eth_call", ({"to": to, "data": "0x" + data.hex()}, _at(at))) for to, data in asked]
        answers = await self._rpc.ask_together(questions)
        results = [bytes.fromhex(self._read(_DATA, "eth_call", answer)[2:]) for answer in answers]
        if not all(results):
            self._bad("eth_call", "nothing; there is no such contract at that block")
        return results

    async def nonces(self, address: str, ats: Sequence[At]) -> list[int]:
        """How many transactions the address had sent by the end of each of these blocks."""
        answers = await self._rpc.ask_together([Question("eth_getTransactionCount", (address, _at(at))) for at in ats])
        return [self._read(_QUANTITY, "eth_getTransactionCount", answer) for answer in answers]

    async def balance(self, address: str, at: At) -> int:
        """Wei."""
        return self._read(_QUANTITY, "eth_getBalance", await self._rpc.ask("eth_getBalance", address, _at(at)))

    async def code(self, address: str, at: At) -> bytes:
        """Empty for an account that is no contract."""
        answer = self._read(_DATA, "eth_getCode", await self._rpc.ask("eth_getCode", address, _at(at)))
        return bytes.fromhex(answer[2:])

    async def receipt(self, transaction: str) -> Receipt | None:
        """None: this node knows of no block that holds it, which proves nothing by itself."""
        answer = await self._rpc.ask("eth_getTransactionReceipt", transaction)
        if answer is None:
            return None
        receipt = self._read(_RECEIPT, "eth_getTransactionReceipt", answer)
        # A replaced transaction must not be told the receipt of the one that was mined instead (incident 50).
        if receipt.transaction_hash != transaction.lower():
            self._bad("eth_getTransactionReceipt", f"the receipt of {receipt.transaction_hash}")
        return receipt

    async def gas(self, *, sender: str, to: str | None, data: bytes, value: int) -> int:
        """How much gas a transaction would need after the latest block. Raises ``Reverted``.

        Not after what is pending: that may be an earlier version of the same transaction, after which it would fail.
        """
        asked = {"from": sender, "data": "0x" + data.hex(), "value": hex(value)} | ({} if to is None else {"to": to})
        return self._read(_QUANTITY, "eth_estimateGas", await self._rpc.ask("eth_estimateGas", asked, "latest"))

    async def priority_fee(self) -> int:
        """Wei per gas that blocks are said to want on top of their base fee."""
        return self._read(_QUANTITY, "eth_maxPriorityFeePerGas", await self._rpc.ask("eth_maxPriorityFeePerGas"))

    async def broadcast(self, signed: bytes) -> str:
        """Hands over a signed transaction, and returns the hash. Whatever it raises, the transaction may be out."""
        return self._read(
            _WORD, "eth_sendRawTransaction", await self._rpc.ask("eth_sendRawTransaction", "0x" + signed.hex())
        )

    def _check_chain(self, answer: Any) -> None:
        found = self._read(_QUANTITY, "eth_chainId", answer)
        if found != self.chain_id:
            raise WrongChain(node=self._rpc.node, found=found, expected=self.chain_id)

    def _read(self, form: TypeAdapter[A], method: str, answer: Any) -> A:
        try:
            return form.validate_python(answer)
        except ValidationError as cause:
            first = cause.errors(include_url=False)[0]
            place = "/".join(map(str, first["loc"]))
            problem = f"{answer!r:.100}" if not place else f"{place}: {first['msg']}"
            raise BadAnswer(node=self._rpc.node, method=method, problem=problem) from cause

    def _bad(self, method: str, problem: str) -> None:
        raise BadAnswer(node=self._rpc.node, method=method, problem=problem)


def _at(at: At) -> str:
    return hex(at) if isinstance(at, int) else at
