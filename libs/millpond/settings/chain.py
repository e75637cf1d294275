"""How to reach the chain, and what the pool has there."""

from __future__ import annotations

from typing import Annotated, ClassVar

from eth_utils.address import is_checksum_address
from pydantic import AfterValidator, Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from millpond.settings.environment import Settings


def _has_checksum(address: str) -> str:
    # A checksum that we made ourselves would turn a typing error into somebody else's address.
    if not is_checksum_address(address):
        raise ValueError("an address is 0x and 40 hex digits with their checksum (EIP-55)")
    return address


ChecksumAddress = Annotated[str, AfterValidator(_has_checksum)]


class ChainSettings(Settings):
    """Which chain it must be says MILLPOND_POOL_CHAIN_ID: a node of another one is not believed."""

    model_config = SettingsConfigDict(env_prefix="MILLPOND_CHAIN_")
    used_by: ClassVar[str] = "chain_watcher, treasury, audit"

    # Providers put their keys into the path.
    rpc_url: SecretStr = Field(description="A node's JSON-RPC over HTTP: https://host/key.")
    payouts: ChecksumAddress = Field(description="The pool's payout contract.")

    @field_validator("rpc_url")
    @classmethod
    def _is_http(cls, url: SecretStr) -> SecretStr:
        if not url.get_secret_value().startswith(("http://", "https://")):
            raise ValueError("it must begin with https:// or http://")
        return url


class LivepeerSettings(Settings):
    """Where Livepeer is, and whose fees are the pool's. Neither can change later: the sums would be somebody else's."""

    model_config = SettingsConfigDict(env_prefix="MILLPOND_CHAIN_")
    used_by: ClassVar[str] = "chain_watcher, treasury"

    controller: ChecksumAddress = Field(
        description="Livepeer's Controller; 0xD8E8328501E9645d16Cf49539efC04f734606ee4 on Arbitrum One."
    )
    orchestrator: ChecksumAddress = Field(description="The pool's orchestrator: whose income is watched.")
