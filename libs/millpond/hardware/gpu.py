"""A GPU as the machine tells it, and which of its answers can be true."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# No card comes near; NVML's "not available" (all bits set) and overflown counters lie far above.
MEMORY_BYTES_MAX: Final = 2**50
TEMPERATURE_CELSIUS: Final = range(-50, 151)
PERCENT: Final = range(101)
COMPUTE_CAPABILITY: Final = range(1, 100)


@dataclass(frozen=True)
class Gpu:
    """One card. None is *unknown*: the card or its driver didn't answer, or answered what can't be.

    ``index`` is NVML's at the time of reading and may change at a restart; ``id`` is the UUID, which does not.
    ``major`` and ``minor`` are the CUDA compute capability.
    """

    index: int
    id: str
    name: str | None
    driver: str | None
    memory_total_bytes: int | None
    memory_free_bytes: int | None
    major: int | None
    minor: int | None
    utilization_compute_percent: int | None
    utilization_memory_percent: int | None
    utilization_encoder_percent: int | None
    temperature_celsius: int | None


def within(value: object, allowed: range) -> int | None:
    """``value`` if it is an integer in ``allowed``: drivers have told of 808,334,905 % and of 82,505 degrees."""
    return value if type(value) is int and value in allowed else None


def memory(total: object, free: object) -> tuple[int | None, int | None]:
    """Total and free bytes. A card without memory is one that didn't tell; more free than there is, is nonsense."""
    total_bytes = within(total, range(1, MEMORY_BYTES_MAX))
    free_bytes = within(free, range(MEMORY_BYTES_MAX))
    if total_bytes is not None and free_bytes is not None and free_bytes > total_bytes:
        return total_bytes, None
    return total_bytes, free_bytes
