"""A real chain, as each test found it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from chain.anvil import Anvil, opened


@pytest.fixture
async def anvil(anvil_url: str) -> AsyncIterator[Anvil]:
    async with opened(anvil_url) as anvil:
        yield anvil
