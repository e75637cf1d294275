"""An asset is a chain and a contract on it, never a symbol: two tokens of one name are two assets."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from eth_utils.address import is_checksum_address

from millpond.errors import MillpondError

# CAIP-19. 60 is Ether's number in SLIP-44, on every chain whose own coin it is.
_SPELLING: Final = re.compile(r"eip155:([1-9][0-9]{0,19})/(?:slip44:60|erc20:(0x[0-9a-fA-F]{40}))")


class NotAnAsset(MillpondError):
    """{text!r} names no asset: eip155:<chain>/slip44:60 is a chain's own coin, eip155:<chain>/erc20:<address> a token,
    the address with its checksum (EIP-55)."""


@dataclass(frozen=True, slots=True)
class Asset:
    """``contract`` is None for the chain's own coin (in wei). As text: CAIP-19, the one spelling on topics."""

    chain_id: int
    contract: str | None = None

    @classmethod
    def parse(cls, text: str) -> Asset:
        """Raises ``NotAnAsset``."""
        found = _SPELLING.fullmatch(text)
        if found is None or (found[2] is not None and not is_checksum_address(found[2])):
            raise NotAnAsset(text=text[:128])
        return cls(int(found[1]), found[2])

    def __str__(self) -> str:
        name = "slip44:60" if self.contract is None else f"erc20:{self.contract}"
        return f"eip155:{self.chain_id}/{name}"
