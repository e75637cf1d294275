"""What can go wrong between us and a chain, and how foreign errors become it. Nothing else of web3's or aiohttp's gets out.

``NoAnswer`` and ``BadAnswer`` say nothing about the chain: what was asked for may have happened or not. ``Refused`` is
the node's own word, which isn't proof either that a transaction did not go out (incident 4).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import aiohttp
import web3.exceptions as foreign

from millpond.errors import MillpondError


class ChainError(MillpondError):
    """The root of what goes wrong with a chain."""


class NoAnswer(ChainError):
    """{node} did not answer {method}: {cause}. It is asked again; whether it did what was asked is unknown."""


class BadAnswer(ChainError):
    """{node} answered {method} with something that can't be an answer: {problem}. It is asked again, and nothing believed."""


class Refused(ChainError):
    """{node} refused {method}: {message} (code {code})."""


class Reverted(ChainError):
    """{node} says that {method} would revert: {message}."""


class WrongChain(ChainError):
    """{node} is on chain {found}, and not on {expected}. Point MILLPOND_CHAIN_RPC_URL at a node of chain {expected}."""


class NotInAbi(ChainError):
    """The ABI has no such thing, or not with these arguments: {problem}."""


class LogNotDecoded(ChainError):
    """A log of {contract} in transaction {transaction} doesn't fit the ABI's {event}: {problem}. The contract may have been
    upgraded: name its new ABI first."""


# Errors of the transport, of the answer's form, and of what we asked for. A subclass that isn't named follows its parent.
NO_ANSWER: Final = (
    aiohttp.ClientError,
    TimeoutError,
    OSError,
    foreign.CannotHandleRequest,
    foreign.ProviderConnectionError,
    foreign.PersistentConnectionError,
    foreign.TooManyRequests,
    foreign.MultipleFailedRequests,
    foreign.RequestTimedOut,
    foreign.StaleBlockchain,
    foreign.TaskNotRunning,
    foreign.TimeExhausted,
    foreign.TransactionIndexingInProgress,
)
BAD_ANSWER: Final = (
    json.JSONDecodeError,
    UnicodeDecodeError,
    # Keys that an answer must have, and lists that aren't lists: web3 takes a batch's answer apart unseen.
    KeyError,
    TypeError,
    AttributeError,
    foreign.BadFunctionCallOutput,
    foreign.BadResponseFormat,
    foreign.BlockNotFound,
    foreign.ExtraDataLengthError,
    foreign.InsufficientData,
    foreign.LogTopicError,
    foreign.ReadBufferLimitReached,
    foreign.TransactionNotFound,
    foreign.Web3RPCError,
    foreign.Web3TypeError,
    foreign.Web3ValueError,
    foreign.Web3AttributeError,
)
NOT_IN_ABI: Final = (
    foreign.ABIConstructorNotFound,
    foreign.ABIFallbackNotFound,
    foreign.ABIReceiveNotFound,
    foreign.BlockNumberOutOfRange,
    foreign.InvalidAddress,
    foreign.InvalidEventABI,
    foreign.InvalidTransaction,
    foreign.MismatchedABI,
    foreign.NameNotFound,
    foreign.NoABIFound,
    foreign.NoABIEventsFound,
    foreign.NoABIFunctionsFound,
    foreign.TransactionTypeMismatch,
    foreign.Web3ValidationError,
    foreign.MethodNotSupported,
)
# A call that the chain itself turned down.
REVERTED: Final = (foreign.ContractLogicError, foreign.OffchainLookup)
# Can't come up here: they belong to services and to checks inside web3 that we don't use.
LET_THROUGH: Final = (
    foreign.InfuraProjectIdNotFound,
    foreign.Web3AssertionError,
    foreign.Web3Exception,
)


@contextmanager
def translated(node: str, method: str) -> Iterator[None]:
    """Foreign errors of the block become ``ChainError``s, with their cause."""
    try:
        yield
    except REVERTED as cause:
        raise Reverted(node=node, method=method, message=cause) from cause
    except NOT_IN_ABI as cause:
        raise NotInAbi(problem=f"{method}: {cause}") from cause
    except BAD_ANSWER as cause:
        raise BadAnswer(node=node, method=method, problem=f"{type(cause).__name__}: {cause}") from cause
    except NO_ANSWER as cause:
        raise NoAnswer(node=node, method=method, cause=f"{type(cause).__name__}: {cause}") from cause
