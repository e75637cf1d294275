"""Questions to a node: one HTTP request each time, so that what is asked together is answered by one node.

Retries are the caller's: only he knows whether a question may be asked twice, and what waits meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, NamedTuple, Self
from urllib.parse import urlsplit

import aiohttp
from web3 import AsyncHTTPProvider
from web3.types import RPCEndpoint

from millpond.chain.errors import BadAnswer, Refused, Reverted, translated

ANSWER_S: Final = 20.0
# What EIP-1474 and geth say of a call that reverts.
REVERTS: Final = 3


class Question(NamedTuple):
    """A method of Ethereum's JSON-RPC with its parameters."""

    method: str
    parameters: Sequence[Any] = ()


class Rpc:
    """A node behind a URL; ``async with`` opens and closes the connection."""

    def __init__(self, url: str, *, answer_s: float = ANSWER_S) -> None:
        # A path or a password may be a paid key: neither is ever told.
        self.node = urlsplit(url).hostname or "the node"
        self._timeout = aiohttp.ClientTimeout(total=answer_s)
        # web3 would ask again by itself, also what must not be asked twice unseen.
        self._provider = AsyncHTTPProvider(
            url, request_kwargs={"timeout": self._timeout}, exception_retry_configuration=None
        )
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=self._timeout, raise_for_status=True)
        await self._provider.cache_async_session(self._session)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._session is not None
        await self._session.close()

    async def ask(self, method: str, *parameters: Any) -> Any:
        """The result, which may be None. Raises ``NoAnswer``, ``BadAnswer``, ``Refused`` or ``Reverted``."""
        with translated(self.node, method):
            response = await self._provider.make_request(RPCEndpoint(method), list(parameters))
        return self._result(method, response)

    async def ask_together(self, questions: Sequence[Question]) -> list[Any]:
        """The results in the order of the questions; raises as ``ask`` does, for the first that failed."""
        methods = " and ".join(dict.fromkeys(question.method for question in questions))
        with translated(self.node, methods):
            responses = await self._provider.make_batch_request(
                [(RPCEndpoint(question.method), list(question.parameters)) for question in questions]
            )
        if not isinstance(responses, list) or len(responses) != len(questions):
            raise BadAnswer(node=self.node, method=methods, problem="not one answer for each question")
        return [self._result(question.method, each) for question, each in zip(questions, responses, strict=True)]

    def _result(self, method: str, response: Any) -> Any:
        if not isinstance(response, dict):
            raise BadAnswer(node=self.node, method=method, problem=f"{type(response).__name__} instead of an object")
        if (error := response.get("error")) is not None:
            code, message = (error.get("code"), error.get("message")) if isinstance(error, dict) else (None, error)
            if code == REVERTS:
                raise Reverted(node=self.node, method=method, message=message)
            raise Refused(node=self.node, method=method, code=code, message=message)
        if "result" not in response:
            raise BadAnswer(node=self.node, method=method, problem="neither a result nor an error")
        return response["result"]
