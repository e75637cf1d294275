"""``pool.terms.v1``: what the pool offers, version by version. Key: the pool."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from millpond.events.event import Event
from millpond.events.fields import Address, Hash32, Hex

DOCUMENT_CHARACTERS_MAX = 262_144


class TermsPublished(Event):
    """``document`` is the canonical JSON of ``millpond.terms.Terms``, as the operator signed it; ``terms_hash`` its SHA-256.

    A job follows the terms in force when it was accepted: the highest version whose epoch has begun.
    """

    version: Annotated[int, Field(strict=True, ge=1)]
    effective_from_epoch: Annotated[int, Field(strict=True, ge=0)]
    terms_hash: Hash32
    document: Annotated[str, StringConstraints(strict=True, max_length=DOCUMENT_CHARACTERS_MAX)]
    signer: Address
    nonce: Annotated[int, Field(strict=True, ge=0)]
    signature: Hex
