"""Every line of the due-diligence checklist that a contributor goes through, as fields; and what the services decide by.

A published version is never edited. A new line is a field with a default, so that old terms still read, and hash, as
they did: the hash is over the document's bytes, not over the model.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from millpond.events.fields import Address, Amount

PARTS_PER_MILLION: Final = 1_000_000

Sentence = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2_000)]
Word = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9/_.-]{0,63}$")]
# Parts per million: shares of money are integers, never floats.
Share = Annotated[int, Field(strict=True, ge=0, le=PARTS_PER_MILLION)]
Seconds = Annotated[int, Field(strict=True, ge=0, le=366 * 86_400)]
Asset = Literal["ETH", "USDC", "LPT", "fiat"]


class _Section(BaseModel):
    # Unlike events: a misspelt field of terms must not be passed over in silence.
    model_config = ConfigDict(frozen=True, extra="forbid")


class Operator(_Section):
    """On-chain identity and reputation."""

    name: Sentence
    orchestrator: Address
    reputation: Annotated[Sentence, Field(description="Where the orchestrator's record can be looked up.")]
    contact: Sentence


class Admission(_Section):
    """Whether and how the pool accepts external GPUs."""

    external_gpus: bool
    # "open": whoever delegates a device is in. "approval": the operator signs for each contributor.
    policy: Literal["open", "approval"]


class Hardware(_Section):
    """Supported hardware. ``software_devices``: machines without a GPU may work, at a processor's speed."""

    gpu_models: tuple[Sentence, ...]
    memory_bytes_min: Annotated[int, Field(strict=True, ge=0)]
    multiple_gpus_per_node: bool
    software_devices: bool


class Capability(_Section):
    """A workload, and the model where it has one, that the pool takes jobs for."""

    workload: Literal["transcode"]
    kind: Literal["batch", "real-time"]
    latency_sensitive: bool


class Price(_Section):
    """``wei`` for each ``per_units`` units: an exact fraction, as go-livepeer's pricePerUnit / pixelsPerUnit."""

    workload: Literal["transcode"]
    unit: Literal["pixel"]
    wei: Amount
    per_units: Annotated[int, Field(strict=True, ge=1)]


class Work(_Section):
    """How jobs are handed out, watched and taken back."""

    measured: Annotated[Sentence, Field(description="How usage is measured.")]
    lease_s: Annotated[int, Field(strict=True, ge=1, le=3_600)]
    lease_grace_s: Annotated[int, Field(strict=True, ge=0, le=3_600)]
    attempts_max: Annotated[int, Field(strict=True, ge=1, le=20)]
    deadline_s_max: Annotated[int, Field(strict=True, ge=1, le=86_400)]


class Split(_Section):
    """How earnings are calculated: the policy, and who gets which part."""

    earnings: Annotated[Sentence, Field(description="How earnings are calculated.")]
    policy: Literal["proportional/1"]
    operator_share_ppm: Share
    contributors_share_ppm: Share
    inflation_to_contributors_ppm: Share
    multipliers: Annotated[Sentence, Field(description="Performance multipliers, or that there are none.")]
    penalties: Annotated[Sentence, Field(description="Penalties, or that there are none.")]

    @model_validator(mode="after")
    def _makes_a_whole(self) -> Split:
        if self.operator_share_ppm + self.contributors_share_ppm != PARTS_PER_MILLION:
            raise ValueError(
                f"operator_share_ppm {self.operator_share_ppm} and contributors_share_ppm "
                f"{self.contributors_share_ppm} must add up to {PARTS_PER_MILLION}"
            )
        return self


class Payout(_Section):
    """Payout details. ``minimum`` by asset, in its smallest unit."""

    assets: Annotated[tuple[Asset, ...], Field(min_length=1)]
    frequency: Annotated[tuple[Literal["epoch", "daily", "weekly", "monthly"], ...], Field(min_length=1)]
    minimum: dict[Asset, Amount]
    challenge_window_s: Seconds
    address_cooling_off_s: Seconds

    @model_validator(mode="after")
    def _every_asset_has_a_minimum(self) -> Payout:
        if missing := [asset for asset in self.assets if asset not in self.minimum]:
            raise ValueError(f"minimum lacks {', '.join(missing)}: say 0 if there is none")
        return self


class Downtime(_Section):
    """What happens during downtime or network changes, and how it is noticed."""

    uptime_expected: Sentence
    monitoring: Sentence
    consequences: Sentence
    network_changes: Sentence
    heartbeat_s: Annotated[int, Field(strict=True, ge=1, le=60)]
    suspect_after_s: Annotated[int, Field(strict=True, ge=1, le=600)]
    gone_after_s: Annotated[int, Field(strict=True, ge=1, le=3_600)]

    @model_validator(mode="after")
    def _in_order(self) -> Downtime:
        if not self.heartbeat_s < self.suspect_after_s < self.gone_after_s:
            raise ValueError(
                f"heartbeat_s {self.heartbeat_s}, suspect_after_s {self.suspect_after_s} and gone_after_s "
                f"{self.gone_after_s} must grow in this order"
            )
        return self


class Leaving(_Section):
    """Whether GPUs can be removed at any time, and what becomes of what they earned."""

    at_any_time: bool
    notice_s: Seconds
    balance: Sentence


class Operation(_Section):
    """Geographic or networking constraints, and how disputes are handled."""

    regions: Annotated[tuple[Word, ...], Field(min_length=1)]
    network: Sentence
    disputes: Annotated[Sentence, Field(description="How disputes are handled.")]
    dispute_window_days: Annotated[int, Field(strict=True, ge=1, le=365)]


class Terms(_Section):
    """One version. ``receipt_key`` is the Ed25519 public key with which the pool countersigns what was done."""

    pool: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    version: Annotated[int, Field(strict=True, ge=1)]
    effective_from_epoch: Annotated[int, Field(strict=True, ge=0)]
    receipt_key: Annotated[str, StringConstraints(strict=True, pattern=r"^0x[0-9a-f]{64}$")]
    operator: Operator
    admission: Admission
    hardware: Hardware
    workloads: Annotated[tuple[Capability, ...], Field(min_length=1)]
    prices: Annotated[tuple[Price, ...], Field(min_length=1)]
    work: Work
    split: Split
    payout: Payout
    downtime: Downtime
    leaving: Leaving
    operation: Operation

    @field_validator("prices")
    @classmethod
    def _one_price_each(cls, prices: tuple[Price, ...]) -> tuple[Price, ...]:
        workloads = [price.workload for price in prices]
        if len(set(workloads)) < len(workloads):
            raise ValueError(f"a workload has one price, not two: {', '.join(workloads)}")
        return prices

    @model_validator(mode="after")
    def _every_workload_has_a_price(self) -> Terms:
        priced = {price.workload for price in self.prices}
        if missing := [each.workload for each in self.workloads if each.workload not in priced]:
            raise ValueError(f"prices lack {', '.join(missing)}")
        return self

    def price(self, workload: str) -> Price | None:
        """What the pool asks for a workload; None if it doesn't take it."""
        return next((price for price in self.prices if price.workload == workload), None)


def canonical(terms: Terms) -> str:
    """The document that is signed and hashed: JSON in the order of the fields, without blanks."""
    return terms.model_dump_json()


def terms_hash(document: str) -> str:
    """SHA-256 of the document's bytes, ``0x`` hex: what a job names as its terms."""
    return "0x" + hashlib.sha256(document.encode()).hexdigest()
