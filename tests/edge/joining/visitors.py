"""A machine and a browser with a wallet, as programs that speak what edge offers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any

import httpx
from eth_account import Account
from eth_account.messages import encode_defunct

from edge.pool import CHAIN_ID, POOL, WITHIN_S, RunningEdge, device_authorization
from millpond.identity import Action, DelegateDevice, DeviceKey, Domain, sign_action

DOMAIN = Domain(pool=POOL, chain_id=CHAIN_ID)
ALICE, MALLORY = "0x" + "0a" * 32, "0x" + "0e" * 32
FAR_AHEAD_S = 4_000_000_000


def address_of(key: str) -> str:
    return str(Account.from_key(key).address)


def signed(action: Action, key: str = ALICE, *, domain: Domain = DOMAIN) -> dict[str, Any]:
    return asdict(sign_action(action, domain=domain, private_key=key))


def delegation(device: str, key: str = ALICE, *, domain: Domain = DOMAIN, **changes: Any) -> dict[str, Any]:
    fields = {"device": device, "scope": "work", "expires_at": FAR_AHEAD_S, "nonce": 7, **changes}
    return signed(DelegateDevice(**fields), key, domain=domain)


def said(text: str, key: str = ALICE) -> str:
    """``personal_sign``."""
    return "0x" + bytes(Account.from_key(key).sign_message(encode_defunct(text=text)).signature).hex()


@dataclass
class Machine:
    edge: RunningEdge
    key: DeviceKey

    @property
    def device(self) -> str:
        return self.key.device

    async def get(self, path: str, **options: Any) -> httpx.Response:
        headers = {"authorization": device_authorization(self.key, "GET", path, **options)}
        return await self.edge.http.get(path, headers=headers)

    async def enrol(self) -> str:
        signature = self.key.sign(pool=POOL, kind="Enrolment", text=self.device)
        answer = await self.edge.http.post("/enrolments", json={"device": self.device, "signature": signature})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["code"])

    def consent(self, signer: str) -> str:
        return self.key.sign(pool=POOL, kind="Consent", text=signer)

    async def hand_in(self, delegation: dict[str, Any], **changes: Any) -> httpx.Response:
        body = {**delegation, "consent": self.consent(delegation["signer"]), **changes}
        return await self.edge.http.post("/delegations", json=body)


@dataclass
class Browser:
    """The pool's own page in front of one wallet."""

    http: httpx.AsyncClient
    key: str

    @property
    def contributor(self) -> str:
        return address_of(self.key)

    async def offered(self) -> dict[str, str]:
        answer = await self.http.post("/wallet/sign-ins", json={"address": self.contributor.lower()})
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    async def sign_in(self) -> None:
        offered = await self.offered()
        body = {"nonce": offered["nonce"], "signature": said(offered["text"], self.key)}
        answer = await self.http.post("/wallet/sessions", json=body)
        assert (answer.status_code, answer.json()["contributor"]) == (201, self.contributor), answer.text

    async def drafted(self, **asked: Any) -> dict[str, Any]:
        """The draft, signed as a wallet signs what it is shown."""
        answer = await self.http.post("/wallet/drafts", json=asked)
        assert answer.status_code == 200, answer.text
        draft = answer.json()
        signature = Account.sign_typed_data(self.key, full_message=draft["typed_data"]).signature
        fields = {name: draft[name] for name in ("signer", "action", "message")}
        return {**fields, "signature": "0x" + bytes(signature).hex()}


async def token_of(edge: RunningEdge, key: str = ALICE) -> str:
    """A session of a program that has the wallet at hand."""
    offered = (await edge.http.post("/sign-ins", json={"address": address_of(key)})).json()
    body = {"nonce": offered["nonce"], "signature": said(offered["text"], key)}
    answer = await edge.http.post("/sessions", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["token"])


@asynccontextmanager
async def browser(edge: RunningEdge, key: str = ALICE, *, origin: str | None = None) -> AsyncIterator[Browser]:
    headers = {"origin": origin or edge.url}
    async with httpx.AsyncClient(base_url=edge.url, headers=headers, timeout=WITHIN_S) as http:
        yield Browser(http, key)
