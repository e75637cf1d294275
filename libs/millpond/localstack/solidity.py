"""Compiles the contracts of a folder: ``python -m millpond.localstack.solidity FOLDER…`` writes a ``.json`` beside them.

The same source always gives the same bytes: the compiler is pinned, and nothing about the machine is compiled in.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from millpond.errors import MillpondError
from millpond.localstack.tools import Tools, default_directory

COMPILE_SECONDS_MAX: Final = 120
SETTINGS: Final = {
    # What Arbitrum One runs; for later versions of the EVM its deployment would have to be looked up first.
    "evmVersion": "cancun",
    "optimizer": {"enabled": True, "runs": 10_000},
    # Without it a comment would change the bytes.
    "metadata": {"appendCBOR": False, "bytecodeHash": "none"},
    "outputSelection": {"*": {"*": ["abi", "evm.bytecode.object"]}},
}


class DoesNotCompile(MillpondError):
    """The contracts in {folder} don't compile: {problems}"""


def compiled(folder: Path, tools: Tools) -> dict[str, str]:
    """The text of ``<contract>.json`` by contract, for each contract of the folder that can be deployed."""
    sources = {path.name: {"content": path.read_text()} for path in sorted(folder.glob("*.sol"))}
    question = {"language": "Solidity", "sources": sources, "settings": SETTINGS}
    answer = _ask(json.dumps(question), tools, folder)
    contracts: dict[str, Mapping[str, Any]] = {}
    for of_file in answer["contracts"].values():
        contracts |= of_file
    return {
        name: json.dumps({"abi": each["abi"], "bytecode": "0x" + each["evm"]["bytecode"]["object"]}, indent=1) + "\n"
        for name, each in sorted(contracts.items())
        if each["evm"]["bytecode"]["object"]
    }


def _ask(question: str, tools: Tools, folder: Path) -> dict[str, Any]:
    command = ["node", str(tools.solidity_compiler()), "--standard-json"]
    done = subprocess.run(command, input=question, capture_output=True, text=True, timeout=COMPILE_SECONDS_MAX)
    # The compiler says on some machines what it does before it answers.
    start = done.stdout.find("{")
    if done.returncode or start < 0:
        raise DoesNotCompile(folder=folder, problems=(done.stderr or done.stdout)[-1500:])
    answer: dict[str, Any] = json.loads(done.stdout[start:])
    # Warnings too: nobody reads them, and in a contract each is worth a look.
    if problems := [each["formattedMessage"] for each in answer.get("errors", ())]:
        raise DoesNotCompile(folder=folder, problems="\n".join(problems))
    return answer


def main(folders: Sequence[str]) -> int:
    tools = Tools(default_directory())
    for folder in map(Path, folders):
        for name, text in compiled(folder, tools).items():
            (folder / f"{name}.json").write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
