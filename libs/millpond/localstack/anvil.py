"""anvil: a local Ethereum chain whose state survives a restart."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Final

from millpond.localstack.component import Component
from millpond.localstack.process import GuardedProcess
from millpond.localstack.tools import Tools

CHAIN_ID: Final = 31337
# The one list of options, for the process and for the container alike.
OPTIONS: Final = (
    "--chain-id",
    str(CHAIN_ID),
    # "Finalized" follows the head by two blocks instead of 64.
    "--slots-in-an-epoch",
    "1",
    # What is mined survives a SIGKILL if it is older than this many seconds.
    "--state-interval",
    "1",
)


class Anvil(Component):
    name = "anvil"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def address(self) -> str:
        return self.url

    def answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=1)
        question = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []})
        try:
            connection.request("POST", "/", question, {"Content-Type": "application/json"})
            return bool(json.loads(connection.getresponse().read())["result"] == hex(CHAIN_ID))
        except (OSError, http.client.HTTPException, ValueError, KeyError):
            return False
        finally:
            connection.close()


class AnvilProcess(GuardedProcess):
    """Runs anvil; the chain's state and the log lie in ``directory``."""

    def __init__(self, directory: Path, *, lock: int, tools: Tools, port: int) -> None:
        super().__init__(directory, lock=lock)
        self._tools = tools
        self._port = port

    def prepare(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self._tools.anvil_binary()

    def command(self) -> list[str]:
        address = ["--host", "127.0.0.1", "--port", str(self._port)]
        return [str(self._tools.anvil_binary()), *address, *OPTIONS, "--state", str(self.directory / "state.json")]
