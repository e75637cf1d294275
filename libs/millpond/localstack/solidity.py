"""Compiles the contracts of a folder: ``python -m millpond.localstack.solidity FOLDER…`` writes a ``.json`` beside them.

The same source always gives the same bytes: the compiler is pinned, and nothing about the machine is compiled in.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
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
    """The contracts don't compile: {problems}"""


def compiled(folders: Sequence[Path], tools: Tools) -> dict[Path, str]:
    """The text of ``<folder>/<contract>.json`` for each contract of the folders that can be deployed. Writes nothing."""
    # All at once: the compiler takes seconds to start.
    named = {str(number): folder for number, folder in enumerate(folders)}
    sources = {
        f"{number}/{path.name}": {"content": path.read_text()}
        for number, folder in named.items()
        for path in sorted(folder.glob("*.sol"))
    }
    answer = _ask(json.dumps({"language": "Solidity", "sources": sources, "settings": SETTINGS}), tools)
    return {
        named[source.split("/")[0]] / f"{name}.json": _artifact(contract)
        for source, contracts in answer["contracts"].items()
        for name, contract in contracts.items()
        # An interface has no code.
        if contract["evm"]["bytecode"]["object"]
    }


def _artifact(contract: Mapping[str, Any]) -> str:
    return (
        json.dumps({"abi": contract["abi"], "bytecode": "0x" + contract["evm"]["bytecode"]["object"]}, indent=1) + "\n"
    )


def _ask(question: str, tools: Tools) -> dict[str, Any]:
    command = ["node", str(tools.solidity_compiler()), "--standard-json"]
    # To a file: the compiler exits before a pipe has taken all of a long answer.
    with TemporaryFile("w+") as output:
        done = subprocess.run(
            command, input=question, stdout=output, stderr=subprocess.PIPE, text=True, timeout=COMPILE_SECONDS_MAX
        )
        output.seek(0)
        said = output.read()
    # It says on some machines what it does before it answers.
    start = said.find("{")
    if done.returncode or start < 0:
        raise DoesNotCompile(problems=(done.stderr or said)[-1500:])
    answer: dict[str, Any] = json.loads(said[start:])
    # Warnings too: nobody reads them, and in a contract each is worth a look.
    if problems := [each["formattedMessage"] for each in answer.get("errors", ())]:
        raise DoesNotCompile(problems="\n".join(problems))
    return answer


def main(folders: Sequence[str]) -> int:
    for path, text in compiled([Path(folder) for folder in folders], Tools(default_directory())).items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
