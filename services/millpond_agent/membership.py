"""Which pool this machine's directory belongs to: what was learnt when it joined."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from millpond.events.fields import Hash32
from millpond_agent.edge_client import Pool
from millpond_agent.errors import DirectoryUnusable, OtherPool

FILE: Final = "pool.json"


class Membership(BaseModel):
    """``receipt_key``: with which the pool countersigns, as it was when the machine joined."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    edge: str
    pool: str
    chain_id: int
    receipt_key: Hash32


def read_membership(directory: Path) -> Membership | None:
    """None: not joined yet. Raises ``DirectoryUnusable``."""
    path = directory / FILE
    try:
        return Membership.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DirectoryUnusable(directory=directory, problem=error.strerror) from error
    except ValidationError as error:
        problem = f"{path} is not what `millpond agent join` wrote; move it away and join again"
        raise DirectoryUnusable(directory=directory, problem=problem) from error


def remember_pool(directory: Path, url: str, pool: Pool) -> None:
    """Raises ``OtherPool`` if the directory belongs to another one: numbers and receipts of two pools must not mix."""
    known = read_membership(directory)
    if known is not None and known.pool != pool.pool:
        raise OtherPool(url=url, found=pool.pool, directory=directory, expected=known.pool)
    membership = Membership(edge=url, pool=pool.pool, chain_id=pool.chain_id, receipt_key=pool.receipt_key)
    unfinished = directory / f"{FILE}.incoming"
    unfinished.write_text(membership.model_dump_json(indent=1) + "\n")
    unfinished.replace(directory / FILE)
