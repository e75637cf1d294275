"""What an operator can set about paying."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from millpond.events.treasury_settlements import SLOT_ORDERS_MAX
from millpond.settings import Settings


class TreasurySettings(Settings):
    """The payout key, and how it is used. Beside ``ChainSettings``."""

    model_config = SettingsConfigDict(env_prefix="MILLPOND_TREASURY_")
    used_by: ClassVar[str] = "treasury"

    keystore: Path = Field(
        description="The payout contract's payer: its encrypted key (Web3 Secret Storage, version 3). Its wallet pays."
    )
    password_file: Path = Field(description="A file whose first line opens it, readable by its owner only.")
    orchestrator_keystore: Path | None = Field(
        default=None,
        description="The orchestrator's encrypted key, which alone can withdraw its fees; unset: it is the payout key, or fees "
        "are withdrawn elsewhere.",
    )
    orchestrator_password_file: Path | None = Field(default=None, description="A file whose first line opens that.")
    orders_max: int = Field(
        default=400, ge=1, le=SLOT_ORDERS_MAX, description="Orders in one transaction: a block must have room for it."
    )
    fee_per_gas_max: int = Field(
        default=50 * 10**9, ge=1, description="Wei per gas, tip included: while the chain wants more, payouts wait."
    )
    bump_after_s: int = Field(
        default=300, ge=1, le=86_400, description="Seconds in no block after which a transaction gets higher fees."
    )
    send_again_s: int = Field(
        default=5, ge=1, le=3_600, description="Seconds until the same bytes are first sent again; doubled each time."
    )

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if (self.orchestrator_keystore is None) != (self.orchestrator_password_file is None):
            raise ValueError("orchestrator_keystore and orchestrator_password_file come together")
        return self
