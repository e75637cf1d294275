"""Which pool this is, and who may give it orders."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from eth_utils.address import is_checksum_address, is_hex_address, to_checksum_address
from pydantic import Field, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from millpond.settings.environment import Settings


class PoolSettings(Settings):
    """Pool and chain are part of every signature: changed on a running pool, they void what was signed before."""

    model_config = SettingsConfigDict(env_prefix="MILLPOND_POOL_")
    used_by: ClassVar[str] = "whoever verifies or signs actions"

    id: str = Field(
        pattern=r"^[a-z0-9][a-z0-9-]{0,62}$",
        description="The pool's name: lower-case letters, digits, hyphens; fixed for ever.",
    )
    chain_id: int = Field(
        default=42161, ge=1, description="EIP-155 id of the chain: 42161 Arbitrum One, 31337 a local anvil."
    )
    operators: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Addresses, with checksum, whose signed actions count; separated by commas."
    )

    @field_validator("operators", mode="before")
    @classmethod
    def _separated_by_commas(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(address.strip() for address in value.split(",") if address.strip())
        return value

    @field_validator("operators")
    @classmethod
    def _have_checksums(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        for address in addresses:
            if not is_hex_address(address):
                raise ValueError(f"{address} is no address: 0x and 40 hex digits")
            if not is_checksum_address(address):
                # A checksum that is offered unasked would turn a typing error into somebody else's address.
                hint = f"; with it: {to_checksum_address(address)}" if address[2:].islower() else ""
                raise ValueError(f"{address} lacks a valid checksum (EIP-55){hint}")
        return addresses
