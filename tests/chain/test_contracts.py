"""What is deployed is what the sources say."""

from __future__ import annotations

from pathlib import Path

import pytest

from millpond.localstack.solidity import DoesNotCompile, compiled
from millpond.localstack.tools import Tools, default_directory

ROOT = Path(__file__).parents[2]
FOLDERS = [
    ROOT / "libs/millpond/chain/contracts",
    ROOT / "services/millpond_demo/livepeer/contracts",
    ROOT / "tests/chain/contracts",
]


def test_the_compiled_contracts_are_those_of_the_sources() -> None:
    fresh = compiled(FOLDERS, Tools(default_directory()))
    kept = {path: path.read_text() for folder in FOLDERS for path in folder.glob("*.json")}
    folders = " ".join(str(folder.relative_to(ROOT)) for folder in FOLDERS)
    assert fresh == kept, f"python -m millpond.localstack.solidity {folders}"


def test_a_warning_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "Bad.sol").write_text(
        "// SPDX-License-Identifier: MIT\npragma solidity 0.8.37; contract Bad { uint x }"
    )
    with pytest.raises(DoesNotCompile, match="Expected ';'"):
        compiled([tmp_path], Tools(default_directory()))
