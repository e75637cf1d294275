"""An asset has one spelling, and a symbol is none."""

from __future__ import annotations

import pytest

from millpond.money import Asset, NotAnAsset

USDC = "0xaf88d065e77c8cC2239327C5EDb3A432268e5831"


@pytest.mark.parametrize("text", ["eip155:42161/slip44:60", f"eip155:42161/erc20:{USDC}", "eip155:31337/slip44:60"])
def test_what_is_read_is_written_the_same(text: str) -> None:
    assert str(Asset.parse(text)) == text


def test_the_same_contract_on_another_chain_is_another_asset() -> None:
    assert Asset(42161, USDC) != Asset(1, USDC)
    assert Asset(42161) != Asset(1)


@pytest.mark.parametrize(
    "text",
    [
        "ETH",
        "USDC",
        "",
        "eip155:042161/slip44:60",
        "eip155:42161/slip44:61",
        f"eip155:42161/erc20:{USDC.lower()}",
        f"eip155:42161/erc20:{USDC[:-1]}",
        "eip155:42161/slip44:60\n",
    ],
)
def test_anything_else_names_no_asset(text: str) -> None:
    with pytest.raises(NotAnAsset, match="names no asset"):
        Asset.parse(text)
