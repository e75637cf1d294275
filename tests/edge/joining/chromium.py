"""A headless Chromium with a wallet in it: a provider that asks the test for its answers."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from eth_account import Account
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from edge.joining.visitors import ALICE, address_of, said
from edge.pool import CHAIN_ID

FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --window-size=1000,1400"
)
# What a hanging page is caught by.
WITHIN_S = 120.0
DECLINED, UNKNOWN_CHAIN = 4001, 4902

T = TypeVar("T")

# The page sees an EIP-1193 provider; its requests wait in a list that the test takes and answers.
PROVIDER = """
(() => {
  const waiting = [], listeners = {};
  const provider = {
    request: (asked) => new Promise((resolve, reject) => waiting.push({ asked, resolve, reject })),
    on: (name, listener) => { (listeners[name] ??= []).push(listener); },
  };
  window.testWallet = {
    taken: null,
    take() { this.taken = waiting.shift() ?? null; return this.taken?.asked ?? null; },
    answer(value) { this.taken.resolve(value); },
    refuse(code, message) { this.taken.reject(Object.assign(new Error(message), { code })); },
    tell(name, value) { (listeners[name] ?? []).forEach((listener) => listener(value)); },
  };
  if (ANNOUNCED) {
    const icon = "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg'/>";
    const detail = { info: { uuid: "1", name: "Test Wallet", icon, rdns: "test" }, provider };
    const announce = () => window.dispatchEvent(new CustomEvent("eip6963:announceProvider", { detail }));
    window.addEventListener("eip6963:requestProvider", announce);
    announce();
  } else {
    window.ethereum = provider;
  }
})();
"""


@contextmanager
def chromium(directory: Path) -> Iterator[webdriver.Chrome]:
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("no Chromium here: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in (*FLAGS.split(), f"--user-data-dir={directory}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options, Service(driver))
    try:
        yield started
    finally:
        started.quit()


@dataclass
class Wallet:
    """How the person in front of it answers. ``declines``: methods that are refused so many times."""

    key: str = ALICE
    chain_id: int = CHAIN_ID
    knows_the_chain: bool = True
    declines: dict[str, int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    shown: list[dict[str, Any]] = field(default_factory=list)

    def reply(self, method: str, params: Any) -> Any:
        """Raises ``WalletSays``."""
        self.asked.append(method)
        if self.declines.get(method, 0) > 0:
            self.declines[method] -= 1
            raise WalletSays(DECLINED, "User rejected the request.")
        match method:
            case "eth_requestAccounts":
                return [address_of(self.key).lower()]
            case "eth_chainId":
                return hex(self.chain_id)
            case "wallet_switchEthereumChain":
                if not self.knows_the_chain:
                    raise WalletSays(UNKNOWN_CHAIN, "Unrecognized chain ID.")
                self.chain_id = int(params[0]["chainId"], 16)
                return None
            case "personal_sign":
                return said(bytes.fromhex(params[0][2:]).decode(), self.key)
            case "eth_signTypedData_v4":
                document = json.loads(params[1])
                # As wallets do: what is signed must be for the chain that they are on.
                if document["domain"]["chainId"] != self.chain_id:
                    raise WalletSays(-32603, "Provided chainId must match the active chainId.")
                self.shown.append(document)
                signature = bytes(Account.sign_typed_data(self.key, full_message=document).signature)
                # As hardware wallets do: v from 0, and capitals.
                return "0x" + (signature[:64] + bytes([signature[64] - 27])).hex().upper()
        raise WalletSays(4200, f"Unsupported method {method}.")


class WalletSays(Exception):
    """EIP-1193's ProviderRpcError."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(code, message)


@dataclass
class Page:
    """Selenium blocks, and edge runs on the test's loop: every call goes to a thread, always the same."""

    driver: webdriver.Chrome
    wallet: Wallet
    thread: ThreadPoolExecutor

    async def do(self, call: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.thread, call, *arguments)

    async def open(self, url: str) -> None:
        await self.do(self.driver.get, url)

    async def text(self) -> str:
        return str(await self.script("return document.body.innerText"))

    async def script(self, script: str, *arguments: Any) -> Any:
        return await self.do(self.driver.execute_script, script, *arguments)

    async def press(self, css: str) -> None:
        found = await self.until(lambda: self._pressable(css), f"{css} can't be pressed")
        await self.do(found.click)

    async def says(self, sentence: str) -> None:
        """Waits for it."""

        def found() -> bool:
            # In the page's own words: a line break there is a blank here.
            return sentence in " ".join(self.driver.execute_script("return document.body.innerText").split())

        await self.until(found, f"the page does not say {sentence!r}")

    async def until(self, condition: Callable[[], Any], otherwise: str) -> Any:
        until = time.monotonic() + WITHIN_S
        while not (found := await self.do(condition)):
            assert time.monotonic() < until, f"{otherwise}; it says: {await self.text()}"
            await asyncio.sleep(0.05)
        return found

    async def screenshot(self, path: Path) -> None:
        await self.do(self.driver.save_screenshot, str(path))

    async def answer(self) -> None:
        """Plays the wallet until cancelled."""
        while True:
            with suppress(Exception):  # between two pages there is nobody to ask
                await self.do(self._answer_one)
            await asyncio.sleep(0.05)

    def _answer_one(self) -> None:
        while (asked := self.driver.execute_script("return window.testWallet?.take()")) is not None:
            try:
                value = self.wallet.reply(asked["method"], asked.get("params"))
            except WalletSays as said:
                self.driver.execute_script("window.testWallet.refuse(...arguments)", *said.args)
            else:
                self.driver.execute_script("window.testWallet.answer(arguments[0])", value)

    def _pressable(self, css: str) -> WebElement | None:
        for found in self.driver.find_elements(By.CSS_SELECTOR, css):
            if found.is_displayed() and found.is_enabled():
                return found
        return None


@asynccontextmanager
async def page(driver: webdriver.Chrome, wallet: Wallet | None, *, announced: bool = True) -> AsyncIterator[Page]:
    """A page in ``driver`` with ``wallet`` in it, if there is one. Leaving it asserts that the browser complained of nothing."""
    script = PROVIDER.replace("ANNOUNCED", json.dumps(announced)) if wallet else ""
    command = "Page.addScriptToEvaluateOnNewDocument"
    opened = Page(driver, wallet or Wallet(), ThreadPoolExecutor(1))
    added = await opened.do(driver.execute_cdp_cmd, command, {"source": script})
    answering = asyncio.create_task(opened.answer())
    try:
        yield opened
        complaints = [entry["message"] for entry in await opened.do(driver.get_log, "browser")]
        # An answer of 401 or 404 is what the page asks for; the browser logs each.
        assert [line for line in complaints if "the server responded with a status of" not in line] == []
    finally:
        answering.cancel()
        with suppress(asyncio.CancelledError):
            await answering
        removed = {"identifier": added["identifier"]}
        await opened.do(driver.execute_cdp_cmd, "Page.removeScriptToEvaluateOnNewDocument", removed)
        await opened.do(driver.delete_all_cookies)
        await opened.do(driver.get, "about:blank")
        opened.thread.shutdown()
