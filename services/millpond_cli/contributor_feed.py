"""The contributor's side of ``GET /payouts/events``: signs in with his wallet, and goes on where he was."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Final, TypeVar
from urllib.parse import urlsplit

import httpx
from eth_account import Account
from pydantic import BaseModel, ConfigDict, ValidationError

from millpond.errors import MillpondError
from millpond.identity import PrivateKey, sign_sign_in
from millpond.stream.backoff import backoff_s
from millpond_cli.gateway.sse import ServerEvent, server_events

# How long edge may be away before it is given up, unless one follows: longer than any restart takes.
PATIENCE_S: Final = 120.0
RETRY_MAX_S: Final = 5.0
CONNECT_S: Final = 10.0
# Edge says that it is alive every 15 s.
SILENCE_S_MAX: Final = 45.0
BEGINNING: Final = "beginning"
UP_TO_DATE: Final = "UpToDate"
UNAUTHORIZED: Final = 401
# Answers that say "later": the request is whole, and good.
LATER: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
WORDS_MAX: Final = 300


class PoolUrlInvalid(MillpondError):
    """{url!r} is no address of a pool. Give it like https://pool.example."""


class PoolAway(MillpondError):
    """{url} has not answered for {patience_s:g} s: {cause}. See whether the address is right; run the command again later."""


class PoolRefused(MillpondError):
    """{url} refuses {request} ({status}): {sentence}"""


class _Passing(Exception):
    """Something that may be over when it is tried again."""


class _SessionOver(_Passing):
    """A sign-in counts for an hour."""


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


Kind = TypeVar("Kind", bound=_Answer)


class _Offered(_Answer):
    nonce: str
    text: str


class _Opened(_Answer):
    token: str


class ContributorFeed:
    """One wallet at one pool. ``cursor``: behind what was given out; None before the first."""

    def __init__(
        self, http: httpx.AsyncClient, key: PrivateKey, cursor: str | None, on_break: Callable[[str], None]
    ) -> None:
        self._http = http
        self._key = key
        self._token: str | None = None
        self._cursor = cursor or BEGINNING
        self._on_break = on_break
        self._failures = 0
        self._reached_s = time.monotonic()

    @staticmethod
    def http(url: str) -> httpx.AsyncClient:
        """Raises ``PoolUrlInvalid``."""
        if not _is_address(url):
            raise PoolUrlInvalid(url=url)
        return httpx.AsyncClient(base_url=url.rstrip("/"), timeout=httpx.Timeout(SILENCE_S_MAX, connect=CONNECT_S))

    async def events(self, *, for_ever: bool) -> AsyncIterator[ServerEvent]:
        """Each once, with the cursor behind it; ``for_ever`` or up to what the pool knows now.

        Breaks and the end of a session are got over. Raises ``PoolRefused``, ``SignInForeign``; and ``PoolAway`` after a
        while, unless ``for_ever``.
        """
        self._reached_s = time.monotonic()
        while True:
            try:
                async with aclosing(self._connection(for_ever)) as events:
                    async for event in events:
                        if event.name == UP_TO_DATE:
                            return
                        self._cursor = event.id or self._cursor
                        yield event
            except (httpx.TransportError, httpx.StreamError, _Passing) as error:
                self._get_over(error, for_ever)
            # A connection that edge ended by itself is made again too, and never in a tight loop.
            await asyncio.sleep(backoff_s(self._failures, longest_s=RETRY_MAX_S))
            self._failures += 1

    async def sign_out(self) -> None:
        """The token counts no more; if the pool is away, it ends within the hour by itself."""
        if self._token is not None:
            try:
                await self._http.delete("/sessions", headers=self._authorization())
            except httpx.TransportError:
                return

    def _get_over(self, error: Exception, for_ever: bool) -> None:
        cause = str(error) or type(error).__name__
        if not for_ever and time.monotonic() - self._reached_s > PATIENCE_S:
            raise PoolAway(url=self._http.base_url, patience_s=PATIENCE_S, cause=cause) from error
        if isinstance(error, _SessionOver):
            self._token = None
        elif self._failures == 0:
            self._on_break(cause)

    async def _connection(self, for_ever: bool) -> AsyncGenerator[ServerEvent]:
        if self._token is None:
            await self._sign_in()
        query = {"cursor": self._cursor, "follow": str(for_ever).lower()}
        async with self._http.stream("GET", "/payouts/events", params=query, headers=self._authorization()) as answer:
            if answer.status_code == UNAUTHORIZED:
                raise _SessionOver("the sign-in counts no more")
            await self._refuse(answer)
            self._failures, self._reached_s = 0, time.monotonic()
            async for event in server_events(answer.aiter_lines()):
                yield event

    async def _sign_in(self) -> None:
        address = Account.from_key(bytes(self._key)).address
        offered = await self._post(_Offered, "/sign-ins", {"address": address})
        signature = sign_sign_in(offered.text, domain=self._http.base_url.netloc.decode(), private_key=self._key)
        opened = await self._post(_Opened, "/sessions", {"nonce": offered.nonce, "signature": signature})
        self._token = opened.token

    def _authorization(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self._token}"}

    async def _post(self, kind: type[Kind], path: str, body: dict[str, str]) -> Kind:
        answer = await self._http.post(path, json=body)
        await self._refuse(answer)
        try:
            return kind.model_validate_json(answer.content)
        except ValidationError as error:
            raise _Passing(f"an answer that isn't a pool's: {answer.text[:WORDS_MAX]!r}") from error

    async def _refuse(self, answer: httpx.Response) -> None:
        if answer.is_success:
            return
        sentence = _sentence(answer, await answer.aread())
        if answer.status_code in LATER:
            raise _Passing(f"{answer.status_code}, {sentence}")
        request = f"{answer.request.method} {answer.request.url.path}"
        raise PoolRefused(url=self._http.base_url, request=request, status=answer.status_code, sentence=sentence)


def _is_address(url: str) -> bool:
    try:
        port = urlsplit(url).port
    except ValueError:  # a bracket that isn't closed, a port beyond 65535
        return False
    return port != 0 and re.fullmatch(r"https?://(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)(:[0-9]+)?/?", url) is not None


class _Why(_Answer):
    sentence: str


class _Error(_Answer):
    error: _Why


def _sentence(answer: httpx.Response, body: bytes) -> str:
    """Edge's own words; those of whatever answers in its place are only quoted."""
    try:
        return _Error.model_validate_json(body).error.sentence
    except ValidationError:
        return (body.decode(errors="replace").strip() or answer.reason_phrase)[:WORDS_MAX]
