"""Receipts as files: what the contributor can check and show without asking anybody."""

from __future__ import annotations

import json
import os
from pathlib import Path

from millpond.events.metering_usage import UsageHeld, UsageRecorded
from millpond_agent.session import SignedClaim


def store_receipt(
    directory: Path, *, pool: str, device: str, line: UsageRecorded | UsageHeld, claim: SignedClaim | None
) -> Path:
    """``{pool, type, event, claim}`` as ``<line>.json``; ``claim`` is this device's own, null if it isn't known any more.

    ``event`` is written with all its fields, since the countersignature is over them.
    """
    directory.mkdir(parents=True, exist_ok=True)
    document = {
        "pool": pool,
        "type": line.type_name,
        "event": json.loads(line.to_bytes()),
        "claim": claim and {"device": device, "payload": claim.payload, "signature": claim.signature},
    }
    path = directory / f"{line.line}.json"
    # Whole or not at all.
    unfinished = path.with_suffix(".incoming")
    with unfinished.open("w") as file:
        json.dump(document, file, indent=1, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    return path
